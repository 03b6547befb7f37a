/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Spans of the calendar: what is accepted, and where they lead. */
#include <vmckpt/policy/duration.h>

#include <string.h>

static void
test_parse (void)
{
  static const struct {
    const char *text;
    Duration duration;
    const char *again;
  } good[] = {
    { "2y5m7d3h", { 2, 5, 7, 3 }, "2y5m7d3h" },
    { "3h", { 0, 0, 0, 3 }, "3h" },
    { "7d2y", { 2, 0, 7, 0 }, "2y7d" },
    { "0d", { 0 }, "" },
    { "1000000h", { 0, 0, 0, 1000000 }, "1000000h" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GError) error = NULL;
    Duration duration;
    g_assert_true (duration_parse (good[i].text, &duration, &error));
    g_assert_no_error (error);
    g_assert_cmpmem (&duration, sizeof duration, &good[i].duration, sizeof duration);
    g_autofree char *again = duration_to_string (&duration);
    g_assert_cmpstr (again, ==, good[i].again);
    g_assert_cmpint (duration_is_zero (&duration), ==, *good[i].again == 0);
  }
}

static void
test_refused (void)
{
  static const char *const bad[] = { "",     "7",    "d",        "7d3",
                                     "7w",   "-3d",  "1d1d",     "7 d",
                                     "7d\n", "1.5d", "1000001h", "99999999999999999999y",
                                     "+1d",  "1D" };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    Duration duration = { 1, 2, 3, 4 };
    g_assert_false (duration_parse (bad[i], &duration, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull (strstr (error->message, "2y5m7d3h"));
    g_assert_cmpuint (duration.hours, ==, 4);
  }
}

static void
test_before (void)
{
  static const struct {
    const char *zone, *from, *duration, *before;
  } cases[] = {
    { "UTC", "2026-03-31T12:00:00Z", "1m", "2026-03-03T12:00:00Z" }, /* there is no February 31 */
    { "UTC", "2024-02-29T12:00:00Z", "1y", "2023-03-01T12:00:00Z" },
    { "UTC", "2026-01-15T00:00:00.000007Z", "2y13m20d25h", "2022-11-23T23:00:00.000007Z" },
    /* A day ago is the same time by the clock, 24 hours ago is not, when the clocks changed. */
    { "Europe/Berlin", "2026-03-29T12:00:00+02", "1d", "2026-03-28T12:00:00+01" },
    { "Europe/Berlin", "2026-03-29T12:00:00+02", "24h", "2026-03-28T11:00:00+01" },
    { "Europe/Berlin", "2025-10-26T12:00:00+01", "1d", "2025-10-25T12:00:00+02" },
    /* 02:30 is left out that night, or there twice. */
    { "Europe/Berlin", "2026-03-30T02:30:00+02", "1d", "2026-03-29T03:30:00+02" },
    { "Europe/Berlin", "2025-10-27T02:30:00+01", "1d", "2025-10-26T02:30:00+01" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GTimeZone) zone = g_time_zone_new_identifier (cases[i].zone);
    g_autoptr (GDateTime) from = g_date_time_new_from_iso8601 (cases[i].from, NULL);
    g_autoptr (GDateTime) want = g_date_time_new_from_iso8601 (cases[i].before, NULL);
    Duration duration;
    g_assert_true (duration_parse (cases[i].duration, &duration, NULL));
    gint64 from_us =
        g_date_time_to_unix (from) * G_USEC_PER_SEC + g_date_time_get_microsecond (from);
    gint64 want_us =
        g_date_time_to_unix (want) * G_USEC_PER_SEC + g_date_time_get_microsecond (want);
    g_test_message ("%s %s before %s", cases[i].zone, cases[i].duration, cases[i].from);
    g_assert_cmpint (duration_before (&duration, from_us, zone), ==, want_us);
  }
}

static void
test_before_all_time (void)
{
  g_autoptr (GTimeZone) zone = g_time_zone_new_utc();
  const Duration ages = { DURATION_MAX, DURATION_MAX, DURATION_MAX, DURATION_MAX };
  const Duration years = { .years = 2100 };

  g_assert_cmpint (duration_before (&ages, G_MAXINT64, zone), ==, G_MININT64);
  g_assert_cmpint (duration_before (&years, 0, zone), ==, G_MININT64);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/policy/duration/parse", test_parse);
  g_test_add_func ("/policy/duration/refused", test_refused);
  g_test_add_func ("/policy/duration/before", test_before);
  g_test_add_func ("/policy/duration/before-all-time", test_before_all_time);
  return g_test_run();
}
