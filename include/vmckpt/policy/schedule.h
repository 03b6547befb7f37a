/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Something that is done again and again, at regular times. A time that has passed when the work
 * before ends is missed, and not made up for: the times stay where they are.
 */
#pragma once

#include <gio/gio.h>

#define SCHEDULE_EVERY_MIN_US 10000
#define SCHEDULE_TIME_MAX_US (G_GINT64_CONSTANT (366) * 24 * 3600 * G_USEC_PER_SEC)

typedef struct {
  gint64 every_us; /* SCHEDULE_EVERY_MIN_US at least */
  gint64 for_us;   /* nothing is begun after this time; 0: without end */
  guint64 count;   /* nor after so many; 0: however many */
} Schedule;

/**
 * schedule_parse_time:
 * @text: a number and its unit, one of ms, s, min, h and d: "500ms", "1s", "10min"
 * @us: (out): microseconds, from 1 ms to a year
 *
 * There is no "m": it means months elsewhere (duration.h).
 *
 * Returns: FALSE with @error (G_IO_ERROR_INVALID_ARGUMENT).
 */
gboolean schedule_parse_time (const char *text, gint64 *us, GError **error);

/* Where a schedule is. Starts as zeros. */
typedef struct {
  guint64 tick;   /* number of the time that is next, the first being 0 */
  guint64 begun;  /* how many were begun */
  guint64 missed; /* how many times have passed */
} ScheduleState;

/**
 * schedule_next:
 * @elapsed_us: since the start
 * @due_us: (out): when to begin next, since the start: not before @elapsed_us, but for the first
 *
 * Goes on to the next time, which counts as begun.
 *
 * Returns: FALSE if that was all.
 */
gboolean schedule_next (const Schedule *schedule, ScheduleState *state, gint64 elapsed_us,
                        gint64 *due_us);
