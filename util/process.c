/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/process.h>

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads state and start time of @pid; FALSE if there is no such process. */
static gboolean
read_stat (pid_t pid, char *state, guint64 *start_ticks)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/stat", (int)pid);
  g_autofree char *text = NULL;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return FALSE;
  /* The command name may hold anything, also ')': the fields start after the last one. */
  const char *fields = strrchr (text, ')');
  if (fields == NULL)
    return FALSE;
  g_auto (GStrv) field = g_strsplit (fields + 2, " ", 0);
  if (g_strv_length (field) < 20)
    return FALSE;
  *state = field[0][0];
  *start_ticks = g_ascii_strtoull (field[19], NULL, 10);
  return TRUE;
}

ProcessId
process_id_of (pid_t pid)
{
  ProcessId id = { .pid = pid };
  char state;

  if (pid <= 0 || !read_stat (pid, &state, &id.start_ticks))
    id.start_ticks = 0;
  return id;
}

gboolean
process_id_alive (ProcessId id)
{
  guint64 start;
  char state;

  return id.start_ticks != 0 && read_stat (id.pid, &state, &start) && start == id.start_ticks &&
         state != 'Z' && state != 'X';
}

char *
process_boot_id (void)
{
  char *text = NULL;

  if (!g_file_get_contents ("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
    return g_strdup ("unknown");
  return g_strstrip (text);
}

/* A pidfd of that very process, or -1. Opened first and compared after, so the pid cannot change.
 */
static int
open_pidfd (ProcessId id)
{
  g_auto (AutoFd) fd = id.start_ticks != 0 ? syscall (SYS_pidfd_open, id.pid, 0) : -1;

  if (fd >= 0 && process_id_of (id.pid).start_ticks != id.start_ticks)
    return -1;
  return fd_steal (&fd);
}

gboolean
process_id_signal (ProcessId id, int signal)
{
  g_auto (AutoFd) fd = open_pidfd (id);

  return fd >= 0 && syscall (SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0;
}

gboolean
process_id_wait_gone (ProcessId id, int timeout_ms)
{
  g_auto (AutoFd) fd = open_pidfd (id);
  struct pollfd wait = { .fd = fd, .events = POLLIN };
  gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

  while (process_id_alive (id)) {
    gint64 left = (deadline - g_get_monotonic_time()) / 1000;
    if (left <= 0)
      return FALSE;
    poll (&wait, fd >= 0, left);
  }
  return TRUE;
}

void
child_process_end (ChildProcess *child)
{
  if (child->pid <= 0)
    return;
  kill (child->pid, SIGKILL);
  while (waitpid (child->pid, NULL, 0) < 0 && errno == EINTR)
    ;
  child->pid = 0;
}

pid_t
child_process_release (ChildProcess *child)
{
  pid_t pid = child->pid;
  child->pid = 0;
  return pid;
}
