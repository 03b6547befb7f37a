/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "write-faults.h"

#include "uffd.h"

#include <vmckpt/store/page-map.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define WORD_PAGES 64
/* Words of marks that are taken at a time under the lock: 16 MiB of the guest. */
#define STRIDE_WORDS 64
/* Runs of written pages with a gap of at most this many between them are protected by one call:
 * protecting a page that is protected costs far less than another system call. */
#define GAP_MAX 32
#define MESSAGES_MAX 64
/* The guest waits for the fault thread, and the fault thread for nothing that takes long: it goes
 * before those that compress and hash. As nice(2); needs CAP_SYS_NICE. */
#define FAULT_THREAD_NICE (-15)

struct _WriteFaults {
  AutoFd uffd;
  AutoFd stop; /* eventfd: readable = end */
  guint64 address;
  guint64 pages;
  GThread *thread;

  GMutex lock;     /* @fresh, and protection according to it */
  guint64 *fresh;  /* marked since the last collect */
  GMutex guarding; /* held while a guard is called; taken before @lock */
  WriteGuardFunc guard;
  gpointer guard_data;
  _Atomic guint64 served;
};

static struct uffdio_range
range_of (const WriteFaults *faults, guint64 first, guint64 count)
{
  return (struct uffdio_range){ .start = faults->address + first * PAGE_SIZE_BYTES,
                                .len = count * PAGE_SIZE_BYTES };
}

/* EAGAIN: the process's mappings were just being changed (UFFDIO_WRITEPROTECT). */
static gboolean
set_protection (const WriteFaults *faults, guint64 first, guint64 count, gboolean on)
{
  struct uffdio_writeprotect argument = { .range = range_of (faults, first, count),
                                          .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };
  int r;

  do
    r = ioctl (faults->uffd, UFFDIO_WRITEPROTECT, &argument);
  while (r < 0 && (errno == EAGAIN || errno == EINTR));
  return r == 0;
}

/* ---- Faults ---- */

/* Lets the write to @page happen. An error here can only mean that the process or its memory is
 * gone (ESRCH, ENOENT), and then nobody waits. */
static void
let_write (WriteFaults *faults, guint64 page)
{
  g_mutex_lock (&faults->guarding);
  if (faults->guard != NULL)
    faults->guard (page, faults->guard_data);
  g_mutex_unlock (&faults->guarding);

  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&faults->lock);
  faults->fresh[page / WORD_PAGES] |= G_GUINT64_CONSTANT (1) << page % WORD_PAGES;
  set_protection (faults, page, 1, FALSE);
  faults->served++;
}

static void
serve (WriteFaults *faults, const struct uffd_msg *message)
{
  guint64 page = (message->arg.pagefault.address - faults->address) / PAGE_SIZE_BYTES;

  if (message->event == UFFD_EVENT_PAGEFAULT && page < faults->pages)
    let_write (faults, page);
}

static gpointer
fault_thread (gpointer data)
{
  WriteFaults *faults = data;
  struct uffd_msg messages[MESSAGES_MAX];

  setpriority (PRIO_PROCESS, gettid(), FAULT_THREAD_NICE);
  for (;;) {
    struct pollfd wait[] = { { .fd = faults->uffd, .events = POLLIN },
                             { .fd = faults->stop, .events = POLLIN } };
    ssize_t n = read (faults->uffd, messages, sizeof messages);

    for (ssize_t i = 0; i < n / (ssize_t)sizeof *messages; i++)
      serve (faults, &messages[i]);
    if (n > 0)
      continue;
    poll (wait, 2, -1);
    if (wait[1].revents != 0)
      return NULL;
  }
}

/* ---- Marks ---- */

/* Protects the pages that have a bit in @words, the first of which stands for page @first. */
static gboolean
protect_marked (const WriteFaults *faults, const guint64 *words, guint n_words, guint64 first)
{
  guint64 start = 0, end = 0; /* of the run so far, relative to @first; empty if equal */

  for (guint i = 0; i < n_words; i++) {
    for (guint64 word = words[i]; word != 0; word &= word - 1) {
      guint64 page = i * WORD_PAGES + __builtin_ctzll (word);
      if (end != start && page - end > GAP_MAX) {
        if (!set_protection (faults, first + start, end - start, TRUE))
          return FALSE;
        start = end = page;
      }
      if (end == start)
        start = page;
      end = page + 1;
    }
  }
  return end == start || set_protection (faults, first + start, end - start, TRUE);
}

gboolean
write_faults_collect (WriteFaults *faults, guint64 *written, GError **error)
{
  guint64 n_words = (faults->pages + WORD_PAGES - 1) / WORD_PAGES;

  for (guint64 at = 0; at < n_words; at += STRIDE_WORDS) {
    g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&faults->lock);
    guint n = MIN (STRIDE_WORDS, n_words - at);

    if (!protect_marked (faults, faults->fresh + at, n, at * WORD_PAGES))
      return fd_set_errno_error (error, "protecting written pages of the guest's memory again");
    for (guint i = 0; i < n; i++) {
      written[at + i] |= faults->fresh[at + i];
      faults->fresh[at + i] = 0;
    }
  }
  return TRUE;
}

void
write_faults_set_guard (WriteFaults *faults, WriteGuardFunc func, gpointer user_data)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&faults->guarding);

  faults->guard = func;
  faults->guard_data = user_data;
}

guint64
write_faults_served (WriteFaults *faults)
{
  return faults->served;
}

/* ---- Start and end ---- */

static void
write_faults_free (WriteFaults *faults)
{
  g_mutex_clear (&faults->lock);
  g_mutex_clear (&faults->guarding);
  fd_close (&faults->uffd);
  fd_close (&faults->stop);
  g_free (faults->fresh);
  g_free (faults);
}

/* Registers and protects the whole range. */
static gboolean
take_range (WriteFaults *faults, GError **error)
{
  struct uffdio_register wanted = { .range = range_of (faults, 0, faults->pages),
                                    .mode = UFFDIO_REGISTER_MODE_WP };

  /* A userfaultfd can be polled only if it does not block. */
  if (faults->uffd < 0 || faults->stop < 0 ||
      fcntl (faults->uffd, F_SETFL, fcntl (faults->uffd, F_GETFL) | O_NONBLOCK) < 0)
    return fd_set_errno_error (error, "preparing to serve the guest's write faults");
  if (ioctl (faults->uffd, UFFDIO_REGISTER, &wanted) < 0)
    return fd_set_errno_error (error, "registering the guest's memory for write faults");
  if (!set_protection (faults, 0, faults->pages, TRUE)) {
    fd_set_errno_error (error, "write-protecting the guest's memory");
    ioctl (faults->uffd, UFFDIO_UNREGISTER, &wanted.range);
    return FALSE;
  }
  return TRUE;
}

WriteFaults *
write_faults_start (int uffd, guint64 address, guint64 pages, GError **error)
{
  WriteFaults *faults = g_new0 (WriteFaults, 1);

  faults->uffd = fcntl (uffd, F_DUPFD_CLOEXEC, 0);
  faults->stop = eventfd (0, EFD_CLOEXEC);
  faults->address = address;
  faults->pages = pages;
  faults->fresh = g_new0 (guint64, (pages + WORD_PAGES - 1) / WORD_PAGES);
  g_mutex_init (&faults->lock);
  g_mutex_init (&faults->guarding);
  if (!take_range (faults, error)) {
    write_faults_free (faults);
    return NULL;
  }
  faults->thread = g_thread_new ("write-faults", fault_thread, faults);
  return faults;
}

void
write_faults_stop (WriteFaults *faults)
{
  const guint64 one = 1;

  if (faults == NULL)
    return;

  struct uffdio_range all = range_of (faults, 0, faults->pages);
  fd_write_full (faults->stop, &one, sizeof one, NULL);
  g_thread_join (faults->thread);
  /* Unregistering takes the protection off, and wakes those that wait for it since Linux 4.11
   * or so; the first call wakes them in any case. */
  set_protection (faults, 0, faults->pages, FALSE);
  ioctl (faults->uffd, UFFDIO_UNREGISTER, &all);
  write_faults_free (faults);
}
