/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "periodic.h"

#include <vmckpt/util/json.h>

#include <math.h>

/* What the summary is made of. */
typedef struct {
  ScheduleState state;
  GArray *pauses; /* of double, milliseconds */
  double wall_ms; /* of all together */
  guint64 dirty_bytes, new_bytes, stored_bytes;
  guint64 skipped; /* failed, but it may go on */
  gboolean told;   /* of the latest, that it was skipped */
  char *last;      /* (nullable): id of the newest */
} Tally;

static void
tally_clear (Tally *tally)
{
  g_clear_pointer (&tally->pauses, g_array_unref);
  g_free (tally->last);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Tally, tally_clear)

static void
tally_add (Tally *tally, JsonObject *report)
{
  double pause = json_object_get_double_member_with_default (report, "pause_ms", 0);

  g_array_append_val (tally->pauses, pause);
  tally->wall_ms += json_object_get_double_member_with_default (report, "wall_ms", 0);
  tally->dirty_bytes += json_object_get_int_member_with_default (report, "dirty_bytes", 0);
  tally->new_bytes += json_object_get_int_member_with_default (report, "new_bytes", 0);
  tally->stored_bytes += json_object_get_int_member_with_default (report, "stored_bytes", 0);
  g_free (tally->last);
  tally->last = g_strdup (json_get_string_or (report, "id", NULL));
}

static int
compare_doubles (gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double
rounded (double number)
{
  return round (number * 1000) / 1000;
}

/* Of a sorted array that is not empty. */
static double
median (const GArray *sorted)
{
  guint middle = sorted->len / 2;
  double upper = g_array_index (sorted, double, middle);

  return sorted->len % 2 == 1 ? upper : (g_array_index (sorted, double, middle - 1) + upper) / 2;
}

static void
add_pauses (JsonObject *object, GArray *pauses, double seconds)
{
  double sum = 0;

  g_array_sort (pauses, compare_doubles);
  for (guint i = 0; i < pauses->len; i++)
    sum += g_array_index (pauses, double, i);
  if (pauses->len > 0) {
    double worst = g_array_index (pauses, double, pauses->len - 1);
    json_object_set_double_member (object, "pause_ms_median", rounded (median (pauses)));
    json_object_set_double_member (object, "pause_ms_worst", rounded (worst));
  } else {
    json_object_set_null_member (object, "pause_ms_median");
    json_object_set_null_member (object, "pause_ms_worst");
  }
  json_object_set_double_member (object, "paused_share", sum / 1000 / seconds);
}

static JsonObject *
summarize (Tally *tally, gint64 began_us)
{
  JsonObject *object = json_object_new();
  double seconds = MAX (g_get_monotonic_time() - began_us, 1) / 1e6;

  json_set_string_or_null (object, "last", tally->last);
  json_object_set_int_member (object, "checkpoints", tally->pauses->len);
  json_object_set_int_member (object, "missed", (gint64)tally->state.missed);
  json_object_set_int_member (object, "skipped", (gint64)tally->skipped);
  json_object_set_double_member (object, "seconds", rounded (seconds));
  add_pauses (object, tally->pauses, seconds);
  json_object_set_double_member (object, "work_share", tally->wall_ms / 1000 / seconds);
  json_object_set_int_member (object, "dirty_bytes", (gint64)tally->dirty_bytes);
  json_object_set_int_member (object, "new_bytes", (gint64)tally->new_bytes);
  json_object_set_int_member (object, "stored_bytes", (gint64)tally->stored_bytes);
  return object;
}

/* Until that time, or until it is over or cancelled. */
static void
wait_until (const Periodic *periodic, gint64 time_us)
{
  GCancellable *ends[] = { periodic->cancellable, periodic->over };
  GPollFD fds[G_N_ELEMENTS (ends)];
  guint count = 0;
  gint64 left;

  for (guint i = 0; i < G_N_ELEMENTS (ends); i++)
    if (g_cancellable_make_pollfd (ends[i], &fds[count]))
      count++;
  while ((left = time_us - g_get_monotonic_time()) > 0 &&
         !g_cancellable_is_cancelled (periodic->cancellable) &&
         !g_cancellable_is_cancelled (periodic->over)) {
    /* In pieces, as the time may be days. */
    gint64 ms = MIN ((left + 999) / 1000, 3600 * 1000);
    g_poll (fds, count, (int)ms);
  }
  for (guint i = 0, used = 0; i < G_N_ELEMENTS (ends) && used < count; i++)
    if (ends[i] != NULL) {
      g_cancellable_release_fd (ends[i]);
      used++;
    }
}

/* One of them. FALSE with @error ends it all. */
static gboolean
take_one (const Periodic *periodic, Tally *tally, GError **error)
{
  g_autoptr (GError) cause = NULL;
  gboolean passes = FALSE;
  g_autoptr (JsonObject) report = periodic->take (periodic->user_data, &passes, &cause);

  if (report != NULL) {
    tally_add (tally, report);
    tally->told = FALSE;
    periodic->made (report, periodic->user_data);
    return TRUE;
  }
  if (!passes || g_cancellable_is_cancelled (periodic->cancellable)) {
    g_propagate_prefixed_error (error, g_steal_pointer (&cause),
                                "after %u checkpoints: ", tally->pauses->len);
    return FALSE;
  }
  g_autofree char *text = g_strdup_printf ("no checkpoint is taken meanwhile: %s", cause->message);
  tally->skipped++;
  if (!tally->told)
    periodic->message (text, periodic->user_data);
  tally->told = TRUE;
  return TRUE;
}

JsonObject *
periodic_run (const Periodic *periodic, GError **error)
{
  g_auto (Tally) tally = { .state = { .begun = periodic->begun },
                           .pauses = g_array_new (FALSE, FALSE, sizeof (double)) };
  gint64 began_us = g_get_monotonic_time() - periodic->elapsed_us;
  gint64 due_us;

  while (schedule_next (&periodic->schedule, &tally.state, g_get_monotonic_time() - began_us,
                        &due_us)) {
    wait_until (periodic, began_us + due_us);
    if (g_cancellable_set_error_if_cancelled (periodic->cancellable, error))
      return NULL;
    if (g_cancellable_is_cancelled (periodic->over))
      break;
    if (!take_one (periodic, &tally, error))
      return NULL;
  }
  return summarize (&tally, began_us);
}
