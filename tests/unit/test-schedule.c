/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/policy/schedule.h>

#define S ((gint64)G_USEC_PER_SEC)

static void
test_parse (void)
{
  static const struct {
    const char *text;
    gint64 us; /* 0: refused */
  } cases[] = {
    { "1s", S },
    { "500ms", S / 2 },
    { "10min", 600 * S },
    { "2h", 7200 * S },
    { "1d", 86400 * S },
    { "366d", SCHEDULE_TIME_MAX_US },
    { "367d", 0 },
    { "0s", 0 },
    { "", 0 },
    { "s", 0 },
    { "5", 0 },
    { "5m", 0 },
    { "1.5s", 0 },
    { "-1s", 0 },
    { " 1s", 0 },
    { "1s ", 0 },
    { "1h30min", 0 },
    { "18446744073709551616s", 0 },
    { "99999999999999999999ms", 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    gint64 us = 0;
    gboolean good = schedule_parse_time (cases[i].text, &us, &error);
    g_assert_cmpint (us, ==, cases[i].us);
    g_assert_true (good == (cases[i].us > 0));
    if (!good)
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  }
}

/* Runs @schedule, each piece of work taking @takes_us; the times at which they began. */
static GArray *
run (const Schedule *schedule, ScheduleState *state, gint64 takes_us, guint most)
{
  GArray *begun = g_array_new (FALSE, FALSE, sizeof (gint64));
  gint64 now = 0, due;

  *state = (ScheduleState){ 0 };
  while (begun->len < most && schedule_next (schedule, state, now, &due)) {
    now = MAX (now, due);
    g_array_append_val (begun, now);
    now += takes_us;
  }
  return begun;
}

#define AT(times, i) g_array_index (times, gint64, i)

/* Each at its time, none at the end. */
static void
test_in_time (void)
{
  const Schedule schedule = { .every_us = S, .for_us = 60 * S };
  ScheduleState state;
  g_autoptr (GArray) begun = run (&schedule, &state, S / 10, 1000);

  g_assert_cmpuint (begun->len, ==, 60);
  for (guint i = 0; i < begun->len; i++)
    g_assert_cmpint (AT (begun, i), ==, i * S);
  g_assert_cmpuint (state.begun, ==, 60);
  g_assert_cmpuint (state.missed, ==, 0);
}

/* Work that takes longer than the time between: what has passed is missed, the times stay. */
static void
test_missed (void)
{
  const Schedule schedule = { .every_us = S, .for_us = 10 * S };
  ScheduleState state;
  g_autoptr (GArray) begun = run (&schedule, &state, 2 * S + S / 2, 1000);

  g_assert_cmpuint (begun->len, ==, 4); /* at 0, 3, 6 and 9 */
  for (guint i = 0; i < begun->len; i++)
    g_assert_cmpint (AT (begun, i), ==, 3 * i * S);
  g_assert_cmpuint (state.missed, ==, 6);
  g_assert_cmpuint (state.begun + state.missed, ==, 10);
}

/* Work that ends just when it is time again is in time. */
static void
test_just_in_time (void)
{
  const Schedule schedule = { .every_us = S, .count = 5 };
  ScheduleState state;
  g_autoptr (GArray) begun = run (&schedule, &state, S, 1000);

  g_assert_cmpuint (begun->len, ==, 5);
  g_assert_cmpint (AT (begun, 4), ==, 4 * S);
  g_assert_cmpuint (state.missed, ==, 0);
}

/* The first of a few is past the end of all: nothing more is begun, and what would have come after
 * the end is not missed. */
static void
test_end (void)
{
  const Schedule schedule = { .every_us = S, .for_us = 3 * S + S / 2 };
  const Schedule both = { .every_us = S, .for_us = 60 * S, .count = 3 };
  const Schedule endless = { .every_us = SCHEDULE_EVERY_MIN_US };
  ScheduleState state;
  g_autoptr (GArray) three = run (&both, &state, 0, 1000);
  g_autoptr (GArray) many = run (&endless, &state, 0, 1000);
  g_autoptr (GArray) begun = run (&schedule, &state, 100 * S, 1000);

  g_assert_cmpuint (three->len, ==, 3);
  g_assert_cmpuint (many->len, ==, 1000);
  g_assert_cmpuint (begun->len, ==, 1);
  g_assert_cmpuint (state.missed, ==, 3);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/schedule/parse", test_parse);
  g_test_add_func ("/schedule/in-time", test_in_time);
  g_test_add_func ("/schedule/missed", test_missed);
  g_test_add_func ("/schedule/just-in-time", test_just_in_time);
  g_test_add_func ("/schedule/end", test_end);
  return g_test_run();
}
