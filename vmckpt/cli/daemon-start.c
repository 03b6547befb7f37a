/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon-start.h"

#include "cli-error.h"
#include "cli-format.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY "ready\n"
#define READY_FD 3
#define IDLE_EXIT_SECONDS "60"
#define LOG_MOST (1024 * 1024) /* an older log of more than this is dropped */
#define LOG_SHOWN 2048         /* bytes of the log's end in an error */
#define POLL_MS 20
#define AGAIN_MS 200       /* another has the lock but does not listen: try again after so long, */
#define AGAIN_MOST_MS 2000 /* then twice as long, and so on up to this */

typedef enum { START_READY, START_BUSY, START_FAILED } StartResult;

char *
daemon_find (GError **error)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *here = g_path_get_dirname (self != NULL ? self : VMCKPT_BINDIR "/vmckpt");
  char *places[] = {
    g_build_filename (here, "vmckptd", NULL),
    g_build_filename (here, "..", "daemon", "vmckptd", NULL),
    g_build_filename (here, "..", "sbin", "vmckptd", NULL),
    g_build_filename (VMCKPT_BINDIR, "vmckptd", NULL),
    g_build_filename (VMCKPT_SBINDIR, "vmckptd", NULL),
  };
  char *found = NULL;

  for (gsize i = 0; i < G_N_ELEMENTS (places); i++) {
    if (found == NULL && g_file_test (places[i], G_FILE_TEST_IS_EXECUTABLE))
      found = g_canonicalize_filename (places[i], NULL);
    g_free (places[i]);
  }
  if (found == NULL)
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
                 "no daemon answers and none can be started: vmckptd is neither in %s nor in "
                 "%s: is vmckpt installed completely?",
                 here, VMCKPT_SBINDIR);
  return found;
}

/* What the daemon says on its ready pipe, until it is enough. */
typedef struct {
  GString *said;
  gboolean over; /* the pipe has ended or the time is up */
  gboolean late;
} ReadyWait;

static gboolean
on_ready_pipe (int fd, GIOCondition condition, gpointer user_data)
{
  ReadyWait *wait = user_data;
  char buf[16];
  ssize_t n = read (fd, buf, sizeof buf);

  if (n < 0 && errno == EINTR)
    return G_SOURCE_CONTINUE;
  if (n > 0)
    g_string_append_len (wait->said, buf, n);
  wait->over = n <= 0 || wait->said->len >= strlen (READY);
  return wait->over ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean
on_late (gpointer user_data)
{
  ReadyWait *wait = user_data;

  wait->over = wait->late = TRUE;
  return G_SOURCE_CONTINUE;
}

/* Waits for "ready\n"; FALSE if it does not come, with @late when that is because of the time. */
static gboolean
wait_ready (int fd, guint deadline_ms, GCancellable *cancellable, gboolean *late)
{
  g_autoptr (GString) said = g_string_new (NULL);
  ReadyWait wait = { .said = said };
  g_autoptr (GSource) pipe = g_unix_fd_source_new (fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
  guint timer = g_timeout_add (deadline_ms, on_late, &wait);

  g_source_set_callback (pipe, G_SOURCE_FUNC (on_ready_pipe), &wait, NULL);
  g_source_attach (pipe, NULL);
  while (!wait.over && !g_cancellable_is_cancelled (cancellable))
    g_main_context_iteration (NULL, TRUE);
  g_source_destroy (pipe);
  g_source_remove (timer);
  *late = wait.late;
  return g_str_has_prefix (said->str, READY);
}

static void
child_setup (gpointer user_data)
{
  setsid();
}

static int
open_log (const char *name, GError **error)
{
  struct stat info;
  g_auto (AutoFd) fd = open (name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

  if (fd < 0 || fstat (fd, &info) < 0 || (info.st_size > LOG_MOST && ftruncate (fd, 0) < 0)) {
    fd_set_errno_error (error, "opening the daemon's log %s", name);
    return -1;
  }
  return fd_steal (&fd);
}

static GSubprocess *
spawn (const char *program, const char *runtime, int log_fd, AutoFd *ready_fd, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher =
      g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
  g_autofree char *fd_text = g_strdup_printf ("%d", READY_FD);

  g_subprocess_launcher_set_cwd (launcher, "/");
  g_subprocess_launcher_set_child_setup (launcher, child_setup, NULL, NULL);
  g_subprocess_launcher_take_stderr_fd (launcher, dup (log_fd));
  g_subprocess_launcher_take_fd (launcher, fd_steal (ready_fd), READY_FD);
  return g_subprocess_launcher_spawn (launcher, error, program, "--runtime", runtime, "--idle-exit",
                                      IDLE_EXIT_SECONDS, "--ready-fd", fd_text, NULL);
}

/* What has come to the log since it was @from bytes long, at most its last LOG_SHOWN bytes. */
static char *
log_since (const char *name, goffset from)
{
  g_autofree char *text = NULL;
  gsize len = 0;

  if (!g_file_get_contents (name, &text, &len, NULL) || len <= (gsize)from)
    return g_strdup ("(it wrote nothing to its log)");
  gsize begin = MAX ((gsize)from, len > LOG_SHOWN ? len - LOG_SHOWN : 0);
  g_auto (GStrv) lines = g_strsplit (text + begin, "\n", -1);
  g_autoptr (GString) shown = g_string_new (NULL);
  for (char **line = lines; *line != NULL; line++) {
    g_autofree char *clean = format_clean (*line);
    if (**line != '\0')
      g_string_append_printf (shown, "%s%s", shown->len > 0 ? "\n  " : "", clean);
  }
  return g_string_free (g_steal_pointer (&shown), FALSE);
}

/* Waits until the daemon that was faster listens: TRUE if it does within @patience_ms. */
static gboolean
other_listens (const char *runtime, guint patience_ms, GCancellable *cancellable)
{
  g_autofree char *socket = g_build_filename (runtime, "api.sock", NULL);
  gint64 deadline = g_get_monotonic_time() + (gint64)patience_ms * 1000;

  while (!g_cancellable_is_cancelled (cancellable) && g_get_monotonic_time() < deadline) {
    g_auto (AutoFd) fd = fd_connect_unix_within (socket, POLL_MS, NULL);
    if (fd >= 0)
      return TRUE;
    g_usleep (POLL_MS * 1000);
    g_main_context_iteration (NULL, FALSE);
  }
  return FALSE;
}

/* The daemon has not said that it is ready: why. */
static StartResult
explain_start (GSubprocess *daemon, const char *runtime, const char *log, goffset log_from,
               guint deadline_ms, gboolean late, GCancellable *cancellable, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return START_FAILED;
  if (late)
    g_subprocess_send_signal (daemon, SIGTERM);
  else
    g_subprocess_wait (daemon, NULL, NULL);
  if (!late && g_subprocess_get_if_exited (daemon) &&
      g_subprocess_get_exit_status (daemon) == DAEMON_EXIT_BUSY)
    return START_BUSY;
  g_autofree char *said = log_since (log, log_from);
  g_autofree char *how =
      late ? g_strdup_printf ("was not ready after %u s", deadline_ms / 1000)
      : g_subprocess_get_if_exited (daemon)
          ? g_strdup_printf ("ended with status %d", g_subprocess_get_exit_status (daemon))
          : g_strdup_printf ("was killed by signal %d", g_subprocess_get_term_sig (daemon));
  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "the daemon for %s %s; %s says:\n  %s", runtime,
               how, log, said);
  return START_FAILED;
}

/* One try. */
static StartResult
try_start (const char *program, const char *runtime, guint deadline_ms, GCancellable *cancellable,
           GError **error)
{
  g_autofree char *log = g_build_filename (runtime, "vmckptd.log", NULL);
  g_autoptr (GSubprocess) daemon = NULL;
  g_auto (AutoFd) log_fd = -1;
  g_auto (AutoFd) read_end = -1;
  g_auto (AutoFd) write_end = -1;
  int ends[2];
  gboolean late;

  log_fd = open_log (log, error);
  if (log_fd < 0 || !g_unix_open_pipe (ends, FD_CLOEXEC, error))
    return START_FAILED;
  read_end = ends[0];
  write_end = ends[1];
  goffset log_from = lseek (log_fd, 0, SEEK_END);
  daemon = spawn (program, runtime, log_fd, &write_end, error);
  if (daemon == NULL)
    return START_FAILED;
  if (wait_ready (read_end, deadline_ms, cancellable, &late))
    return START_READY;
  return explain_start (daemon, runtime, log, log_from, deadline_ms, late, cancellable, error);
}

gboolean
daemon_start_program (const char *program, const char *runtime, guint deadline_ms,
                      GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + (gint64)deadline_ms * 1000;
  guint patience_ms = AGAIN_MS;

  if (g_mkdir_with_parents (runtime, 0700) < 0)
    return fd_set_errno_error (error, "making the runtime directory %s", runtime);
  /* Whoever has the lock may be about to listen, or to end: after a signal, in the moments before a
   * killed process is gone. So it is waited for, and tried again. */
  do {
    StartResult result = try_start (program, runtime, deadline_ms, cancellable, error);
    if (result != START_BUSY)
      return result == START_READY;
    if (other_listens (runtime, MIN (patience_ms, deadline_ms), cancellable))
      return TRUE;
    patience_ms = MIN (2 * patience_ms, AGAIN_MOST_MS);
  } while (!g_cancellable_is_cancelled (cancellable) && g_get_monotonic_time() < deadline);
  if (!g_cancellable_set_error_if_cancelled (cancellable, error))
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
                 "another daemon has taken %s but does not answer", runtime);
  return FALSE;
}

gboolean
daemon_start (const char *runtime, GCancellable *cancellable, GError **error)
{
  g_autofree char *program = daemon_find (error);
  g_autoptr (GError) cause = NULL;

  if (program == NULL)
    return FALSE;
  if (daemon_start_program (program, runtime, DAEMON_READY_MS, cancellable, &cause))
    return TRUE;
  if (cause->domain == CLI_ERROR || g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    g_propagate_error (error, g_steal_pointer (&cause));
  else
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "starting a daemon: %s", cause->message);
  return FALSE;
}
