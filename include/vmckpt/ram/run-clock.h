/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When a guest's CPUs ran and when not, by QEMU's own STOP and RESUME events. The pause that a
 * report gives is measured by this, not by our clock around our commands.
 */
#pragma once

#include <glib.h>

typedef struct _RunClock RunClock;

/* Nothing was seen yet; newly allocated. */
RunClock *run_clock_new (void);
/* Frees @clock. */
void run_clock_free (RunClock *clock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (RunClock, run_clock_free)

/* To be told of every QMP event; others than STOP and RESUME are ignored. Any thread. */
void run_clock_event (RunClock *clock, const char *event, gint64 time_us);

/* The events seen since run_clock_mark(). Times are QEMU's, microseconds since 1970. */
typedef struct {
  guint stops, resumes;
  gint64 stopped_us; /* the first STOP; 0: none */
  gint64 resumed_us; /* the last RESUME; 0: none */
  gint64 paused_us;  /* time between STOPs and their RESUMEs, in all */
} RunClockReading;

/* Starts counting anew. Any thread. */
void run_clock_mark (RunClock *clock);
/* What was counted since. Any thread. */
RunClockReading run_clock_read (RunClock *clock);
