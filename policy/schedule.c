/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/policy/schedule.h>

#include <string.h>

gboolean
schedule_parse_time (const char *text, gint64 *us, GError **error)
{
  static const struct {
    const char *name;
    gint64 us;
  } units[] = {
    { "ms", 1000 },
    { "s", G_USEC_PER_SEC },
    { "min", 60 * G_USEC_PER_SEC },
    { "h", G_GINT64_CONSTANT (3600) * G_USEC_PER_SEC },
    { "d", G_GINT64_CONSTANT (24) * 3600 * G_USEC_PER_SEC },
  };
  char *end = (char *)text;
  guint64 number = g_ascii_isdigit (*text) ? g_ascii_strtoull (text, &end, 10) : 0;

  for (guint i = 0; number > 0 && i < G_N_ELEMENTS (units); i++) {
    if (!g_str_equal (end, units[i].name) || number > (guint64)(SCHEDULE_TIME_MAX_US / units[i].us))
      continue;
    *us = (gint64)number * units[i].us;
    return TRUE;
  }
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "'%.40s' is not a time such as 500ms, 1s, 10min, 2h or 1d, of at most a year", text);
  return FALSE;
}

gboolean
schedule_next (const Schedule *schedule, ScheduleState *state, gint64 elapsed_us, gint64 *due_us)
{
  guint64 ahead = (guint64)((elapsed_us + schedule->every_us - 1) / schedule->every_us);

  if (schedule->count > 0 && state->begun >= schedule->count)
    return FALSE;
  /* The first one is due at once, however long that takes. */
  if (state->begun > 0 && ahead > state->tick) {
    /* What would come after the end is not missed. */
    if (schedule->for_us > 0)
      ahead =
          MIN (ahead, (guint64)((schedule->for_us + schedule->every_us - 1) / schedule->every_us));
    state->missed += ahead - MIN (state->tick, ahead);
    state->tick = MAX (ahead, state->tick);
  }
  *due_us = (gint64)state->tick * schedule->every_us;
  if (schedule->for_us > 0 && *due_us >= schedule->for_us)
    return FALSE;
  state->tick++;
  state->begun++;
  return TRUE;
}
