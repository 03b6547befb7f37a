/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tracked-child.h"

#include "uffd.h"

#include <vmckpt/keeper/guest-fds.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

typedef struct {
  ChildOp op;
  guint64 first, count;
  guint8 value;
} Order;

/* What the child tells first: its addresses and descriptors. */
typedef struct {
  guint64 address;
  int uffd[3];
} Hello;

/* Does one order; returns the sum of what was read. */
static guint64
obey (const Order *order, volatile guint8 *ram, int memory)
{
  guint64 first = order->first * DIRTY_LOG_PAGE_BYTES, len = order->count * DIRTY_LOG_PAGE_BYTES;
  guint64 sum = 0;

  for (guint64 at = first; at < first + len; at += DIRTY_LOG_PAGE_BYTES)
    if (order->op == CHILD_WRITE)
      ram[at] = order->value;
    else if (order->op == CHILD_READ)
      sum += ram[at];
  if (order->op == CHILD_PUNCH)
    fallocate (memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, len);
  if (order->op == CHILD_PUNCH || order->op == CHILD_DONTNEED)
    madvise ((void *)(ram + first), len, MADV_DONTNEED);
  if (order->op == CHILD_PAGEOUT)
    madvise ((void *)(ram + first), len, MADV_PAGEOUT);
  if (order->op == CHILD_SYSCALL) {
    g_auto (AutoFd) zero = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
    sum = read (zero, (void *)(ram + first), len) != (gssize)len;
  }
  return sum;
}

/* The child's life. */
static G_NORETURN void
live (int control, int memory, guint64 bytes)
{
  Hello hello;
  Order order;
  guint8 *ram = mmap (NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  hello.address = (guintptr)ram;
  dup2 (memory, GUEST_FD_RAM);
  for (int i = 0; i < 3; i++)
    hello.uffd[i] = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  for (int i = 0; i < 2; i++) {
    int fd = hello.uffd[i];
    hello.uffd[i] = dup2 (fd, i == 0 ? GUEST_FD_UFFD_ASYNC : GUEST_FD_UFFD_SYNC);
    close (fd);
  }
  if (ram == MAP_FAILED || write (control, &hello, sizeof hello) != sizeof hello)
    _exit (1);
  while (read (control, &order, sizeof order) == sizeof order) {
    guint64 sum = obey (&order, ram, memory);
    if (write (control, &sum, sizeof sum) != sizeof sum)
      break;
  }
  _exit (0);
}

gboolean
tracked_child_start (TrackedChild *child, guint64 pages)
{
  g_autofree char *pagemap = NULL;
  g_auto (AutoFd) log = -1;
  g_autoptr (GError) error = NULL;
  int sockets[2];
  Hello hello;
  guint64 bytes = pages * DIRTY_LOG_PAGE_BYTES;

  *child = (TrackedChild){ .control = -1, .uffd_own = -1 };
  child->memory.bytes = bytes;
  child->memory.memory = memfd_create ("vmckpt-ram", MFD_CLOEXEC);
  g_assert_no_errno (ftruncate (child->memory.memory, bytes));
  g_assert_no_errno (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
  child->child.pid = fork();
  if (child->child.pid == 0)
    live (sockets[1], child->memory.memory, bytes);
  close (sockets[1]);
  child->control = sockets[0];
  child->memory.pid = child->child.pid;
  g_assert_cmpint (read (child->control, &hello, sizeof hello), ==, sizeof hello);
  child->memory.address = hello.address;

  g_auto (AutoFd) pidfd = syscall (SYS_pidfd_open, child->child.pid, 0);
  child->memory.uffd_async = syscall (SYS_pidfd_getfd, pidfd, hello.uffd[0], 0);
  child->memory.uffd_sync = syscall (SYS_pidfd_getfd, pidfd, hello.uffd[1], 0);
  child->uffd_own = syscall (SYS_pidfd_getfd, pidfd, hello.uffd[2], 0);
  pagemap = g_strdup_printf ("/proc/%d/pagemap", child->child.pid);
  child->memory.pagemap = open (pagemap, O_RDONLY | O_CLOEXEC);
  log = dirty_log_create (bytes, &error);
  g_assert_no_error (error);
  child->log = dirty_log_open (log, bytes, &error);
  g_assert_no_error (error);
  if (child->memory.uffd_async >= 0)
    return TRUE;
  g_test_skip ("userfaultfd is not permitted");
  return FALSE;
}

void
tracked_child_end (TrackedChild *child)
{
  child_process_end (&child->child);
  g_clear_pointer (&child->log, dirty_log_free);
  fd_close (&child->control);
  fd_close (&child->memory.memory);
  fd_close (&child->memory.pagemap);
  fd_close (&child->memory.uffd_async);
  fd_close (&child->memory.uffd_sync);
  fd_close (&child->uffd_own);
}

void
tracked_child_order (TrackedChild *child, ChildOp op, guint64 first, guint64 count, guint8 value)
{
  Order order = { .op = op, .first = first, .count = count, .value = value };

  g_assert_cmpint (write (child->control, &order, sizeof order), ==, sizeof order);
}

guint64
tracked_child_wait (TrackedChild *child)
{
  guint64 sum;

  g_assert_cmpint (read (child->control, &sum, sizeof sum), ==, sizeof sum);
  return sum;
}

guint64
tracked_child_do (TrackedChild *child, ChildOp op, guint64 first, guint64 count, guint8 value)
{
  tracked_child_order (child, op, first, count, value);
  return tracked_child_wait (child);
}

DirtyTracker *
tracked_child_track (TrackedChild *child, TrackMode mode)
{
  g_autoptr (DirtyTracker) tracker = dirty_tracker_new (&child->memory, child->log);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (dirty_tracker_mode (tracker), ==, TRACK_NONE);
  if (dirty_tracker_begin (tracker, mode, FALSE, &error))
    return g_steal_pointer (&tracker);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_test_skip (error->message);
  return NULL;
}

void
tracked_child_assert_found (TrackedChild *child, DirtyTracker *tracker, guint64 first, guint64 end)
{
  g_autoptr (PageBitmap) found = page_bitmap_new (dirty_log_pages (child->log));
  g_autoptr (GError) error = NULL;
  guint64 from = 0, to = 0;

  dirty_tracker_collect (tracker, found, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (page_bitmap_count (found), ==, end - first);
  if (end > first)
    g_assert_true (page_bitmap_next_run (found, &from, &to) && from == first && to == end);
}
