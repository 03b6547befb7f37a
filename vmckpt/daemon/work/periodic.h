/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checkpoints at regular times, as one long piece of work: each is reported as it is made, the
 * summary at the end. What takes them, and who is told, is the caller's.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <vmckpt/policy/schedule.h>

typedef struct {
  Schedule schedule;
  /* Takes one: its report, with at least "id", "pause_ms", "wall_ms", "dirty_bytes", "new_bytes"
   * and "stored_bytes". (transfer full) *passes: (out): the error may be gone the next time:
   * something else is at work on the guest, or it is paused. */
  JsonObject *(*take) (gpointer user_data, gboolean *passes, GError **error);
  void (*made) (JsonObject *report, gpointer user_data);
  void (*message) (const char *text, gpointer user_data);
  gpointer user_data;
  GCancellable *cancellable;
  GCancellable *over; /* (nullable): cancelled: as if the schedule had ended */
  /* Of one that has been going already: since when, and how many were begun. */
  gint64 elapsed_us;
  guint64 begun;
} Periodic;

/**
 * periodic_run:
 *
 * Blocks until the schedule has ended, or something fails. An error that passes costs that one
 * checkpoint and is told, the first time in a row; any other ends the work, and says how many were
 * made. Cancelled, it ends at once if nothing is being taken, else when that has been given up.
 *
 * Returns: (transfer full): the summary (docs/api.md), or NULL with @error.
 */
JsonObject *periodic_run (const Periodic *periodic, GError **error);
