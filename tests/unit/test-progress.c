/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/progress.h>

typedef struct {
  guint calls;
  Phase phase;
  guint64 done, total;
} Seen;

static void
note (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Seen *seen = user_data;

  seen->calls++;
  seen->phase = phase;
  seen->done = done;
  seen->total = total;
}

static void
test_report_reaches_the_receiver (void)
{
  Seen seen = { 0 };
  Progress progress = { note, &seen };

  progress_report (&progress, PHASE_STORE, 3, 7);
  g_assert_cmpuint (seen.calls, ==, 1);
  g_assert_cmpint (seen.phase, ==, PHASE_STORE);
  g_assert_cmpuint (seen.done, ==, 3);
  g_assert_cmpuint (seen.total, ==, 7);
}

static void
test_nobody_may_listen (void)
{
  Progress deaf = { NULL, NULL };

  progress_report (NULL, PHASE_STORE, 1, 2);
  progress_report (&deaf, PHASE_STORE, 1, 2);
}

/* The names are part of the API's status lines: all there, all different. */
static void
test_phase_names (void)
{
  static const char *const names[PHASE_COUNT] = { "prepare", "stop",   "capture", "disks", "resume",
                                                  "store",   "commit", "rebuild", "read" };

  for (int i = 0; i < PHASE_COUNT; i++)
    g_assert_cmpstr (phase_name (i), ==, names[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/progress/report-reaches-the-receiver", test_report_reaches_the_receiver);
  g_test_add_func ("/progress/nobody-may-listen", test_nobody_may_listen);
  g_test_add_func ("/progress/phase-names", test_phase_names);
  return g_test_run();
}
