/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "launch.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/qmp/commands.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_US 2000
#define TAIL_BYTES 2048

/* The environment with @preload before whatever LD_PRELOAD names already, newly allocated. */
static GStrv
make_environment (const char *preload)
{
  GStrv environment = g_get_environ();
  const char *others = g_environ_getenv (environment, "LD_PRELOAD");

  if (preload == NULL)
    return environment;
  g_autofree char *all = others != NULL ? g_strconcat (preload, ":", others, NULL) : NULL;
  return g_environ_setenv (environment, "LD_PRELOAD", all != NULL ? all : preload, TRUE);
}

/* In the child: undoes what the keeper set for itself, and runs QEMU. Does not return. */
static void
run_program (char *const *argv, char *const *environment, int status_fd)
{
  struct sigaction standard = { .sa_handler = SIG_DFL };
  sigset_t none;

  /* No PR_SET_PDEATHSIG: the guest outlives a killed keeper. */
  sigaction (SIGHUP, &standard, NULL);
  sigaction (SIGINT, &standard, NULL);
  sigaction (SIGPIPE, &standard, NULL);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  dup2 (STDERR_FILENO, STDOUT_FILENO);
  execve (argv[0], argv, environment);
  int code = errno;
  if (write (status_fd, &code, sizeof code) < 0)
    _exit (126);
  _exit (127);
}

gboolean
launch_qemu (char *const *argv, const char *preload, ChildProcess *child, GError **error)
{
  g_auto (GStrv) environment = make_environment (preload);
  g_auto (AutoFd) read_end = -1;
  g_auto (AutoFd) write_end = -1;
  int fds[2], code;

  if (pipe2 (fds, O_CLOEXEC) < 0)
    return fd_set_errno_error (error, "making a pipe");
  read_end = fds[0];
  write_end = fds[1];
  child->pid = fork();
  if (child->pid < 0)
    return fd_set_errno_error (error, "starting %s", argv[0]);
  if (child->pid == 0)
    run_program (argv, environment, write_end);
  fd_close (&write_end);
  /* The pipe closes without a byte when exec succeeds. */
  if (fd_read_full (read_end, &code, sizeof code, NULL) == sizeof code) {
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "cannot run %s: %s", argv[0],
                 g_strerror (code));
    return FALSE;
  }
  return TRUE;
}

/* The last of what @path holds behind @offset, as text without white space at its end. */
static char *
read_tail (const char *path, guint64 offset)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  char buf[TAIL_BYTES];
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0 || (guint64)st.st_size <= offset)
    return g_strdup ("");
  if ((guint64)st.st_size - offset > sizeof buf)
    offset = st.st_size - sizeof buf;
  ssize_t n = pread (fd, buf, sizeof buf, offset);
  char *text = g_utf8_make_valid (buf, MAX (n, 0));
  return g_strchomp (text);
}

/* FALSE with @error if @child has ended; it is reaped then. */
static gboolean
check_alive (ChildProcess *child, const char *log, guint64 log_offset, GError **error)
{
  int status;

  if (child->pid <= 0 || waitpid (child->pid, &status, WNOHANG) != child->pid)
    return TRUE;
  child_process_release (child);

  KeeperState state = { .exited = TRUE, .wait_status = status };
  g_autofree char *how = keeper_state_describe (&state);
  g_autofree char *said = read_tail (log, log_offset);
  g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "QEMU ended at once (%s)%s%s", how,
               *said != '\0' ? ": " : " without a word", said);
  return FALSE;
}

static gboolean
set_late_error (const char *log, guint64 log_offset, const char *what, GError **error)
{
  g_autofree char *said = read_tail (log, log_offset);

  g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "QEMU did not %s in time%s%s", what,
               *said != '\0' ? ": " : "", said);
  return FALSE;
}

gboolean
launch_connect_serial (gint64 deadline, AutoFd *serial, GError **error)
{
  while (*serial < 0) {
    g_autoptr (GError) cause = NULL;
    *serial = fd_connect_unix (GUEST_FILE_SERIAL, &cause);
    if (*serial >= 0)
      break;
    if (g_get_monotonic_time() >= deadline) {
      g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "the serial port: %s", cause->message);
      return FALSE;
    }
    g_usleep (POLL_US);
  }
  return TRUE;
}

static gboolean
is_socket (const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 && S_ISSOCK (st.st_mode);
}

gboolean
launch_wait_ready (ChildProcess *child, const char *log, guint64 log_offset, gint64 deadline,
                   AutoFd *serial, GError **error)
{
  while (*serial < 0 || !is_socket (GUEST_FILE_MONITOR) || !is_socket (GUEST_FILE_KEEPER_MONITOR)) {
    if (!check_alive (child, log, log_offset, error))
      return FALSE;
    if (g_get_monotonic_time() >= deadline)
      return set_late_error (log, log_offset, "open its monitors and its serial port", error);
    if (*serial < 0)
      *serial = fd_connect_unix (GUEST_FILE_SERIAL, NULL);
    g_usleep (POLL_US);
  }
  /* The sockets are made before the machine is. An answer comes only from a whole machine; a QEMU
   * that ends breaks the connection. */
  for (;;) {
    gint64 left = (deadline - g_get_monotonic_time()) / 1000;
    g_autoptr (QmpClient) monitor =
        qmp_client_connect (GUEST_FILE_KEEPER_MONITOR, MAX (left, 1), NULL);
    g_autofree char *status = monitor != NULL ? qmp_query_status (monitor, NULL) : NULL;
    if (status != NULL)
      return TRUE;
    if (!check_alive (child, log, log_offset, error))
      return FALSE;
    if (left <= 0)
      return set_late_error (log, log_offset, "answer on its monitor", error);
    g_usleep (POLL_US);
  }
}
