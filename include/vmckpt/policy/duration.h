/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A span of the calendar, such as 2y5m7d3h: years, months, days and hours, as restic writes it. */
#pragma once

#include <gio/gio.h>

/* The most that each of the numbers may be. */
#define DURATION_MAX 1000000

typedef struct {
  guint years, months, days, hours;
} Duration;

/**
 * duration_parse:
 * @text: numbers with the units y, m, d and h, each at most once: "1y5m7d2h", "90d"
 * @duration: (out): what it says
 *
 * Returns: FALSE with @error (G_IO_ERROR_INVALID_ARGUMENT).
 */
gboolean duration_parse (const char *text, Duration *duration, GError **error);

/* The same text again, without zeros; "" for no time at all. Newly allocated. */
char *duration_to_string (const Duration *duration);

/* TRUE if @duration is no time at all. */
gboolean duration_is_zero (const Duration *duration);

/**
 * duration_before:
 * @time_us: microseconds since 1970
 * @zone: whose calendar counts
 *
 * The instant that lies @duration before @time_us by the calendar: years, months and days keep the
 * time of day on the clock of @zone, hours are hours. A day that a month does not have is counted
 * on into the next one, as restic does: a month before March 31 is March 3.
 *
 * Returns: microseconds since 1970; G_MININT64 if that is before the year 1.
 */
gint64 duration_before (const Duration *duration, gint64 time_us, GTimeZone *zone);
