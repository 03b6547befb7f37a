/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/process.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that does nothing until it is killed; the program does not outlive the test. */
static pid_t
start_idle_child (void)
{
  pid_t pid = fork();

  if (pid == 0) {
    alarm (60);
    for (;;)
      pause();
  }
  g_assert_cmpint (pid, >, 0);
  return pid;
}

static void
test_self (void)
{
  ProcessId self = process_id_of (getpid());

  g_assert_cmpint (self.pid, ==, getpid());
  g_assert_cmpuint (self.start_ticks, !=, 0);
  g_assert_true (process_id_alive (self));
  /* Signal 0 asks only whether it could be sent. */
  g_assert_true (process_id_signal (self, 0));
}

static void
test_nobody (void)
{
  static const pid_t nobody[] = { 0, -1, G_MAXINT };

  for (gsize i = 0; i < G_N_ELEMENTS (nobody); i++) {
    ProcessId id = process_id_of (nobody[i]);
    g_assert_cmpuint (id.start_ticks, ==, 0);
    g_assert_false (process_id_alive (id));
    g_assert_false (process_id_signal (id, 0));
    g_assert_true (process_id_wait_gone (id, 0));
  }
}

/* The same pid with another start time is somebody else. */
static void
test_recycled_pid (void)
{
  g_auto (ChildProcess) child = { start_idle_child() };
  ProcessId id = process_id_of (child.pid), former = id;

  former.start_ticks--;
  g_assert_false (process_id_alive (former));
  g_assert_false (process_id_signal (former, SIGKILL));
  g_assert_true (process_id_wait_gone (former, 0));
  g_assert_true (process_id_alive (id));
}

static void
test_zombie_is_gone (void)
{
  g_auto (ChildProcess) child = { start_idle_child() };
  ProcessId id = process_id_of (child.pid);

  g_assert_false (process_id_wait_gone (id, 10));
  g_assert_true (process_id_signal (id, SIGKILL));
  /* Nobody has reaped it yet. */
  g_assert_true (process_id_wait_gone (id, 30000));
  g_assert_false (process_id_alive (id));
}

static void
test_guard_kills_and_reaps (void)
{
  ProcessId id;
  {
    g_auto (ChildProcess) child = { start_idle_child() };
    id = process_id_of (child.pid);
    g_assert_true (process_id_alive (id));
  }
  g_assert_false (process_id_alive (id));
  g_assert_cmpint (waitpid (id.pid, NULL, WNOHANG), ==, -1);
}

static void
test_release (void)
{
  g_auto (ChildProcess) child = { start_idle_child() };
  ProcessId id = process_id_of (child.pid);
  ChildProcess owner = { child_process_release (&child) };

  g_assert_cmpint (child.pid, ==, 0);
  child_process_end (&child);
  g_assert_true (process_id_alive (id));
  child_process_end (&owner);
  child_process_end (&owner);
  g_assert_false (process_id_alive (id));
}

static void
test_boot_id (void)
{
  g_autofree char *first = process_boot_id();
  g_autofree char *second = process_boot_id();

  g_assert_cmpstr (first, ==, second);
  g_assert_true (g_uuid_string_is_valid (first));
}

/* The same each time, and not what /etc/machine-id says: that is nobody else's business. */
static void
test_machine_id (void)
{
  g_autofree char *one = process_machine_id();
  g_autofree char *other = process_machine_id();
  g_autofree char *raw = NULL;

  g_assert_cmpstr (one, ==, other);
  if (one[0] == 0) {
    g_test_skip ("there is no machine id here");
    return;
  }
  g_assert_cmpuint (strspn (one, "0123456789abcdef"), ==, 32);
  g_assert_cmpuint (strlen (one), ==, 32);
  g_assert_true (g_file_get_contents ("/etc/machine-id", &raw, NULL, NULL));
  g_assert_null (strstr (raw, one));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/process/self", test_self);
  g_test_add_func ("/process/nobody", test_nobody);
  g_test_add_func ("/process/recycled-pid", test_recycled_pid);
  g_test_add_func ("/process/zombie-is-gone", test_zombie_is_gone);
  g_test_add_func ("/process/guard-kills-and-reaps", test_guard_kills_and_reaps);
  g_test_add_func ("/process/release", test_release);
  g_test_add_func ("/process/boot-id", test_boot_id);
  g_test_add_func ("/process/machine-id", test_machine_id);
  return g_test_run();
}
