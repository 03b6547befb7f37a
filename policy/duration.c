/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/policy/duration.h>

#include "local-time.h"

#include <string.h>

#define DAY_SECONDS (24 * 60 * 60)

static gboolean
set_wrong (GError **error, const char *text)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "'%.40s' is not a duration such as 2y5m7d3h (years, months, days, hours; at most %d "
               "of each)",
               text, DURATION_MAX);
  return FALSE;
}

gboolean
duration_parse (const char *text, Duration *duration, GError **error)
{
  static const char units[] = "ymdh";
  Duration parsed = { 0 };
  guint *const values[] = { &parsed.years, &parsed.months, &parsed.days, &parsed.hours };
  gboolean seen[G_N_ELEMENTS (values)] = { FALSE };
  const char *at = text;

  do {
    char *end;
    if (!g_ascii_isdigit (*at))
      return set_wrong (error, text);
    guint64 number = g_ascii_strtoull (at, &end, 10);
    const char *unit = *end != 0 ? strchr (units, *end) : NULL;
    if (unit == NULL || seen[unit - units] || number > DURATION_MAX)
      return set_wrong (error, text);
    seen[unit - units] = TRUE;
    *values[unit - units] = (guint)number;
    at = end + 1;
  } while (*at != 0);
  *duration = parsed;
  return TRUE;
}

char *
duration_to_string (const Duration *duration)
{
  const guint values[] = { duration->years, duration->months, duration->days, duration->hours };
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    if (values[i] > 0)
      g_string_append_printf (text, "%u%c", values[i], "ymdh"[i]);
  return g_string_free (text, FALSE);
}

gboolean
duration_is_zero (const Duration *duration)
{
  return duration->years == 0 && duration->months == 0 && duration->days == 0 &&
         duration->hours == 0;
}

/* Seconds that @zone is ahead of UTC at @time. */
static gint64
offset_at (GTimeZone *zone, gint64 time)
{
  int interval = g_time_zone_find_interval (zone, G_TIME_TYPE_UNIVERSAL, time);
  return g_time_zone_get_offset (zone, interval);
}

gint64
duration_before (const Duration *duration, gint64 time_us, GTimeZone *zone)
{
  g_autoptr (GDateTime) from = local_time (time_us, zone);
  gint64 months = (gint64)g_date_time_get_year (from) * 12 + g_date_time_get_month (from) - 1;

  months -= (gint64)duration->years * 12 + duration->months;
  if (months < 12)
    return G_MININT64;
  g_autoptr (GDateTime) first =
      g_date_time_new_utc ((int)(months / 12), (int)(months % 12) + 1, 1,
                           g_date_time_get_hour (from), g_date_time_get_minute (from), 0);
  /* What the clock shows, as if it were UTC: days that a month does not have count on. */
  gint64 clock = g_date_time_to_unix (first) + g_date_time_get_second (from) +
                 (g_date_time_get_day_of_month (from) - 1 - (gint64)duration->days) * DAY_SECONDS;
  /* And the instant at which it shows that; of the two that a change to or from summer time may
   * offer, or the one that it leaves out, it is the one that Go's time.Date() chooses. */
  gint64 instant = clock - offset_at (zone, clock - offset_at (zone, clock));
  instant -= (gint64)duration->hours * 60 * 60;
  return instant * G_USEC_PER_SEC + g_date_time_get_microsecond (from);
}
