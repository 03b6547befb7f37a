/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A helper runs once it is let go, never before, and its end can be waited for in any case. */
#include "pause-helper.h"

typedef struct {
  int runs; /* atomic */
  gboolean fails;
} Job;

static gboolean
run_job (gpointer user_data, GError **error)
{
  Job *job = user_data;

  g_atomic_int_inc (&job->runs);
  if (job->fails)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "no room");
  return !job->fails;
}

static void
test_runs_once (void)
{
  g_autoptr (GError) error = NULL;
  Job job = { 0 };
  g_autoptr (PauseHelper) helper = pause_helper_new (run_job, &job);

  g_assert_cmpint (g_atomic_int_get (&job.runs), ==, 0);
  pause_helper_go (helper);
  g_assert_true (pause_helper_wait (helper, &error));
  pause_helper_go (helper); /* is through */
  g_assert_true (pause_helper_wait (helper, &error));
  g_assert_no_error (error);
  g_assert_cmpint (job.runs, ==, 1);
}

static void
test_fails (void)
{
  g_autoptr (GError) error = NULL;
  Job job = { .fails = TRUE };
  g_autoptr (PauseHelper) helper = pause_helper_new (run_job, &job);

  pause_helper_go (helper);
  g_assert_false (pause_helper_wait (helper, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
}

static void
test_never_let_go (void)
{
  g_autoptr (GError) error = NULL;
  Job job = { .fails = TRUE };
  PauseHelper *helper = pause_helper_new (run_job, &job);

  g_assert_true (pause_helper_wait (helper, &error));
  pause_helper_free (helper);
  g_assert_cmpint (job.runs, ==, 0);
}

/* Freed without a wait: what it works on is needed until then. */
static void
test_freed_while_it_runs (void)
{
  for (guint i = 0; i < 50; i++) {
    Job job = { .fails = TRUE };
    PauseHelper *helper = pause_helper_new (run_job, &job);
    pause_helper_go (helper);
    pause_helper_free (helper);
    g_assert_cmpint (job.runs, ==, 1);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pause-helper/runs-once", test_runs_once);
  g_test_add_func ("/pause-helper/fails", test_fails);
  g_test_add_func ("/pause-helper/never-let-go", test_never_let_go);
  g_test_add_func ("/pause-helper/freed-while-it-runs", test_freed_while_it_runs);
  return g_test_run();
}
