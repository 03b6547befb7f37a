/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmckpt-keeper: the parent of one QEMU. README.md has the picture.
 *
 *   vmckpt-keeper --directory=D [--timeout-ms=N] [--report-fd=N] [--preload=OBJECT]
 *                 [--pass-fd=N]… [--incoming] -- QEMU ARGUMENTS…
 *   vmckpt-keeper --directory=D [--timeout-ms=N] [--report-fd=N] --adopt=PID:START [--paused]
 *                 [--foreign]
 *
 * It works in D, so that socket names are short whatever D is.
 */
#include "console.h"
#include "launch.h"
#include "lease-server.h"
#include "protocol.h"
#include "rescue.h"
#include "state.h"
#include "thaw.h"
#include "unprotect.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS_DEFAULT 20000
#define FINISH_MS 500 /* for what is left in the serial port, and for slow consoles, at the end */

typedef struct {
  char *directory;
  int report_fd;
  int timeout_ms;
  char *adopt;
  gboolean paused, foreign, incoming;
  char *preload;                /* (nullable): for QEMU alone */
  char **pass_words;            /* (nullable) */
  int pass_fds[KEEPER_FDS_MAX]; /* what QEMU inherits, by number, ascending */
  guint n_pass_fds;
  char **argv; /* QEMU's */
} Options;

static void
options_clear (Options *options)
{
  g_free (options->directory);
  g_free (options->adopt);
  g_free (options->preload);
  g_strfreev (options->pass_words);
  g_strfreev (options->argv);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

typedef struct {
  ChildProcess child; /* QEMU, unless it was adopted */
  KeeperRecord record;
  Console *console;
  LeaseServer *server;
  GMainLoop *loop;
  guint righting; /* what is being done to put the guest right; leases wait for all of it */
  gboolean was_leased;
  /* A daemon whose guard a predecessor held; -1 and 0: none */
  AutoFd guard_pidfd;
  guint guard_source;
} Program;

static int
compare_ints (gconstpointer a, gconstpointer b)
{
  return *(const int *)a - *(const int *)b;
}

/* The numbers of what QEMU inherits: descriptors that are open here and nothing of the keeper's. */
static gboolean
parse_pass_fds (Options *options, GError **error)
{
  for (char **word = options->pass_words; word != NULL && *word != NULL; word++) {
    guint64 fd;

    if (options->n_pass_fds == KEEPER_FDS_MAX ||
        !g_ascii_string_to_unsigned (*word, 10, STDERR_FILENO + 1, G_MAXINT, &fd, NULL) ||
        (int)fd <= options->report_fd || fcntl (fd, F_GETFD) < 0) {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                   "--pass-fd=%s is no descriptor that can be passed", *word);
      return FALSE;
    }
    options->pass_fds[options->n_pass_fds++] = fd;
  }
  qsort (options->pass_fds, options->n_pass_fds, sizeof (int), compare_ints);
  return TRUE;
}

static gboolean
parse_options (int argc, char **argv, Options *options, GError **error)
{
  const GOptionEntry entries[] = {
    { "directory", 0, 0, G_OPTION_ARG_FILENAME, &options->directory, "the guest's directory", "D" },
    { "report-fd", 0, 0, G_OPTION_ARG_INT, &options->report_fd, "where to say that all is up",
      "N" },
    { "timeout-ms", 0, 0, G_OPTION_ARG_INT, &options->timeout_ms, "until QEMU is up", "N" },
    { "adopt", 0, 0, G_OPTION_ARG_STRING, &options->adopt, "a QEMU that runs", "PID:START" },
    { "paused", 0, 0, G_OPTION_ARG_NONE, &options->paused, "it is stopped on purpose", NULL },
    { "foreign", 0, 0, G_OPTION_ARG_NONE, &options->foreign, "somebody else runs it", NULL },
    { "incoming", 0, 0, G_OPTION_ARG_NONE, &options->incoming, "killed unless a lease is taken",
      NULL },
    { "preload", 0, 0, G_OPTION_ARG_FILENAME, &options->preload, "loaded into QEMU", "OBJECT" },
    { "pass-fd", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->pass_words, "open here, for QEMU",
      "N" },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->argv, NULL, NULL },
    { NULL }
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("-- QEMU ARGUMENTS…");

  g_option_context_set_summary (context, "Keeps one guest; started by vmckptd.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, error))
    return FALSE;
  if (options->directory == NULL || (options->adopt == NULL) == (options->argv == NULL)) {
    g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                         "needs --directory, and either --adopt or QEMU's command line");
    return FALSE;
  }
  return parse_pass_fds (options, error);
}

/* Closes all but standard streams, the report pipe and what QEMU inherits. */
static void
close_others (const Options *options)
{
  int next = STDERR_FILENO + 1;

  if (options->report_fd > STDERR_FILENO) {
    fcntl (options->report_fd, F_SETFD, FD_CLOEXEC);
    close_range (next, options->report_fd - 1, 0);
    next = options->report_fd + 1;
  }
  for (guint i = 0; i < options->n_pass_fds; i++) {
    close_range (next, options->pass_fds[i] - 1, 0);
    next = options->pass_fds[i] + 1;
  }
  close_range (next, ~0U, 0);
}

/* Detaches from whoever started it. The report pipe is kept, and closed on every exec. */
static gboolean
detach (const Options *options, GError **error)
{
  struct sigaction ignore = { .sa_handler = SIG_IGN };

  setsid();
  umask (0077);
  sigaction (SIGHUP, &ignore, NULL);
  sigaction (SIGINT, &ignore, NULL);
  sigaction (SIGPIPE, &ignore, NULL);
  if (chdir (options->directory) < 0)
    return fd_set_errno_error (error, "the guest's directory %s", options->directory);

  g_auto (AutoFd) null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  g_auto (AutoFd) log = open (GUEST_FILE_STDERR, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (null < 0 || log < 0)
    return fd_set_errno_error (error, "opening %s/%s", options->directory, GUEST_FILE_STDERR);
  dup2 (null, STDIN_FILENO);
  dup2 (null, STDOUT_FILENO);
  dup2 (log, STDERR_FILENO);
  fd_close (&null);
  fd_close (&log);
  close_others (options);
  return TRUE;
}

/* FALSE if whoever waits for that has died. */
static gboolean
report (int fd, const char *text, GError **error)
{
  return fd <= STDERR_FILENO || fd_write_full (fd, text, strlen (text), error);
}

static void
write_record (Program *program)
{
  g_autoptr (GError) error = NULL;

  if (!keeper_record_write (".", &program->record, &error))
    g_printerr ("keeper: %s\n", error->message);
}

/* ---- Leases ---- */

static void
begin_righting (Program *program)
{
  lease_server_hold (program->server);
  program->righting++;
}

static void
end_righting (Program *program)
{
  if (--program->righting == 0)
    lease_server_ready (program->server);
}

static void
on_lease_changed (LeaseKind kind, gpointer user_data)
{
  Program *program = user_data;

  program->record.lease = kind;
  program->was_leased = program->was_leased || kind != LEASE_NONE;
  write_record (program);
}

static void
on_rescued (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Program *program = user_data;
  RescueReport done;

  rescue_finish (result, &done);
  g_printerr ("keeper: %s in %" G_GINT64_FORMAT " ms: %" G_GUINT64_FORMAT
              " bytes of stream dropped, %u ranges of memory freed%s\n",
              done.settled ? "the guest was put right" : "the guest could not be put right",
              done.elapsed_us / 1000, done.drained, done.ranges, done.resumed ? ", resumed" : "");
  on_lease_changed (LEASE_NONE, program);
  end_righting (program);
}

static void
on_lease_broken (LeaseKind kind, int stream, gpointer user_data)
{
  Program *program = user_data;

  if (kind == LEASE_RESTORE) {
    g_printerr ("keeper: a restore was not finished: QEMU is killed\n");
    process_id_signal (program->record.public.qemu, SIGKILL);
    if (stream >= 0)
      close (stream);
    return;
  }
  g_printerr ("keeper: a checkpoint was not finished: putting the guest right\n");
  begin_righting (program);
  rescue_async (GUEST_FILE_KEEPER_MONITOR, program->record.public.qemu, stream,
                kind == LEASE_CHECKPOINT_RESUME, on_rescued, program);
}

/* Whoever had QEMU started has its lease, or is gone. */
static gboolean
on_starter_gone (int fd, GIOCondition condition, gpointer user_data)
{
  Program *program = user_data;

  close (fd);
  if (!program->was_leased)
    on_lease_broken (LEASE_RESTORE, -1, program);
  return G_SOURCE_REMOVE;
}

/* ---- Guards ---- */

static void
on_guarded (ProcessId daemon, gpointer user_data)
{
  Program *program = user_data;

  g_clear_handle_id (&program->guard_source, g_source_remove);
  fd_close (&program->guard_pidfd);
  program->record.guard = daemon;
  write_record (program);
}

static void
on_freed (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Program *program = user_data;
  g_autoptr (GError) error = NULL;
  gssize ranges = g_task_propagate_int (G_TASK (result), &error);

  if (ranges < 0)
    g_printerr ("keeper: taking write-protection off the guest's memory: %s\n", error->message);
  else
    g_printerr ("keeper: %d ranges of memory freed\n", (int)ranges);
  on_guarded ((ProcessId){ 0 }, program);
  end_righting (program);
}

/* Reading a large guest's mappings takes its time. */
static void
free_thread (GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  const ProcessId *qemu = task_data;
  GError *error = NULL;
  guint ranges;

  if (unprotect_served_memory (*qemu, &ranges, &error))
    g_task_return_int (task, ranges);
  else
    g_task_return_error (task, error);
}

static void
on_unguarded (gpointer user_data)
{
  Program *program = user_data;
  const ProcessId *qemu = &program->record.public.qemu;
  g_autoptr (GTask) task = g_task_new (NULL, NULL, on_freed, program);

  g_printerr ("keeper: nobody serves the guest's write faults any more: freeing it\n");
  begin_righting (program);
  g_task_set_task_data (task, g_memdup2 (qemu, sizeof *qemu), g_free);
  g_task_run_in_thread (task, free_thread);
}

static gboolean
on_guarding_daemon_gone (int fd, GIOCondition condition, gpointer user_data)
{
  Program *program = user_data;

  program->guard_source = 0;
  on_unguarded (program);
  return G_SOURCE_REMOVE;
}

/* A predecessor was killed that held a guard of @daemon. If that lives it serves the guest, and
 * will take a guard here when it needs one next; until then it is watched itself. */
static void
take_over_guard (Program *program, ProcessId daemon)
{
  if (daemon.start_ticks == 0)
    return;
  program->guard_pidfd = syscall (SYS_pidfd_open, daemon.pid, 0);
  if (program->guard_pidfd < 0 || !process_id_alive (daemon))
    on_unguarded (program);
  else
    program->guard_source =
        g_unix_fd_add (program->guard_pidfd, G_IO_IN, on_guarding_daemon_gone, program);
}

/* ---- Frozen file systems ---- */

static void
on_frozen (gboolean begins, gpointer user_data)
{
  Program *program = user_data;

  program->record.frozen = begins;
  write_record (program);
}

static void
on_thawed (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Program *program = user_data;
  g_autoptr (GError) error = NULL;
  gssize count = thaw_finish (result, &error);

  if (count < 0)
    g_printerr ("keeper: the guest could not be thawed: %s\n", error->message);
  else
    g_printerr ("keeper: the guest was thawed: %d file systems\n", (int)count);
  on_frozen (FALSE, program);
  lease_server_thawed (program->server);
}

static void
on_thaw (gpointer user_data)
{
  Program *program = user_data;

  g_printerr ("keeper: the guest's file systems may be frozen: thawing them\n");
  lease_server_thawing (program->server);
  thaw_async (GUEST_FILE_AGENT, program->record.public.qemu, on_thawed, program);
}

static const LeaseServerFuncs lease_funcs = { on_lease_changed, on_lease_broken, on_guarded,
                                              on_unguarded,     on_frozen,       on_thaw };

/* A predecessor was killed: what it held is dealt with as if its lease had broken. */
static void
take_over (Program *program, LeaseKind lease, gboolean paused)
{
  if (lease == LEASE_NONE)
    lease = paused ? LEASE_CHECKPOINT : LEASE_CHECKPOINT_RESUME;
  else if (lease == LEASE_CHECKPOINT_RESUME && paused)
    lease = LEASE_CHECKPOINT;
  on_lease_broken (lease, -1, program);
}

/* ---- Start and end ---- */

static gboolean
on_qemu_gone (int fd, GIOCondition condition, gpointer user_data)
{
  Program *program = user_data;
  KeeperState *state = &program->record.public;
  int status = -1;

  if (program->child.pid > 0) {
    while (waitpid (program->child.pid, &status, 0) < 0 && errno == EINTR)
      ;
    child_process_release (&program->child);
  }
  if (program->console != NULL)
    console_finish (program->console, FINISH_MS);
  state->exited = TRUE;
  state->wait_status = status;
  state->exited_us = g_get_real_time();
  program->record.lease = LEASE_NONE;
  write_record (program);
  g_main_loop_quit (program->loop);
  return G_SOURCE_REMOVE;
}

static gboolean
parse_adopted (const char *text, ProcessId *id, GError **error)
{
  char *end;

  id->pid = g_ascii_strtoll (text, &end, 10);
  id->start_ticks = *end == ':' ? g_ascii_strtoull (end + 1, &end, 10) : 0;
  if (*end == '\0' && process_id_alive (*id))
    return TRUE;
  g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "QEMU %s is gone", text);
  return FALSE;
}

/* Starts QEMU or finds the one to adopt; @serial: (out): its serial port. */
static gboolean
get_qemu (Program *program, const Options *options, AutoFd *serial, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + (gint64)options->timeout_ms * 1000;
  KeeperState *state = &program->record.public;
  struct stat log;

  if (options->adopt != NULL)
    return parse_adopted (options->adopt, &state->qemu, error) &&
           (options->foreign || launch_connect_serial (deadline, serial, error));

  if (fstat (STDERR_FILENO, &log) < 0)
    return fd_set_errno_error (error, "looking at %s", GUEST_FILE_STDERR);
  if (!launch_qemu (options->argv, options->preload, &program->child, error))
    return FALSE;
  /* QEMU has them now, and nobody else: its memory goes when it goes. */
  for (guint i = 0; i < options->n_pass_fds; i++)
    close (options->pass_fds[i]);
  state->qemu = process_id_of (program->child.pid);
  return launch_wait_ready (&program->child, GUEST_FILE_STDERR, log.st_size, deadline, serial,
                            error);
}

/* Says that all is up. A QEMU whose starter has died meanwhile is not wanted; one that was adopted
 * is there whoever asks. */
static gboolean
report_up (Program *program, const Options *options, GError **error)
{
  if (!report (options->report_fd, KEEPER_REPORT_OK, error) && options->adopt == NULL) {
    g_prefix_error (error, "whoever started this guest is gone: ");
    return FALSE;
  }
  g_clear_error (error);
  if (options->incoming && options->report_fd > STDERR_FILENO)
    g_unix_fd_add (options->report_fd, G_IO_ERR, on_starter_gone, program);
  else if (options->report_fd > STDERR_FILENO)
    close (options->report_fd);
  return TRUE;
}

/* The serial port's log and the console on it. */
static gboolean
serve_console (Program *program, AutoFd *serial, GError **error)
{
  g_autoptr (SerialLog) log = serial_log_open (".", SERIAL_LOG_MAX_BYTES, error);
  g_auto (AutoFd) console = -1;

  if (log == NULL)
    return FALSE;
  console = fd_listen_unix (GUEST_FILE_CONSOLE, error);
  if (console < 0)
    return FALSE;
  program->console = console_new (GUEST_FILE_SERIAL, fd_steal (serial), fd_steal (&console),
                                  g_steal_pointer (&log));
  return TRUE;
}

/* Opens everything that others use, and says so in keeper.json. */
static gboolean
serve (Program *program, const Options *options, AutoFd *serial, GError **error)
{
  g_auto (AutoFd) leases = -1;
  KeeperState *state = &program->record.public;

  if (!options->foreign && !serve_console (program, serial, error))
    return FALSE;
  leases = fd_listen_unix (GUEST_FILE_KEEPER, error);
  if (leases < 0)
    return FALSE;

  state->keeper = process_id_of (getpid());
  state->wait_status = -1;
  if (!keeper_record_write (".", &program->record, error))
    return FALSE;
  program->server = lease_server_new (fd_steal (&leases), state, &lease_funcs, program);
  return TRUE;
}

static gboolean
watch_qemu (Program *program, AutoFd *pidfd, GError **error)
{
  *pidfd = syscall (SYS_pidfd_open, program->record.public.qemu.pid, 0);
  if (*pidfd < 0)
    return fd_set_errno_error (error, "watching QEMU");
  g_unix_fd_add (*pidfd, G_IO_IN, on_qemu_gone, program);
  return TRUE;
}

static gboolean
run (const Options *options, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_auto (AutoFd) serial = -1;
  g_auto (AutoFd) pidfd = -1;
  Program program = { .loop = loop, .guard_pidfd = -1 };
  KeeperRecord before = { .lease = LEASE_NONE };
  gboolean ok;

  if (options->adopt != NULL)
    keeper_record_read (".", &before, NULL);
  /* So that it is still there should this keeper be killed, too, before it has dealt with it. */
  program.record.lease = before.lease;
  program.record.guard = before.guard;
  program.record.frozen = before.frozen;
  ok = get_qemu (&program, options, &serial, error) && serve (&program, options, &serial, error) &&
       watch_qemu (&program, &pidfd, error);
  if (ok) {
    if (options->adopt != NULL) {
      take_over_guard (&program, before.guard);
      /* A daemon that lives thaws it too, which does no harm. */
      if (before.frozen)
        on_thaw (&program);
      if (before.lease != LEASE_NONE || !options->foreign)
        take_over (&program, before.lease, options->paused);
    }
    ok = report_up (&program, options, error);
  }
  if (ok)
    g_main_loop_run (loop);
  lease_server_free (program.server);
  console_free (program.console);
  fd_close (&program.guard_pidfd);
  child_process_end (&program.child);
  return ok;
}

int
main (int argc, char **argv)
{
  g_auto (Options) options = { .report_fd = -1, .timeout_ms = TIMEOUT_MS_DEFAULT };
  g_autoptr (GError) error = NULL;

  if (!parse_options (argc, argv, &options, &error)) {
    g_printerr ("vmckpt-keeper: %s\n", error->message);
    return 2;
  }
  if (detach (&options, &error) && run (&options, &error))
    return EXIT_SUCCESS;
  g_printerr ("keeper: %s\n", error->message);
  report (options.report_fd, error->message, NULL);
  return EXIT_FAILURE;
}
