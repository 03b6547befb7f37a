/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "written-child.h"

#include <vmckpt/store/page-map.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_US (60 * G_USEC_PER_SEC)

/* In memory shared by both processes. */
struct _WrittenControl {
  guint64 pages;
  guint32 seed;
  int uffd; /* number in the child; -1: none to be had */
  guint8 *ram;
  atomic_bool ready;
  _Atomic guint64 writes;
  _Atomic guint32 threads;
};

static guint64
next_random (guint64 *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* Writes its random pages for ever: a word at the start, one somewhere, and one at the end. */
static void *
writer_thread (void *data)
{
  WrittenControl *control = data;
  guint64 state = (guint64)control->seed << 8 | (atomic_fetch_add (&control->threads, 1) + 1);

  for (;;) {
    guint64 random = next_random (&state);
    _Atomic guint64 *page = (void *)(control->ram + random % control->pages * PAGE_SIZE_BYTES);
    atomic_store (page, random);
    atomic_store (page + random / control->pages % 512, ~random);
    atomic_store (page + 511, random);
    atomic_fetch_add (&control->writes, 1);
  }
  return NULL;
}

static void
run_child (WrittenControl *control, int memory, guint threads)
{
  pthread_t thread;

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  control->uffd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  control->ram =
      mmap (NULL, control->pages * PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  for (guint64 page = 0; page < control->pages; page += 2)
    control->ram[page * PAGE_SIZE_BYTES] = 1;
  atomic_store (&control->ready, TRUE);
  raise (SIGSTOP);
  for (guint i = 1; i < threads; i++)
    if (pthread_create (&thread, NULL, writer_thread, control) != 0)
      _exit (1);
  writer_thread (control);
}

static gboolean
skip (const char *why)
{
  g_test_skip (why);
  return FALSE;
}

gboolean
written_child_start (WrittenChild *child, guint64 pages, guint threads)
{
  g_auto (AutoFd) pidfd = -1;

  *child = WRITTEN_CHILD_NONE;
  child->pages = pages;
  child->memory = memfd_create ("ram", MFD_CLOEXEC);
  g_assert_cmpint (ftruncate (child->memory, pages * PAGE_SIZE_BYTES), ==, 0);
  child->view = mmap (NULL, pages * PAGE_SIZE_BYTES, PROT_READ, MAP_SHARED, child->memory, 0);
  child->control = mmap (NULL, sizeof *child->control, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_assert_true (child->view != MAP_FAILED && child->control != MAP_FAILED);
  child->control->pages = pages;
  child->control->seed = g_test_rand_int();
  child->pid = fork();
  g_assert_cmpint (child->pid, >=, 0);
  if (child->pid == 0) {
    run_child (child->control, child->memory, threads);
    _exit (1);
  }
  g_assert_cmpint (waitpid (child->pid, NULL, WUNTRACED), ==, child->pid);
  g_assert_true (atomic_load (&child->control->ready));
  if (child->control->uffd < 0)
    return skip ("no userfaultfd for faults of the kernel: needs CAP_SYS_PTRACE");
  pidfd = syscall (SYS_pidfd_open, child->pid, 0);
  child->uffd = syscall (SYS_pidfd_getfd, pidfd, child->control->uffd, 0);
  if (child->uffd < 0)
    return skip ("the child's userfaultfd cannot be taken: needs CAP_SYS_PTRACE");
  child->address = (guintptr)child->control->ram;
  return TRUE;
}

void
written_child_end (WrittenChild *child)
{
  if (child->pid > 0) {
    kill (child->pid, SIGKILL);
    waitpid (child->pid, NULL, 0);
    munmap (child->view, child->pages * PAGE_SIZE_BYTES);
    munmap (child->control, sizeof *child->control);
  }
  fd_close (&child->memory);
  fd_close (&child->uffd);
  child->pid = 0;
}

void
written_child_handshake (WrittenChild *child)
{
  struct uffdio_api api = { .api = UFFD_API,
                            .features =
                                UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM };

  g_assert_cmpint (ioctl (child->uffd, UFFDIO_API, &api), ==, 0);
}

void
written_child_run (WrittenChild *child)
{
  int status;

  g_assert_cmpint (kill (child->pid, SIGCONT), ==, 0);
  g_assert_cmpint (waitpid (child->pid, &status, WCONTINUED), ==, child->pid);
}

void
written_child_stop (WrittenChild *child)
{
  int status;

  g_assert_cmpint (kill (child->pid, SIGSTOP), ==, 0);
  g_assert_cmpint (waitpid (child->pid, &status, WUNTRACED), ==, child->pid);
  g_assert_true (WIFSTOPPED (status));
}

void
written_child_await (WrittenChild *child, guint64 writes)
{
  guint64 wanted = atomic_load (&child->control->writes) + writes;
  gint64 deadline = g_get_monotonic_time() + PATIENCE_US;

  while (atomic_load (&child->control->writes) < wanted) {
    g_assert_cmpint (g_get_monotonic_time(), <, deadline);
    g_usleep (500);
  }
}
