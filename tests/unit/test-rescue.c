/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real guests whose daemon is killed in the middle of something. */
#include "tiny-guest.h"

#include "unprotect.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE (32 * 1024)

/* ---- The part of a daemon that is killed: this program again, with a guest's directory ---- */

typedef struct {
  const char *mode; /* see the tests */
  QemuGuest guest;
  KeeperLease *lease;
  KeeperGuard *guard;
  int stream[2];
} Daemon;

static void
take_lease (Daemon *daemon, int stream)
{
  g_autoptr (GError) error = NULL;

  daemon->lease = keeper_lease_checkpoint (daemon->guest.keeper, stream, TRUE, &error);
  g_assert_no_error (error);
}

/* Begins to send the guest's state through a pipe, and reads the first piece of it. */
static void
begin_stream (Daemon *daemon, gboolean live)
{
  g_autoptr (GError) error = NULL;
  QmpClient *monitor = daemon->guest.monitor;
  char piece[PIECE];

  if (live)
    qmp_migrate_set_capability (monitor, "background-snapshot", TRUE, &error);
  else
    qmp_stop (monitor, &error);
  g_assert_no_error (error);
  qmp_getfd (monitor, "vmckpt", daemon->stream[1], &error);
  g_assert_no_error (error);
  close (daemon->stream[1]);
  qmp_migrate (monitor, "fd:vmckpt", &error);
  g_assert_no_error (error);
  g_assert_cmpint (fd_read_full (daemon->stream[0], piece, sizeof piece, &error), ==, sizeof piece);
}

/* Does what @mode says, tells the test by one byte on standard output, and waits to be killed. */
static int
run_daemon (const char *mode, const char *directory)
{
  Daemon daemon = { .mode = mode };
  g_autoptr (GError) error = NULL;

  g_assert_true (g_unix_open_pipe (daemon.stream, FD_CLOEXEC, &error));
  if (!g_str_equal (mode, "guard"))
    qemu_attach (directory, GUEST_DRIVER_QEMU, &daemon.guest, &error);
  g_assert_no_error (error);
  if (g_str_equal (mode, "restore")) {
    daemon.lease = keeper_lease_restore (daemon.guest.keeper, &error);
    g_assert_no_error (error);
  } else if (g_str_equal (mode, "guard")) {
    daemon.guard = keeper_guard_take (directory, &error);
    g_assert_no_error (error);
  } else if (g_str_equal (mode, "live")) {
    take_lease (&daemon, daemon.stream[0]);
    begin_stream (&daemon, TRUE);
  } else if (g_str_equal (mode, "live-unread")) {
    take_lease (&daemon, -1);
    begin_stream (&daemon, TRUE);
  } else if (g_str_equal (mode, "cancelled")) {
    /* Nobody should; on QEMU 7.2 it leaves the guest hanging, and at times QEMU itself, which then
     * answers nothing any more. */
    take_lease (&daemon, daemon.stream[0]);
    begin_stream (&daemon, TRUE);
    g_autoptr (JsonNode) answer =
        qmp_client_execute (daemon.guest.monitor, "migrate_cancel", NULL, -1, 500, NULL, NULL);
  } else if (g_str_equal (mode, "stop")) {
    take_lease (&daemon, daemon.stream[0]);
    begin_stream (&daemon, FALSE);
  } else if (g_str_equal (mode, "stopped-early")) {
    take_lease (&daemon, daemon.stream[0]);
    qmp_stop (daemon.guest.monitor, &error);
    qmp_getfd (daemon.guest.monitor, "vmckpt", daemon.stream[1], &error);
    g_assert_no_error (error);
  } else {
    g_assert_not_reached();
  }
  g_assert_cmpint (write (STDOUT_FILENO, "!", 1), ==, 1);
  for (;;)
    pause();
}

/* Runs the above up to its byte; the caller kills it by the guard's end. */
static ChildProcess
spawn_daemon (const char *mode, const char *directory)
{
  const char *argv[] = { "/proc/self/exe", "--daemon", mode, directory, NULL };
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) output = -1;
  ChildProcess child;
  char byte;

  g_spawn_async_with_pipes (NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                            &child.pid, NULL, &output, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (fd_read_full (output, &byte, 1, &error), ==, 1);
  return child;
}

/* ---- Tests ---- */

static void
start (TinyGuest *guest)
{
  tiny_guest_init (guest);
  tiny_guest_start (guest, TRUE);
  /* QEMU's monitor lets one client in at a time: the daemon that is to be killed. */
  qemu_guest_clear (&guest->qemu);
}

/* Attaches anew and waits until the keeper has put the guest right. */
static void
attach_again (TinyGuest *guest)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (KeeperLease) lease = NULL;

  qemu_attach (guest->directory, GUEST_DRIVER_QEMU, &guest->qemu, &error);
  g_assert_no_error (error);
  lease = keeper_lease_checkpoint (guest->qemu.keeper, -1, TRUE, &error);
  g_assert_no_error (error);
  g_assert_true (keeper_lease_end (lease, &error));
  g_assert_no_error (error);
}

static gboolean
is_migrated (gpointer data)
{
  QmpClient *monitor = data;
  g_autoptr (GError) error = NULL;
  g_auto (QmpMigration) migration = { 0 };

  g_assert_true (qmp_query_migrate (monitor, &migration, &error));
  g_assert_cmpstr (migration.status, !=, "failed");
  return g_str_equal (migration.status, "completed");
}

/* A whole background snapshot, read to its end; the guest runs on. */
static void
take_snapshot (TinyGuest *guest)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (guest->parent, "stream", NULL);
  g_autofree char *uri = g_strdup_printf ("exec:cat > %s", path);

  qmp_migrate_set_capability (guest->qemu.monitor, "background-snapshot", TRUE, &error);
  g_assert_no_error (error);
  qmp_migrate (guest->qemu.monitor, uri, &error);
  g_assert_no_error (error);
  wait_until (is_migrated, guest->qemu.monitor, "the second snapshot");
  unlink (path);
  tiny_guest_wait_output (guest, 10000);
}

static void
assert_log_says (TinyGuest *guest, const char *text)
{
  g_autofree char *path = tiny_guest_file (guest, GUEST_FILE_STDERR);
  g_autofree char *log = NULL;

  g_assert_true (g_file_get_contents (path, &log, NULL, NULL));
  if (strstr (log, text) == NULL)
    g_error ("the keeper did not say '%s' but: %s", text, log);
  g_test_message ("%s", log);
}

/* The daemon dies in the middle of a checkpoint: the guest runs on, and can be checkpointed. */
static void
test_daemon_killed (gconstpointer mode)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  start (&guest);
  {
    g_auto (ChildProcess) daemon = spawn_daemon (mode, guest.directory);
    g_assert_cmpint (daemon.pid, >, 0);
  }
  attach_again (&guest);
  g_autofree char *status = qmp_query_status (guest.qemu.monitor, &error);
  g_assert_cmpstr (status, ==, "running");
  assert_log_says (&guest, "the guest was put right");
  tiny_guest_wait_output (&guest, 10000);
  take_snapshot (&guest);
}

/* Daemon and keeper die together, so that nobody reads the stream on: QEMU 7.2 then forgets the
 * write-protection. The next daemon's keeper finds the guest hanging and frees it. */
static void
test_both_killed (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  start (&guest);
  {
    g_auto (ChildProcess) daemon = spawn_daemon ("live", guest.directory);
    g_assert_true (keeper_read_state (guest.directory, &state, &error));
    g_assert_true (state.leased);
    g_assert_true (process_id_signal (state.keeper, SIGKILL));
    g_assert_cmpint (daemon.pid, >, 0);
  }
  g_assert_true (process_id_wait_gone (state.keeper, 10000));
  attach_again (&guest);
  g_autofree char *status = qmp_query_status (guest.qemu.monitor, &error);
  g_assert_cmpstr (status, ==, "running");
  assert_log_says (&guest, "the guest was put right");
  tiny_guest_wait_output (&guest, 10000);
  take_snapshot (&guest);
}

/* A restore that is not finished leaves no QEMU. */
static void
test_restore_broken (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  start (&guest);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  {
    g_auto (ChildProcess) daemon = spawn_daemon ("restore", guest.directory);
    g_assert_cmpint (daemon.pid, >, 0);
  }
  g_assert_true (process_id_wait_gone (state.qemu, 10000));
  g_assert_true (process_id_wait_gone (state.keeper, 10000));
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_autofree char *how = keeper_state_describe (&state);
  g_assert_cmpstr (how, ==, "killed by signal 9");
}

/* How often the keeper has said @text. */
static guint
count_in_log (TinyGuest *guest, const char *text)
{
  g_autofree char *path = tiny_guest_file (guest, GUEST_FILE_STDERR);
  g_autofree char *log = NULL;
  g_auto (GStrv) parts = NULL;

  g_assert_true (g_file_get_contents (path, &log, NULL, NULL));
  parts = g_strsplit (log, text, -1);
  return MAX (g_strv_length (parts), 1) - 1;
}

#define FREEING "nobody serves the guest's write faults any more"

static gboolean
log_says_freeing (gpointer path)
{
  g_autofree char *log = NULL;

  return g_file_get_contents (path, &log, NULL, NULL) && strstr (log, FREEING) != NULL;
}

/* Takes a guard, for which the keeper is through with whatever it does to the guest, and ends it.
 */
static void
take_and_end_guard (TinyGuest *guest)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (KeeperGuard) guard = keeper_guard_take (guest->directory, &error);

  g_assert_no_error (error);
  g_assert_true (keeper_guard_end (guard, &error));
  g_assert_no_error (error);
}

/* One guard at a time, beside a lease; its end is no reason to do anything, its breaking is. */
static void
test_guard (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  g_autoptr (KeeperGuard) guard = NULL;
  g_autoptr (KeeperLease) lease = NULL;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  tiny_guest_start (&guest, TRUE);
  guard = keeper_guard_take (guest.directory, &error);
  g_assert_no_error (error);
  g_assert_null (keeper_guard_take (guest.directory, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_BUSY);
  g_clear_error (&error);
  lease = keeper_lease_checkpoint (guest.qemu.keeper, -1, TRUE, &error);
  g_assert_no_error (error);
  g_assert_true (keeper_lease_end (lease, &error));
  g_assert_false (keeper_guard_is_lost (guard));
  g_assert_true (keeper_guard_end (guard, &error));
  g_assert_no_error (error);
  take_and_end_guard (&guest);
  g_assert_cmpuint (count_in_log (&guest, FREEING), ==, 0);
  qemu_guest_clear (&guest.qemu);
  {
    g_auto (ChildProcess) daemon = spawn_daemon ("guard", guest.directory);
    g_assert_cmpint (daemon.pid, >, 0);
  }
  take_and_end_guard (&guest);
  g_assert_cmpuint (count_in_log (&guest, FREEING), ==, 1);
  tiny_guest_wait_output (&guest, 10000);
}

/* The keeper is killed while a daemon serves the guest: its successor watches that daemon. */
static void
test_guard_outlives_keeper (gconstpointer how)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_auto (ChildProcess) daemon = CHILD_PROCESS_NONE;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  start (&guest);
  daemon = spawn_daemon ("guard", guest.directory);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_true (process_id_signal (state.keeper, SIGKILL));
  if (g_str_equal (how, "both"))
    child_process_end (&daemon);
  g_assert_true (process_id_wait_gone (state.keeper, 10000));
  attach_again (&guest);
  if (g_str_equal (how, "keeper")) {
    g_assert_cmpuint (count_in_log (&guest, FREEING), ==, 0);
    child_process_end (&daemon);
  }
  g_autofree char *path = tiny_guest_file (&guest, GUEST_FILE_STDERR);
  wait_until (log_says_freeing, path, "the guest to be freed");
  take_and_end_guard (&guest);
  g_assert_cmpuint (count_in_log (&guest, FREEING), ==, 1);
  tiny_guest_wait_output (&guest, 10000);
}

/* Nothing to free: nothing is done, and that is no error. */
static void
test_unprotect_nothing (void)
{
  g_autoptr (GError) error = NULL;
  guint ranges = 1;

  g_assert_true (unprotect_memory (process_id_of (getpid()), &ranges, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (ranges, ==, 0);
  g_assert_false (unprotect_memory ((ProcessId){ getpid(), 1 }, &ranges, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

int
main (int argc, char **argv)
{
  if (argc == 4 && g_str_equal (argv[1], "--daemon"))
    return run_daemon (argv[2], argv[3]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rescue/unprotect-nothing", test_unprotect_nothing);
  g_test_add_data_func ("/rescue/live", "live", test_daemon_killed);
  g_test_add_data_func ("/rescue/live-unread", "live-unread", test_daemon_killed);
  g_test_add_data_func ("/rescue/cancelled", "cancelled", test_daemon_killed);
  g_test_add_data_func ("/rescue/stop", "stop", test_daemon_killed);
  g_test_add_data_func ("/rescue/stopped-early", "stopped-early", test_daemon_killed);
  g_test_add_func ("/rescue/both-killed", test_both_killed);
  g_test_add_func ("/rescue/restore", test_restore_broken);
  g_test_add_func ("/rescue/guard", test_guard);
  g_test_add_data_func ("/rescue/guard-keeper-killed", "keeper", test_guard_outlives_keeper);
  g_test_add_data_func ("/rescue/guard-both-killed", "both", test_guard_outlives_keeper);
  return g_test_run();
}
