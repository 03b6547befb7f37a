/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/fault.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NO_SPACE = 10, EXIT_OTHER_ERROR };

/*
 * Visits @point three times in a child with VMCKPT_FAULT=@plan, which is read once per process.
 * Returns the child's wait status: its exit code is the number of good visits before an error plus
 * 0 (no error), EXIT_NO_SPACE or EXIT_OTHER_ERROR.
 */
static int
visit_in_child (const char *plan, FaultPoint point)
{
  int status;
  pid_t pid = fork();

  if (pid == 0) {
    g_autoptr (GError) error = NULL;
    int good = 0;

    g_setenv ("VMCKPT_FAULT", plan, TRUE);
    while (good < 3 && fault_visit (point, &error))
      good++;
    if (error == NULL)
      _exit (good);
    _exit (good + (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE) ? EXIT_NO_SPACE
                                                                            : EXIT_OTHER_ERROR));
  }
  g_assert_cmpint (waitpid (pid, &status, WUNTRACED), ==, pid);
  if (WIFSTOPPED (status)) {
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
  }
  return status;
}

static void
test_every_point_kills (void)
{
  for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
    int status = visit_in_child (fault_point_name (i), i);
    g_assert_true (WIFSIGNALED (status));
    g_assert_cmpint (WTERMSIG (status), ==, SIGKILL);
  }
}

static void
test_actions (void)
{
  int status = visit_in_child ("stream-begun:stall", FAULT_STREAM_BEGUN);
  g_assert_true (WIFSTOPPED (status));
  g_assert_cmpint (WSTOPSIG (status), ==, SIGSTOP);

  status = visit_in_child ("object-written:enospc", FAULT_OBJECT_WRITTEN);
  g_assert_cmpint (WEXITSTATUS (status), ==, EXIT_NO_SPACE);
  status = visit_in_child ("object-written:eio", FAULT_OBJECT_WRITTEN);
  g_assert_cmpint (WEXITSTATUS (status), ==, EXIT_OTHER_ERROR);
}

/* Only the N-th visit of the armed point does it. */
static void
test_visits (void)
{
  int status = visit_in_child ("object-synced:enospc:3", FAULT_OBJECT_SYNCED);
  g_assert_cmpint (WEXITSTATUS (status), ==, 2 + EXIT_NO_SPACE);
  status = visit_in_child ("object-synced:kill:4", FAULT_OBJECT_SYNCED);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 3);
  status = visit_in_child ("object-synced", FAULT_OBJECT_NAMED);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 3);
}

/* A misspelt plan is an error at start: it would test nothing. */
static void
test_environment (void)
{
  static const char *const good[] = { "", "stream-begun", "gc-deleting:eio",
                                      "stream-ended:stall:2" };
  static const char *const bad[] = { "none",
                                     "stream",
                                     "stream-begun:",
                                     "stream-begun:boom",
                                     "stream-begun:kill:0",
                                     "stream-begun:kill:x" };

  g_unsetenv ("VMCKPT_FAULT");
  g_assert_true (fault_check_environment (NULL));
  for (gsize i = 0; i < G_N_ELEMENTS (good); i++) {
    g_setenv ("VMCKPT_FAULT", good[i], TRUE);
    g_assert_true (fault_check_environment (NULL));
  }
  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_setenv ("VMCKPT_FAULT", bad[i], TRUE);
    g_assert_false (fault_check_environment (&error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull (strstr (error->message, "with a known POINT"));
  }
  g_unsetenv ("VMCKPT_FAULT");
}

/* `--list-faults`: the points' names, for the tests that visit them all from outside. */
static int
list_faults (void)
{
  for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++)
    g_print ("%s\n", fault_point_name (i));
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc == 2 && g_str_equal (argv[1], "--list-faults"))
    return list_faults();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fault/every-point-kills", test_every_point_kills);
  g_test_add_func ("/fault/actions", test_actions);
  g_test_add_func ("/fault/visits", test_visits);
  g_test_add_func ("/fault/environment", test_environment);
  return g_test_run();
}
