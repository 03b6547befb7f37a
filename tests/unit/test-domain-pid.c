/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which process is taken for a domain's QEMU: the one of that UUID, and none where any of several
 * could be it. */
#include "domain-pid.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef struct {
  char *top, *uuid;
} Place;

static void
set_up (Place *place, gconstpointer data)
{
  place->top = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  place->uuid = g_uuid_string_random();
}

static void
tear_down (Place *place, gconstpointer data)
{
  g_assert_no_errno (g_rmdir (place->top)); /* nothing was left */
  g_free (place->top);
  g_free (place->uuid);
}

/* A process with such arguments, that waits. @input: (out): it ends when this is closed */
static ChildProcess
start (const char *option, const char *value, AutoFd *input)
{
  const char *argv[] = { "sh", "-c", "read end", "-name", "guest=d", option, value, NULL };
  g_autoptr (GError) error = NULL;
  ChildProcess child = CHILD_PROCESS_NONE;
  int fd;

  g_spawn_async_with_pipes (NULL, (char **)argv, NULL,
                            G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &child.pid,
                            &fd, NULL, NULL, &error);
  g_assert_no_error (error);
  *input = fd;
  return child;
}

static void
test_the_one_of_that_uuid (Place *place, gconstpointer data)
{
  g_autofree char *upper = g_ascii_strup (place->uuid, -1);
  g_autofree char *longer = g_strconcat (place->uuid, "0", NULL);
  g_auto (AutoFd) other_input = -1;
  g_auto (AutoFd) input = -1;

  g_assert_cmpint (domain_pid_find ("d", place->uuid, NULL).pid, ==, 0);
  g_auto (ChildProcess) longer_uuid = start ("-uuid", longer, &other_input);
  fd_close (&other_input);
  g_auto (ChildProcess) no_uuid = start ("-id", place->uuid, &other_input);
  g_auto (ChildProcess) at_the_end = start (place->uuid, "-uuid", &input);
  g_assert_cmpint (domain_pid_find ("d", place->uuid, NULL).pid, ==, 0);
  fd_close (&input);
  g_auto (ChildProcess) child = start ("-uuid", upper, &input);
  ProcessId found = domain_pid_find ("d", place->uuid, NULL);
  g_assert_cmpint (found.pid, ==, child.pid);
  g_assert_true (process_id_alive (found));
  child_process_end (&child);
  g_assert_cmpint (domain_pid_find ("d", place->uuid, NULL).pid, ==, 0);
}

/* A process that sees @root as "/"; pid 0, and the test is skipped, where that may not be made. */
static ChildProcess
start_manager (const char *root)
{
  ChildProcess child = CHILD_PROCESS_NONE;
  int ready[2];
  char done = 0;

  g_assert_no_errno (pipe (ready));
  child.pid = fork();
  g_assert_no_errno (child.pid);
  if (child.pid == 0) {
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (chroot (root) < 0 && (unshare (CLONE_NEWUSER) < 0 || chroot (root) < 0))
      _exit (1);
    if (write (ready[1], "+", 1) == 1)
      pause();
    _exit (1);
  }
  close (ready[1]);
  if (read (ready[0], &done, 1) != 1) {
    child_process_end (&child);
    g_test_skip ("no process may have another root here");
  }
  close (ready[0]);
  return child;
}

/* Two libvirts of one machine, in the middle of a migration: the record of the one decides. */
static void
test_of_two_the_recorded (Place *place, gconstpointer data)
{
  g_autofree char *run = g_build_filename (place->top, "run", NULL);
  g_autofree char *libvirt = g_build_filename (run, "libvirt", NULL);
  g_autofree char *qemu = g_build_filename (libvirt, "qemu", NULL);
  g_autofree char *record = g_build_filename (qemu, "d.pid", NULL);
  char *const made[] = { record, qemu, libvirt, run };
  g_auto (AutoFd) input = -1;
  g_auto (AutoFd) other_input = -1;
  g_auto (ChildProcess) one = start ("-uuid", place->uuid, &input);
  g_auto (ChildProcess) two = start ("-uuid", place->uuid, &other_input);
  g_auto (ChildProcess) child = start_manager (place->top);
  const pid_t recorded[] = { one.pid, two.pid, getpid(), 0 };
  ProcessId manager = process_id_of (child.pid);

  if (child.pid == 0)
    return;
  g_assert_cmpint (domain_pid_find ("d", place->uuid, NULL).pid, ==, 0);
  g_assert_cmpint (domain_pid_find ("d", place->uuid, &manager).pid, ==, 0); /* no record */
  g_assert_no_errno (g_mkdir_with_parents (qemu, 0755));
  for (guint i = 0; i < G_N_ELEMENTS (recorded); i++) {
    g_autofree char *text = g_strdup_printf ("%d\n", (int)recorded[i]);
    g_assert_true (g_file_set_contents (record, text, -1, NULL));
    g_assert_cmpint (domain_pid_find ("d", place->uuid, &manager).pid, ==, i < 2 ? recorded[i] : 0);
    g_assert_cmpint (domain_pid_find ("e", place->uuid, &manager).pid, ==, 0);
    g_assert_cmpint (domain_pid_find ("../qemu/d", place->uuid, &manager).pid, ==, 0);
  }
  for (guint i = 0; i < G_N_ELEMENTS (made); i++)
    g_assert_no_errno (g_remove (made[i]));
}

static void
test_listener (Place *place, gconstpointer data)
{
  g_autofree char *path = g_build_filename (place->top, "s", NULL);
  g_autofree char *long_name = g_strnfill (200, 'x');
  g_autofree char *too_long = g_build_filename (place->top, long_name, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (domain_pid_of_listener (path).pid, ==, 0);
  g_assert_cmpint (domain_pid_of_listener (too_long).pid, ==, 0);
  g_auto (AutoFd) listener = fd_listen_unix (path, &error);
  g_assert_no_error (error);
  ProcessId found = domain_pid_of_listener (path);
  g_assert_cmpint (found.pid, ==, getpid());
  g_assert_true (process_id_alive (found));
  fd_close (&listener);
  g_assert_cmpint (domain_pid_of_listener (path).pid, ==, 0);
  g_assert_no_errno (g_unlink (path));
}

static void
test_sockets_of_uris (Place *place, gconstpointer data)
{
  static const struct {
    const char *uri, *socket;
  } cases[] = {
    { "qemu:///system?socket=/run/s", "/run/s" },
    { "qemu:///system?mode=legacy&socket=/run/a%20b", "/run/a b" },
    { "qemu+unix:///system?socket=/run/s", "/run/s" },
    { "qemu:///session?socket=/run/s", "/run/s" },
    { "qemu+ssh://host/system", NULL },
    { "qemu+ssh://host/system?socket=/run/s", NULL },
    { "qemu", NULL },
    { "", NULL },
  };
  g_autofree char *session = domain_pid_socket_of_uri ("qemu:///session");
  g_autofree char *system = domain_pid_socket_of_uri ("qemu:///system?");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *socket = domain_pid_socket_of_uri (cases[i].uri);
    g_assert_cmpstr (socket, ==, cases[i].socket);
  }
  g_assert_true (g_str_has_prefix (session, g_get_user_runtime_dir()));
  g_assert_true (g_str_has_prefix (system, "/run/libvirt/"));
}

/* What was passed to a domain tells its QEMU from others. */
static void
test_has_open (Place *place, gconstpointer data)
{
  ProcessId self = process_id_of (getpid());
  ProcessId earlier = { self.pid, self.start_ticks - 1 };
  g_auto (AutoFd) child_input = -1;
  g_auto (ChildProcess) child = start ("-uuid", place->uuid, &child_input);
  int passed[2];

  g_assert_no_errno (pipe2 (passed, O_CLOEXEC));
  g_assert_true (domain_pid_has_open (self, passed[0]));
  g_assert_false (domain_pid_has_open (earlier, passed[0]));
  g_assert_true (domain_pid_has_open (process_id_of (child.pid), child_input));
  g_assert_false (domain_pid_has_open (process_id_of (child.pid), passed[0]));
  g_assert_false (domain_pid_has_open (self, -1));
  g_assert_false (domain_pid_has_open ((ProcessId){ 0 }, passed[0]));
  close (passed[0]);
  close (passed[1]);
}

#define ADD(name, func) g_test_add ("/domain-pid/" name, Place, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("uuid", test_the_one_of_that_uuid);
  ADD ("recorded", test_of_two_the_recorded);
  ADD ("listener", test_listener);
  ADD ("sockets", test_sockets_of_uris);
  ADD ("has-open", test_has_open);
  return g_test_run();
}
