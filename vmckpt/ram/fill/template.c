/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/template.h>

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u
#define BITS 64u
#define MESSAGES 64
/* This process's page tables are emptied again after so many pages: the file is not its memory. */
#define UNMAP_EVERY 4096

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

typedef struct {
  char *name;
  AutoFd uffd;
  guint64 address;
  GArray *waiting; /* guint64: pages asked for; pruned when looked at */
} Fork;

struct _Template {
  TemplateSetup setup;
  AutoFd memfd;
  AutoFd uffd;
  void *mapping;
  guint64 pages;
  _Atomic guint64 *present;
  GMutex lock; /* forks, stats, put */
  guint64 put; /* pages since the page tables were emptied */
  GPtrArray *forks;
  TemplateStats stats;
  AutoFd changed; /* eventfd: the set of forks is another, or it is time to end */
  gint ending;    /* atomic */
  GThread *server;
};

#define LOCK(template)                                                                             \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(template)->lock)

static void
fork_free (gpointer data)
{
  Fork *fork = data;

  fd_close (&fork->uffd);
  g_array_unref (fork->waiting);
  g_free (fork->name);
  g_free (fork);
}

static gboolean
is_present (const Template *template, guint64 page)
{
  return template->present[page / BITS] >> page % BITS & 1;
}

static void
set_present (Template *template, guint64 page)
{
  atomic_fetch_or (&template->present[page / BITS], G_GUINT64_CONSTANT (1) << page % BITS);
}

/* ---- The file ---- */

/* Agrees on what a userfaultfd is used for; once in its life. */
static gboolean
agree (int uffd, GError **error)
{
  struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM };

  /* EINVAL: it was agreed on earlier. If not, registering says so. */
  if (ioctl (uffd, UFFDIO_API, &api) == 0 || errno == EINVAL)
    return TRUE;
  return fd_set_errno_error (error, "userfaultfd");
}

static gboolean
register_missing (int uffd, guint64 address, guint64 length, GError **error)
{
  struct uffdio_register wish = { .range = { .start = address, .len = length },
                                  .mode = UFFDIO_REGISTER_MODE_MISSING };

  if (ioctl (uffd, UFFDIO_REGISTER, &wish) == 0)
    return TRUE;
  return fd_set_errno_error (error, "watching memory for missing pages");
}

static gboolean
open_file (Template *template, GError **error)
{
  int given = template->setup.memfd;

  template->memfd = given >= 0 ? fcntl (given, F_DUPFD_CLOEXEC, 0)
                               : memfd_create ("vmckpt-template", MFD_CLOEXEC);
  if (template->memfd < 0)
    return fd_set_errno_error (error, "making a file in memory");
  if (given < 0 && ftruncate (template->memfd, template->setup.length) < 0)
    return fd_set_errno_error (error, "a file in memory of %" G_GUINT64_FORMAT " bytes",
                               template->setup.length);
  return TRUE;
}

static gboolean
map_file (Template *template, GError **error)
{
  guint64 length = template->setup.length;

  template->uffd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  if (template->uffd < 0)
    return fd_set_errno_error (error, "userfaultfd");
  /* Without any right: who touches this by mistake gets a signal and does not wait for ever. */
  template->mapping =
      mmap (NULL, length, PROT_NONE, MAP_SHARED | MAP_NORESERVE, template->memfd, 0);
  if (template->mapping == MAP_FAILED)
    return fd_set_errno_error (error, "mapping a file in memory");
  return agree (template->uffd, error) &&
         register_missing (template->uffd, template_address (template), length, error);
}

/* What an earlier process put is what the file has. */
static gboolean
find_present (Template *template, GError **error)
{
  off_t length = template->setup.length, at = 0;

  while (at < length && (at = lseek (template->memfd, at, SEEK_DATA)) >= 0) {
    off_t end = lseek (template->memfd, at, SEEK_HOLE);
    if (end < 0)
      break;
    for (; at < end && at < length; at += PAGE)
      set_present (template, at / PAGE);
  }
  return at >= 0 || errno == ENXIO || fd_set_errno_error (error, "looking at a file in memory");
}

gboolean
template_is_untouched (Template *template)
{
  struct stat file;

  return fstat (template->memfd, &file) == 0 && file.st_blocks == 0;
}

int
template_memfd (Template *template)
{
  return template->memfd;
}

int
template_uffd (Template *template)
{
  return template->uffd;
}

guint64
template_address (Template *template)
{
  return (guint64)(guintptr) template->mapping;
}

_Atomic guint64 *
template_present (Template *template)
{
  return template->present;
}

gboolean
template_put (Template *template, guint64 page, const guint8 *data, GError **error)
{
  struct uffdio_copy copy = { .dst = template_address (template) + page * PAGE,
                              .src = (guint64)(guintptr)data,
                              .len = PAGE };

  while (ioctl (template->uffd, UFFDIO_COPY, &copy) < 0 && errno != EEXIST)
    if (errno != EAGAIN)
      return fd_set_errno_error (error, "putting page %" G_GUINT64_FORMAT " into memory", page);
  set_present (template, page);
  return TRUE;
}

/* ---- The guests ---- */

static void
wake_fork (const Fork *fork, guint64 first, guint64 count)
{
  struct uffdio_range range = { .start = fork->address + first * PAGE, .len = count * PAGE };

  ioctl (fork->uffd, UFFDIO_WAKE, &range);
}

/* With the lock held. The file's pages need not be in this process's page tables, too. */
static void
drop_mappings (Template *template, guint64 put)
{
  template->put += put;
  if (template->put < UNMAP_EVERY)
    return;
  template->put = 0;
  madvise (template->mapping, template->setup.length, MADV_DONTNEED);
}

void
template_wake (Template *template, guint64 first, guint64 count)
{
  LOCK (template);

  drop_mappings (template, count);
  for (guint i = 0; i < template->forks->len; i++)
    wake_fork (template->forks->pdata[i], first, count);
}

static void
tell_server (Template *template)
{
  guint64 one = 1;

  /* It cannot fail but by being full, and then there is something to read anyway. */
  if (write (template->changed, &one, sizeof one) < 0)
    return;
}

gboolean
template_add (Template *template, const char *name, int uffd, guint64 address, GError **error)
{
  g_auto (AutoFd) own = fcntl (uffd, F_DUPFD_CLOEXEC, 0);

  if (own < 0)
    return fd_set_errno_error (error, "keeping a userfaultfd");
  if (!agree (own, error) || !register_missing (own, address, template->setup.length, error))
    return FALSE;
  Fork *fork = g_new0 (Fork, 1);
  fork->name = g_strdup (name);
  fork->uffd = fd_steal (&own);
  fork->address = address;
  fork->waiting = g_array_new (FALSE, FALSE, sizeof (guint64));
  {
    LOCK (template);
    g_ptr_array_add (template->forks, fork);
    /* What an earlier process read and did not answer, is asked again. */
    wake_fork (fork, 0, template->pages);
  }
  tell_server (template);
  return TRUE;
}

static Fork *
find_fork (const Template *template, const char *name)
{
  for (guint i = 0; i < template->forks->len; i++) {
    Fork *fork = template->forks->pdata[i];
    if (g_str_equal (fork->name, name))
      return fork;
  }
  return NULL;
}

void
template_remove (Template *template, const char *name)
{
  {
    LOCK (template);
    Fork *fork = find_fork (template, name);
    if (fork != NULL)
      g_ptr_array_remove (template->forks, fork);
  }
  tell_server (template);
}

void
template_release (Template *template)
{
  {
    LOCK (template);
    for (guint i = 0; i < template->forks->len; i++) {
      const Fork *fork = template->forks->pdata[i];
      struct uffdio_range all = { .start = fork->address, .len = template->setup.length };
      ioctl (fork->uffd, UFFDIO_UNREGISTER, &all); /* also wakes */
    }
    g_ptr_array_set_size (template->forks, 0);
  }
  tell_server (template);
}

GArray *
template_waiting (Template *template, const char *name)
{
  g_autoptr (GArray) pages = g_array_new (FALSE, FALSE, sizeof (guint64));
  LOCK (template);
  Fork *fork = find_fork (template, name);

  for (guint i = 0; fork != NULL && i < fork->waiting->len; i++) {
    guint64 page = g_array_index (fork->waiting, guint64, i);
    if (!is_present (template, page))
      g_array_append_val (pages, page);
  }
  return g_steal_pointer (&pages);
}

void
template_stats (Template *template, TemplateStats *stats)
{
  LOCK (template);
  *stats = template->stats;
}

/* ---- Serving ---- */

/* With the lock held. Zeros are the guest's own from the start, and cost nothing until written. */
static void
give_zeros (Template *template, const Fork *fork, guint64 page)
{
  struct uffdio_zeropage zero = {
    .range = { .start = fork->address + page * PAGE, .len = PAGE },
  };

  while (ioctl (fork->uffd, UFFDIO_ZEROPAGE, &zero) < 0)
    if (errno != EAGAIN) {
      wake_fork (fork, page, 1); /* another thread's fault was served meanwhile */
      break;
    }
  template->stats.zeros++;
}

/* With the lock held. Remembers who waits for what; forgets what has come. */
static void
note_waiting (const Template *template, Fork *fork, guint64 page)
{
  for (guint i = 0; i < fork->waiting->len;)
    if (is_present (template, g_array_index (fork->waiting, guint64, i)))
      g_array_remove_index_fast (fork->waiting, i);
    else
      i++;
  g_array_append_val (fork->waiting, page);
}

/* Sees to a page that @name waits for. The store may be asked, so this does not keep the lock. */
static void
serve_fault (Template *template, const char *name, guint64 page)
{
  gboolean zero =
      !is_present (template, page) && template->setup.is_zero (page, template->setup.user_data);
  gboolean wanted = FALSE;

  {
    LOCK (template);
    Fork *fork = find_fork (template, name);
    if (fork == NULL)
      return;
    template->stats.faults++;
    if (is_present (template, page))
      wake_fork (fork, page, 1);
    else if (zero)
      give_zeros (template, fork, page);
    else {
      note_waiting (template, fork, page);
      wanted = TRUE;
    }
  }
  if (wanted)
    template->setup.want (page, template->setup.user_data);
}

/* Serves what @name waits for. */
static void
serve_faults (Template *template, const char *name)
{
  struct uffd_msg messages[MESSAGES];
  guint64 base = 0;
  gssize len = 0;

  {
    LOCK (template);
    const Fork *fork = find_fork (template, name);
    if (fork != NULL) {
      base = fork->address;
      len = read (fork->uffd, messages, sizeof messages);
    }
  }
  for (gssize i = 0; i < len / (gssize)sizeof messages[0]; i++) {
    guint64 address = messages[i].arg.pagefault.address;
    if (messages[i].event == UFFD_EVENT_PAGEFAULT && address >= base &&
        (address - base) / PAGE < template->pages)
      serve_fault (template, name, (address - base) / PAGE);
  }
}

/* What to wait for: the eventfd, then each fork; @names: (element-type utf8). */
static GArray *
poll_set (Template *template, GPtrArray *names)
{
  GArray *set = g_array_new (FALSE, TRUE, sizeof (struct pollfd));
  struct pollfd entry = { .fd = template->changed, .events = POLLIN };
  LOCK (template);

  g_array_append_val (set, entry);
  for (guint i = 0; i < template->forks->len; i++) {
    const Fork *fork = template->forks->pdata[i];
    entry.fd = fork->uffd;
    g_array_append_val (set, entry);
    g_ptr_array_add (names, g_strdup (fork->name));
  }
  return set;
}

static gpointer
serve (gpointer data)
{
  Template *template = data;

  while (!g_atomic_int_get (&template->ending)) {
    g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
    g_autoptr (GArray) set = poll_set (template, names);
    struct pollfd *fds = (struct pollfd *)(gpointer)set->data;
    guint64 changes;

    while (poll (fds, set->len, -1) < 0 && errno == EINTR)
      ;
    for (guint i = 1; i < set->len; i++)
      if (fds[i].revents & POLLIN)
        serve_faults (template, names->pdata[i - 1]);
    if ((fds[0].revents & POLLIN) && read (template->changed, &changes, sizeof changes) < 0)
      break;
  }
  return NULL;
}

/* ---- Life ---- */

Template *
template_new (const TemplateSetup *setup, GError **error)
{
  g_autoptr (Template) template = g_new0 (Template, 1);

  g_mutex_init (&template->lock);
  template->setup = *setup;
  template->memfd = template->uffd = -1;
  template->mapping = MAP_FAILED;
  template->pages = setup->length / PAGE;
  template->present = g_malloc0 ((template->pages / BITS + 1) * sizeof *template->present);
  template->forks = g_ptr_array_new_with_free_func (fork_free);
  template->changed = eventfd (0, EFD_CLOEXEC);
  if (template->changed < 0) {
    fd_set_errno_error (error, "making an eventfd");
    return NULL;
  }
  if (!open_file (template, error) || !map_file (template, error) ||
      !find_present (template, error))
    return NULL;
  template->server = g_thread_new ("template", serve, template);
  return g_steal_pointer (&template);
}

void
template_stop (Template *template)
{
  g_atomic_int_set (&template->ending, TRUE);
  tell_server (template);
  g_thread_join (g_steal_pointer (&template->server));
}

void
template_free (Template *template)
{
  if (template == NULL)
    return;
  if (template->server != NULL)
    template_stop (template);
  if (template->mapping != MAP_FAILED)
    munmap (template->mapping, template->setup.length);
  fd_close (&template->memfd);
  fd_close (&template->uffd);
  fd_close (&template->changed);
  g_ptr_array_unref (template->forks);
  g_free ((void *)template->present);
  g_mutex_clear (&template->lock);
  g_free (template);
}
