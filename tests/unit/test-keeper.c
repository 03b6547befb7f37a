/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting keepers, what they record, and the rules of leases. */
#include "tiny-guest.h"

#include "protocol.h"
#include "state.h"

#include <vmckpt/qmp/commands.h>

#include <fcntl.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void
start (TinyGuest *guest)
{
  tiny_guest_init (guest);
  tiny_guest_start (guest, TRUE);
}

/* A program that cannot be run, one that ends at once, and one that never opens its sockets: each
 * is an error, and the last is killed. */
static void
test_start_fails (void)
{
  static const char *const no_program[] = { "/no/such/program", NULL };
  static const char *const quits[] = { "/bin/sh", "-c", "echo some words >&2; exit 3", NULL };
  static const char *const sleeps[] = { "/bin/sh", "-c", "echo $$ > pid; exec sleep 1000", NULL };
  g_autoptr (GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  g_autofree char *pid_file = g_build_filename (directory, "pid", NULL);
  g_autofree char *pid = NULL;

  KeeperLaunch launch = { .argv = no_program, .timeout_ms = 10000 };
  g_assert_null (keeper_start (directory, &launch, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_START);
  g_assert_nonnull (strstr (error->message, "/no/such/program: No such file"));
  g_clear_error (&error);
  launch.argv = quits;
  g_assert_null (keeper_start (directory, &launch, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_START);
  g_assert_nonnull (strstr (error->message, "failed with status 3"));
  g_assert_nonnull (strstr (error->message, "some words"));
  g_clear_error (&error);
  launch = (KeeperLaunch){ .argv = sleeps, .timeout_ms = 500 };
  g_assert_null (keeper_start (directory, &launch, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_START);
  g_assert_nonnull (strstr (error->message, "in time"));
  g_assert_true (g_file_get_contents (pid_file, &pid, NULL, NULL));
  g_assert_false (process_id_alive (process_id_of (atoi (pid))));

  g_clear_error (&error);
  g_assert_null (keeper_attach (directory, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_GONE);
  g_unlink (pid_file);
  qemu_remove_directory (directory);
  g_assert_false (g_file_test (directory, G_FILE_TEST_EXISTS));
}

/* Starts a keeper, with @option, that reports to a pipe. Returns the reading end. */
static int
start_by_hand (TinyGuest *guest, const char *option, gint64 *pid)
{
  const QemuLaunch launch = { .incoming = option != NULL };
  g_auto (GStrv) qemu = qemu_command_line (guest->spec, guest->directory, &launch);
  g_autofree char *in = g_strconcat ("--directory=", guest->directory, NULL);
  const char *args[128] = { g_getenv ("VMCKPT_KEEPER"), in, "--report-fd=3" };
  g_autoptr (GError) error = NULL;
  guint n = 3;
  int pipe_fds[2], report = 3;
  GPid child;

  if (option != NULL)
    args[n++] = option;
  args[n++] = "--";
  for (guint i = 0; qemu[i] != NULL && n < G_N_ELEMENTS (args) - 1; i++)
    args[n++] = qemu[i];
  g_assert_no_errno (g_mkdir (guest->directory, 0700));
  g_assert_true (g_unix_open_pipe (pipe_fds, FD_CLOEXEC, &error));
  g_spawn_async_with_pipes_and_fds (NULL, args, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1, -1,
                                    -1, &pipe_fds[1], &report, 1, &child, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  close (pipe_fds[1]);
  *pid = child;
  return pipe_fds[0];
}

/* Whoever starts a guest dies before all is up, or one that waits for a stream, before it has its
 * lease: nobody knows of that QEMU, so it goes. One that can run stays. */
static void
test_starter_dies (void)
{
  static const struct {
    const char *option;
    gboolean before, lives;
  } cases[] = { { NULL, TRUE, FALSE }, { NULL, FALSE, TRUE }, { "--incoming", FALSE, FALSE } };

  if (skip_without_qemu())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_auto (TinyGuest) guest = TINY_GUEST_NONE;
    KeeperState state;
    char said[2];
    gint64 pid;
    int status;

    tiny_guest_init (&guest);
    g_auto (AutoFd) report = start_by_hand (&guest, cases[i].option, &pid);
    if (!cases[i].before)
      g_assert_cmpint (read (report, said, sizeof said), ==, 2);
    fd_close (&report);
    if (cases[i].lives) {
      Keeper *keeper = keeper_attach (guest.directory, NULL);
      g_assert_nonnull (keeper);
      g_assert_true (process_id_signal (keeper_qemu (keeper), SIGKILL));
      keeper_free (keeper);
    }
    /* A keeper ends with its QEMU. */
    g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
    g_assert_true (keeper_read_state (guest.directory, &state, NULL));
    g_assert_false (process_id_alive (state.qemu));
  }
}

/* Where fewer files may be open than the numbers that QEMU's descriptors have, it says so. */
static void
test_few_open_files (void)
{
  static const char *const quits[] = { "/bin/true", NULL };
  g_autoptr (GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  KeeperLaunch launch = { .argv = quits, .timeout_ms = 10000, .n_fds = 1 };
  struct rlimit before, few;

  launch.fds[0] = (KeeperFd){ STDIN_FILENO, GUEST_FD_UFFD_SYNC };
  g_assert_no_errno (getrlimit (RLIMIT_NOFILE, &before));
  few = before;
  few.rlim_cur = GUEST_FD_UFFD_SYNC;
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &few));
  g_assert_null (keeper_start (directory, &launch, &error));
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &before));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_START);
  g_assert_nonnull (strstr (error->message, "ulimit -n"));
  g_assert_no_errno (rmdir (directory));
}

/* TRUE if @pid has @path open. */
static gboolean
has_open (pid_t pid, const char *path)
{
  g_autofree char *name = g_strdup_printf ("/proc/%d/fd", (int)pid);
  g_autoptr (GDir) dir = g_dir_open (name, 0, NULL);
  const char *entry;

  g_assert_nonnull (dir);
  while ((entry = g_dir_read_name (dir)) != NULL) {
    g_autofree char *link = g_build_filename (name, entry, NULL);
    g_autofree char *target = g_file_read_link (link, NULL);
    if (g_strcmp0 (target, path) == 0)
      return TRUE;
  }
  return FALSE;
}

/* Keeper and QEMU have nothing of whoever started them: no session, no descriptor, not even one
 * that was left open for every child. */
static void
test_detached (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_autofree char *marker = g_build_filename (guest.parent, "marker", NULL);
  g_auto (AutoFd) inheritable = open (marker, O_RDWR | O_CREAT, 0600);
  g_assert_cmpint (inheritable, >, 2);
  tiny_guest_start (&guest, FALSE);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_true (has_open (getpid(), marker));
  g_assert_false (has_open (state.keeper.pid, marker));
  g_assert_false (has_open (state.qemu.pid, marker));
  g_assert_cmpint (getsid (state.keeper.pid), ==, state.keeper.pid);
  g_assert_cmpint (getsid (state.qemu.pid), ==, state.keeper.pid);
  g_unlink (marker);
}

static gboolean
on_gone (gpointer user_data)
{
  g_main_loop_quit (user_data);
  return G_SOURCE_REMOVE;
}

/* The keeper goes right after its QEMU, and has recorded how that ended. */
static void
test_exit (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  start (&guest);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_false (state.exited);
  g_assert_false (state.leased);
  g_assert_cmpint (state.qemu.pid, ==, keeper_qemu (guest.qemu.keeper).pid);
  g_assert_true (process_id_alive (state.keeper));
  keeper_watch (guest.qemu.keeper, on_gone, loop, NULL);
  g_assert_true (process_id_signal (state.qemu, SIGKILL));
  g_main_loop_run (loop);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_true (state.exited);
  g_assert_cmpint (state.exited_us, >, G_GINT64_CONSTANT (1600000000) * G_USEC_PER_SEC);
  g_autofree char *how = keeper_state_describe (&state);
  g_assert_cmpstr (how, ==, "killed by signal 9");
}

/* One lease at a time; who waits for its end gets one; an ended lease has no consequences. */
static void
test_leases (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  start (&guest);
  KeeperLease *first = keeper_lease_restore (guest.qemu.keeper, &error);
  g_assert_no_error (error);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_true (state.leased);
  g_assert_null (keeper_lease_checkpoint (guest.qemu.keeper, -1, TRUE, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_BUSY);
  g_clear_error (&error);
  g_assert_true (keeper_lease_end (first, &error));
  g_assert_true (keeper_lease_end (first, &error));
  keeper_lease_free (first);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_false (state.leased);

  /* A broken lease whose guest is to stay paused leaves it paused. */
  qmp_stop (guest.qemu.monitor, &error);
  keeper_lease_free (keeper_lease_checkpoint (guest.qemu.keeper, -1, FALSE, &error));
  g_assert_no_error (error);
  g_autoptr (KeeperLease) last = keeper_lease_checkpoint (guest.qemu.keeper, -1, TRUE, &error);
  g_assert_no_error (error);
  g_autofree char *status = qmp_query_status (guest.qemu.monitor, &error);
  g_assert_cmpstr (status, ==, "paused");
  /* And one whose guest ran before makes it run. */
  g_clear_pointer (&last, keeper_lease_free);
  tiny_guest_wait_output (&guest, 1000);
}

/* A raw connection to the keeper of @guest. */
static int
connect_raw (TinyGuest *guest)
{
  g_autofree char *path = tiny_guest_file (guest, GUEST_FILE_KEEPER);
  g_autoptr (GError) error = NULL;
  int fd = fd_connect_unix (path, &error);

  g_assert_no_error (error);
  return fd;
}

/* Whatever comes over its socket, the keeper goes on, and so does its guest. */
static void
test_nonsense (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  KeeperMessage request = keeper_message (KEEPER_END), answer;
  char noise[1000];

  if (skip_without_qemu())
    return;
  start (&guest);
  {
    g_auto (AutoFd) fd = connect_raw (&guest);
    g_assert_true (keeper_exchange (fd, &request, -1, 10000, &answer, &error));
    g_assert_cmpuint (answer.status, ==, KEEPER_REFUSED);
  }
  {
    /* Another version is told which one is spoken here. */
    g_auto (AutoFd) fd = connect_raw (&guest);
    request.version++;
    g_assert_false (keeper_exchange (fd, &request, -1, 10000, &answer, &error));
    g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_PROTOCOL);
    g_clear_error (&error);
  }
  {
    g_auto (AutoFd) fd = connect_raw (&guest);
    memset (noise, 'n', sizeof noise);
    g_assert_true (fd_send (fd, noise, sizeof noise, fd, &error));
  }
  {
    /* Half a request, and gone. */
    g_auto (AutoFd) fd = connect_raw (&guest);
    g_assert_true (fd_send (fd, &request, 7, fd, &error));
  }
  g_autoptr (Keeper) again = keeper_attach (guest.directory, &error);
  g_assert_no_error (error);
  tiny_guest_wait_output (&guest, 1000);
}

/* What is typed into the console reaches the guest, which prints it. */
static void
test_console (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL;
  char buf[4096];
  gboolean echoed = FALSE;

  if (skip_without_qemu())
    return;
  start (&guest);
  path = tiny_guest_file (&guest, GUEST_FILE_CONSOLE);
  g_auto (AutoFd) fd = fd_connect_unix (path, &error);
  g_assert_no_error (error);
  g_assert_true (fd_write_full (fd, "Z", 1, &error));
  while (!echoed) {
    gssize n = fd_read_full (fd, buf, sizeof buf, &error);
    g_assert_cmpint (n, ==, sizeof buf);
    echoed = memchr (buf, 'Z', n) != NULL;
  }
}

/* keeper.json of another boot says that all is gone; one that is damaged is an error. */
static void
test_state (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_STATE, NULL);
  KeeperRecord record = { .public = { .keeper = process_id_of (getpid()),
                                      .qemu = process_id_of (getpid()),
                                      .wait_status = -1 },
                          .lease = LEASE_CHECKPOINT_RESUME };
  KeeperRecord back;
  g_autofree char *text = NULL;

  g_assert_true (keeper_record_write (directory, &record, &error));
  g_assert_true (keeper_record_read (directory, &back, &error));
  g_assert_cmpint (back.lease, ==, LEASE_CHECKPOINT_RESUME);
  g_assert_true (back.public.leased);
  g_assert_true (process_id_alive (back.public.qemu));
  g_autofree char *running = keeper_state_describe (&back.public);
  g_assert_cmpstr (running, ==, "running");

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_autofree char *boot = process_boot_id();
  memcpy (strstr (text, boot), "00000000", 8);
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  g_assert_true (keeper_record_read (directory, &back, &error));
  g_assert_false (process_id_alive (back.public.qemu));
  g_assert_true (back.public.exited);

  g_assert_true (g_file_set_contents (path, "{\"version\":1}", -1, NULL));
  g_assert_false (keeper_record_read (directory, &back, &error));
  g_assert_nonnull (strstr (error->message, "keeper.json"));
  g_clear_error (&error);
  g_assert_true (g_file_set_contents (path, "{\"version\":2}", -1, NULL));
  g_assert_false (keeper_record_read (directory, &back, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_PROTOCOL);
  g_unlink (path);
  g_rmdir (directory);
}

static void
test_describe (void)
{
  static const struct {
    int wait_status;
    const char *text;
  } cases[] = {
    { 0, "powered off" },
    { 1 << 8, "failed with status 1" },
    { SIGKILL, "killed by signal 9" },
    { -1, "gone, no one saw how it ended" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    KeeperState state = { .exited = TRUE, .wait_status = cases[i].wait_status };
    g_autofree char *text = keeper_state_describe (&state);
    g_assert_cmpstr (text, ==, cases[i].text);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/keeper/state", test_state);
  g_test_add_func ("/keeper/describe", test_describe);
  g_test_add_func ("/keeper/start-fails", test_start_fails);
  g_test_add_func ("/keeper/starter-dies", test_starter_dies);
  g_test_add_func ("/keeper/few-open-files", test_few_open_files);
  g_test_add_func ("/keeper/detached", test_detached);
  g_test_add_func ("/keeper/exit", test_exit);
  g_test_add_func ("/keeper/leases", test_leases);
  g_test_add_func ("/keeper/nonsense", test_nonsense);
  g_test_add_func ("/keeper/console", test_console);
  return g_test_run();
}
