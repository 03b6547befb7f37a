/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/process.h>

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum { STAT_READ, STAT_GONE, STAT_UNKNOWN } StatResult;

/* Reads state and start time of @pid. Only "no such file" or "no such process" says that it is
 * gone: no descriptor or memory left, or a hidden /proc, say nothing. */
static StatResult
read_stat (pid_t pid, char *state, guint64 *start_ticks)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/stat", (int)pid);
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  char text[1024];

  if (fd < 0)
    return (errno == ENOENT && access ("/proc/self/stat", F_OK) == 0) || errno == ESRCH
               ? STAT_GONE
               : STAT_UNKNOWN;
  ssize_t len = read (fd, text, sizeof text - 1);
  if (len <= 0)
    return len < 0 && errno == ESRCH ? STAT_GONE : STAT_UNKNOWN;
  text[len] = 0;
  /* The command name may hold anything, also ')': the fields start after the last one. */
  const char *fields = strrchr (text, ')');
  g_auto (GStrv) field = fields != NULL ? g_strsplit (fields + 2, " ", 0) : NULL;
  if (field == NULL || g_strv_length (field) < 20)
    return STAT_UNKNOWN;
  *state = field[0][0];
  *start_ticks = g_ascii_strtoull (field[19], NULL, 10);
  return STAT_READ;
}

ProcessId
process_id_of (pid_t pid)
{
  ProcessId id = { .pid = pid };
  char state;

  if (pid <= 0 || read_stat (pid, &state, &id.start_ticks) != STAT_READ)
    id.start_ticks = 0;
  return id;
}

gboolean
process_id_alive (ProcessId id)
{
  guint64 start;
  char state;

  if (id.start_ticks == 0)
    return FALSE;
  switch (read_stat (id.pid, &state, &start)) {
  case STAT_READ:
    return start == id.start_ticks && state != 'Z' && state != 'X';
  case STAT_GONE:
    return FALSE;
  default:
    return TRUE;
  }
}

char *
process_boot_id (void)
{
  char *text = NULL;

  if (!g_file_get_contents ("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
    return g_strdup ("unknown");
  return g_strstrip (text);
}

char *
process_machine_id (void)
{
  static const char use[crypto_generichash_KEYBYTES] = "vmckpt: who owns what";
  g_autofree char *text = NULL;
  guint8 hash[crypto_generichash_BYTES_MIN];
  char hex[2 * sizeof hash + 1];

  /* "uninitialized" while the system is being installed. */
  if (!g_file_get_contents ("/etc/machine-id", &text, NULL, NULL) ||
      strlen (g_strstrip (text)) != 32)
    return g_strdup ("");
  crypto_generichash (hash, sizeof hash, (const guint8 *)text, strlen (text), (const guint8 *)use,
                      sizeof use);
  return g_strdup (sodium_bin2hex (hex, sizeof hex, hash, sizeof hash));
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
