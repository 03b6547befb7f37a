/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting, losing, finding and ending the process that serves disks. Each test is also what a
 * daemon does that is killed somewhere: a subprocess stands for it. */
#include "disk-fixture.h"
#include "nbd-client.h"

#include <vmckpt/disk/disk-server.h>

#include <signal.h>
#include <sys/wait.h>

typedef struct {
  guint again, waiting, ended;
  char *message;
} Events;

static void
note_event (DiskServer *server, DiskServerEvent event, const char *message, gpointer user_data)
{
  Events *events = user_data;

  events->again += event == DISK_SERVER_STARTED_AGAIN;
  events->waiting += event == DISK_SERVER_WAITING;
  events->ended += event == DISK_SERVER_ENDED;
  g_free (events->message);
  events->message = g_strdup (message);
}

static void
events_clear (Events *events)
{
  g_free (events->message);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Events, events_clear)

static gboolean
give_up (gpointer user_data)
{
  g_error ("the event that is waited for does not come");
  return G_SOURCE_REMOVE;
}

static void
wait_for (const guint *count, guint value)
{
  guint deadline = g_timeout_add_seconds (60, give_up, NULL);

  while (*count < value)
    g_main_context_iteration (NULL, TRUE);
  g_source_remove (deadline);
}

static DiskServerOptions
options_for (const DiskFixture *fixture, const char *directory)
{
  return (DiskServerOptions){
    .directory = directory, .store = fixture->path, .checkpoint = fixture->id, .key = fixture->key
  };
}

static DiskServer *
start (const DiskServerOptions *options, Events *events)
{
  g_autoptr (GError) error = NULL;
  DiskServerWatch watch = { .func = note_event, .user_data = events };
  DiskServer *server = disk_server_start (options, events != NULL ? &watch : NULL, &error);

  g_assert_no_error (error);
  return server;
}

static void
assert_serves (DiskServer *server, const DiskFixture *fixture)
{
  g_autofree char *first = disk_server_uri (server, NULL);
  g_autofree char *second = disk_server_uri (server, "disk1");

  nbd_client_assert (first, fixture->disk0, FIXTURE_DISK_BYTES);
  nbd_client_assert (second, fixture->disk1, FIXTURE_SMALL_BYTES);
}

static void
assert_nothing_left (const char *directory)
{
  static const char *const names[] = { DISK_SERVER_FILE_STATE, DISK_SERVER_FILE_SOCKET };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *path = g_build_filename (directory, names[i], NULL);
    g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
  }
}

/* It serves, is let go of, found again as the same process, and ended. */
static void
test_adopt (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autoptr (GError) error = NULL;

  disk_fixture_make (&fixture, FALSE);
  DiskServerOptions options = options_for (&fixture, directory);
  g_autoptr (DiskServer) first = start (&options, NULL);
  ProcessId process = disk_server_process (first);
  assert_serves (first, &fixture);
  g_assert_null (disk_server_start (&options, NULL, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_BUSY);
  g_clear_error (&error);
  g_clear_pointer (&first, disk_server_free);

  DiskServer *second = disk_server_adopt (directory, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (disk_server_process (second).pid, ==, process.pid);
  g_assert_cmpstr (disk_server_checkpoint (second), ==, fixture.id);
  assert_serves (second, &fixture);
  disk_server_end (second, 1000);
  g_assert_false (process_id_alive (process));
  assert_nothing_left (directory);
  g_assert_null (disk_server_adopt (directory, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  disk_server_end_found (directory);
}

/* One that is killed is started again at the same place, and who comes in between waits. */
static void
test_killed (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_auto (Events) events = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();

  disk_fixture_make (&fixture, FALSE);
  DiskServerOptions options = options_for (&fixture, directory);
  DiskServer *server = start (&options, &events);
  g_autofree char *uri = disk_server_uri (server, "disk1");
  g_autoptr (NbdHandle) client = nbd_client_connect (uri);
  for (guint i = 0; i < 3; i++) {
    ProcessId process = disk_server_process (server);
    g_assert_true (process_id_signal (process, SIGKILL));
    wait_for (&events.again, i + 1);
    g_assert_cmpint (disk_server_process (server).pid, !=, process.pid);
    assert_serves (server, &fixture);
  }
  disk_server_end (server, 0);
  assert_nothing_left (directory);
}

/* Its last client disconnects. */
static void
test_exit_last (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_auto (Events) events = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();

  disk_fixture_make (&fixture, FALSE);
  DiskServerOptions options = options_for (&fixture, directory);
  options.exit_last = TRUE;
  g_autoptr (DiskServer) server = start (&options, &events);
  g_autofree char *uri = disk_server_uri (server, "disk1");
  nbd_client_assert (uri, fixture.disk1, FIXTURE_SMALL_BYTES);
  wait_for (&events.ended, 1);
  g_assert_cmpuint (events.again + events.waiting, ==, 0);
  assert_nothing_left (directory);
}

/* A client that stays does not keep the server from ending. */
static void
test_end_with_client (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();

  disk_fixture_make (&fixture, FALSE);
  DiskServerOptions options = options_for (&fixture, directory);
  DiskServer *server = start (&options, NULL);
  ProcessId process = disk_server_process (server);
  g_autofree char *uri = disk_server_uri (server, NULL);
  g_autoptr (NbdHandle) client = nbd_client_connect (uri);
  disk_server_end (server, 50);
  g_assert_false (process_id_alive (process));
}

static void
test_encrypted (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_auto (Events) events = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autoptr (GError) error = NULL;
  DiskServerWatch watch = { .func = note_event, .user_data = &events };

  disk_fixture_make (&fixture, TRUE);
  DiskServerOptions options = options_for (&fixture, directory);
  g_autoptr (DiskServer) first = start (&options, NULL);
  assert_serves (first, &fixture);
  ProcessId process = disk_server_process (first);
  g_clear_pointer (&first, disk_server_free);

  /* The next daemon has no key: what runs goes on, what dies waits for one. */
  DiskServer *second = disk_server_adopt (directory, NULL, &watch, &error);
  g_assert_no_error (error);
  g_assert_false (disk_server_needs_key (second));
  g_assert_true (process_id_signal (process, SIGKILL));
  wait_for (&events.waiting, 1);
  g_assert_true (disk_server_needs_key (second));
  disk_server_offer_key (second, fixture.key);
  wait_for (&events.again, 1);
  assert_serves (second, &fixture);
  disk_server_end (second, 0);
}

/* What goes wrong at once is said, and leaves nothing. */
static void
test_refused (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autoptr (GError) error = NULL;

  disk_fixture_make (&fixture, TRUE);
  DiskServerOptions options = options_for (&fixture, directory);
  options.key = NULL;
  g_assert_null (disk_server_start (&options, NULL, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "encrypted"));
  g_clear_error (&error);
  options = options_for (&fixture, directory);
  options.disk = "disk7";
  g_assert_null (disk_server_start (&options, NULL, &error));
  g_assert_nonnull (strstr (error->message, "has no disk disk7"));
  g_clear_error (&error);
  options = options_for (&fixture, directory);
  options.address = "not-an-address";
  g_assert_null (disk_server_start (&options, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  options = options_for (&fixture, directory);
  options.tls = "/nonexistent";
  g_assert_null (disk_server_start (&options, NULL, &error));
  g_assert_nonnull (strstr (error->message, "ca-cert.pem"));
  g_clear_error (&error);
  g_setenv ("VMCKPT_NBDKIT", "no-such-program", TRUE);
  g_assert_false (disk_server_check (&error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE);
  g_unsetenv ("VMCKPT_NBDKIT");
  assert_nothing_left (directory);
}

/* At an address, and with writes that are gone with the server. */
static void
test_writable (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  guint8 sector[512];

  disk_fixture_make (&fixture, FALSE);
  DiskServerOptions options = options_for (&fixture, directory);
  options.address = "127.0.0.1";
  options.disk = "disk1";
  options.temporary = directory;
  DiskServer *server = start (&options, NULL);
  g_assert_cmpuint (disk_server_port (server), >, 0);
  g_autofree char *uri = disk_server_uri (server, NULL);
  g_autoptr (NbdHandle) writer = nbd_client_connect (uri);
  memset (sector, 'w', sizeof sector);
  g_assert_cmpint (nbd_pwrite (writer, sector, sizeof sector, 4096, 0), ==, 0);
  g_autofree guint8 *wanted = g_memdup2 (fixture.disk1, FIXTURE_SMALL_BYTES);
  memcpy (wanted + 4096, sector, sizeof sector);
  nbd_client_assert (uri, wanted, FIXTURE_SMALL_BYTES);
  nbd_shutdown (writer, 0);
  disk_server_end (server, 1000);

  options.temporary = NULL;
  server = start (&options, NULL);
  g_autofree char *again = disk_server_uri (server, "disk1");
  nbd_client_assert (again, fixture.disk1, FIXTURE_SMALL_BYTES);
  disk_server_end (server, 1000);
}

/* ---- The daemon dies ---- */

/* Stands for a daemon: starts the server that the environment tells of, and goes without a word. */
static void
be_daemon (void)
{
  g_autoptr (GError) error = NULL;
  DiskServerOptions options = { .directory = g_getenv ("TEST_DIRECTORY"),
                                .store = g_getenv ("TEST_STORE"),
                                .checkpoint = g_getenv ("TEST_CHECKPOINT") };

  g_assert_nonnull (disk_server_start (&options, NULL, &error));
  kill (getpid(), SIGKILL);
}

static void
run_daemon (const DiskFixture *fixture, const char *directory, const char *fault)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (0);
  g_autoptr (GError) error = NULL;

  g_subprocess_launcher_setenv (launcher, "TEST_DIRECTORY", directory, TRUE);
  g_subprocess_launcher_setenv (launcher, "TEST_STORE", fixture->path, TRUE);
  g_subprocess_launcher_setenv (launcher, "TEST_CHECKPOINT", fixture->id, TRUE);
  if (fault != NULL)
    g_subprocess_launcher_setenv (launcher, "VMCKPT_FAULT", fault, TRUE);
  g_autoptr (GSubprocess) daemon =
      g_subprocess_launcher_spawn (launcher, &error, "/proc/self/exe", "be-daemon", NULL);
  g_assert_no_error (error);
  g_subprocess_wait (daemon, NULL, &error);
  g_assert_true (g_subprocess_get_if_signaled (daemon));
  g_assert_cmpint (g_subprocess_get_term_sig (daemon), ==, SIGKILL);
}

/* The server lives on, and the next daemon, whose child it is not, starts it again when it dies. */
static void
test_daemon_dies (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_auto (Events) events = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autoptr (GError) error = NULL;
  DiskServerWatch watch = { .func = note_event, .user_data = &events };

  disk_fixture_make (&fixture, FALSE);
  run_daemon (&fixture, directory, NULL);
  DiskServer *server = disk_server_adopt (directory, NULL, &watch, &error);
  g_assert_no_error (error);
  g_assert_true (process_id_alive (disk_server_process (server)));
  assert_serves (server, &fixture);
  g_assert_cmpuint (events.again, ==, 0);
  g_assert_true (process_id_signal (disk_server_process (server), SIGKILL));
  wait_for (&events.again, 1);
  assert_serves (server, &fixture);
  disk_server_end (server, 0);
}

/* It is killed while it starts one: what is left ends by itself, and what is recorded is started
 * by the next. */
static void
test_daemon_dies_at_points (void)
{
  g_auto (DiskFixture) fixture = { 0 };
  g_auto (Events) events = { 0 };
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autoptr (GError) error = NULL;
  DiskServerWatch watch = { .func = note_event, .user_data = &events };

  disk_fixture_make (&fixture, FALSE);
  run_daemon (&fixture, directory, "server-made");
  g_assert_null (disk_server_adopt (directory, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_clear_error (&error);

  run_daemon (&fixture, directory, "server-recorded");
  DiskServer *server = disk_server_adopt (directory, NULL, &watch, &error);
  g_assert_no_error (error);
  wait_for (&events.again, 1);
  assert_serves (server, &fixture);
  disk_server_end (server, 0);
  assert_nothing_left (directory);
}

int
main (int argc, char **argv)
{
  if (argc > 1 && g_str_equal (argv[1], "be-daemon"))
    be_daemon();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/disk/server/adopt", test_adopt);
  g_test_add_func ("/disk/server/killed", test_killed);
  g_test_add_func ("/disk/server/exit-last", test_exit_last);
  g_test_add_func ("/disk/server/end-with-client", test_end_with_client);
  g_test_add_func ("/disk/server/encrypted", test_encrypted);
  g_test_add_func ("/disk/server/refused", test_refused);
  g_test_add_func ("/disk/server/writable", test_writable);
  g_test_add_func ("/disk/server/daemon-dies", test_daemon_dies);
  g_test_add_func ("/disk/server/daemon-dies-at-points", test_daemon_dies_at_points);
  return g_test_run();
}
