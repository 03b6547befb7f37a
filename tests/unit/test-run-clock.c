/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/run-clock.h>

static void
test_pause_is_from_stop_to_resume (void)
{
  g_autoptr (RunClock) clock = run_clock_new();

  run_clock_event (clock, "STOP", 1000);
  run_clock_event (clock, "RESUME", 2500);
  RunClockReading reading = run_clock_read (clock);
  g_assert_cmpint (reading.paused_us, ==, 1500);
  g_assert_cmpint (reading.stopped_us, ==, 1000);
  g_assert_cmpint (reading.resumed_us, ==, 2500);
}

static void
test_two_pauses_add_up_and_keep_the_first_instant (void)
{
  g_autoptr (RunClock) clock = run_clock_new();

  run_clock_event (clock, "STOP", 1000);
  run_clock_event (clock, "RESUME", 1100);
  run_clock_event (clock, "STOP", 5000);
  run_clock_event (clock, "RESUME", 5010);
  RunClockReading reading = run_clock_read (clock);
  g_assert_cmpuint (reading.stops, ==, 2);
  g_assert_cmpuint (reading.resumes, ==, 2);
  g_assert_cmpint (reading.paused_us, ==, 110);
  g_assert_cmpint (reading.stopped_us, ==, 1000);
}

static void
test_mark_forgets_and_other_events_do_not_count (void)
{
  g_autoptr (RunClock) clock = run_clock_new();

  run_clock_event (clock, "STOP", 1000);
  run_clock_mark (clock);
  run_clock_event (clock, "RESUME", 9000); /* its STOP was before the mark */
  run_clock_event (clock, "SHUTDOWN", 9100);
  RunClockReading reading = run_clock_read (clock);
  g_assert_cmpuint (reading.stops, ==, 0);
  g_assert_cmpint (reading.paused_us, ==, 0);
}

static void
test_a_clock_set_back_gives_no_negative_pause (void)
{
  g_autoptr (RunClock) clock = run_clock_new();

  run_clock_event (clock, "STOP", 5000);
  run_clock_event (clock, "RESUME", 4000);
  g_assert_cmpint (run_clock_read (clock).paused_us, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/run-clock/pause", test_pause_is_from_stop_to_resume);
  g_test_add_func ("/run-clock/two-pauses", test_two_pauses_add_up_and_keep_the_first_instant);
  g_test_add_func ("/run-clock/mark", test_mark_forgets_and_other_events_do_not_count);
  g_test_add_func ("/run-clock/clock-set-back", test_a_clock_set_back_gives_no_negative_pause);
  return g_test_run();
}
