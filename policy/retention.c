/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules are restic's, and are held against what restic 0.14 says: tests/tools/retention-cases,
 * tests/unit/retention-cases.jsonl. That an oldest checkpoint is kept while a count lasts is
 * restic's rule from 0.16 on; it has none such for "within".
 *
 *   items ─▶ sorted: group, newest first ─▶ each group: every item through every rule ─▶ reasons
 */
#include <vmckpt/policy/retention.h>

#include "local-time.h"

#include <string.h>

static const char *const period_names[RETENTION_PERIOD_COUNT] = {
  "last", "hourly", "daily", "weekly", "monthly", "yearly",
};

const char *
retention_period_name (RetentionPeriod period)
{
  g_return_val_if_fail (period < RETENTION_PERIOD_COUNT, "?");
  return period_names[period];
}

gboolean
retention_count_parse (const char *text, int *count, GError **error)
{
  guint64 number;

  if (g_str_equal (text, "unlimited") || g_str_equal (text, "-1")) {
    *count = RETENTION_UNLIMITED;
    return TRUE;
  }
  if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT, &number, NULL)) {
    *count = (int)number;
    return TRUE;
  }
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "'%.40s' is neither a number of checkpoints nor 'unlimited'", text);
  return FALSE;
}

gboolean
retention_policy_is_empty (const RetentionPolicy *policy)
{
  for (guint i = 0; i < RETENTION_PERIOD_COUNT; i++)
    if (policy->count[i] != 0 || !duration_is_zero (&policy->within[i]))
      return FALSE;
  return policy->tags == NULL || policy->tags->len == 0;
}

void
retention_policy_clear (RetentionPolicy *policy)
{
  g_clear_pointer (&policy->tags, g_ptr_array_unref);
}

/* One group while it is judged, from the newest checkpoint to the oldest. */
typedef struct {
  const RetentionPolicy *policy;
  GTimeZone *zone;
  gint64 since_us[RETENTION_PERIOD_COUNT]; /* where "within" begins */
  int left[RETENTION_PERIOD_COUNT];        /* what is left of the counts */
  gint64 last[RETENTION_PERIOD_COUNT];     /* the period of the last one kept; -1: none yet */
  gint64 last_within[RETENTION_PERIOD_COUNT];
} Judgement;

/* A number that tells one period from all others. */
static gint64
period_of (RetentionPeriod period, GDateTime *time, guint nr)
{
  gint64 year = g_date_time_get_year (time), month = g_date_time_get_month (time);
  gint64 day = year * 10000 + month * 100 + g_date_time_get_day_of_month (time);

  switch (period) {
  case RETENTION_LAST:
    return nr;
  case RETENTION_HOURLY:
    return day * 100 + g_date_time_get_hour (time);
  case RETENTION_DAILY:
    return day;
  case RETENTION_WEEKLY:
    return (gint64)g_date_time_get_week_numbering_year (time) * 100 +
           g_date_time_get_week_of_year (time);
  case RETENTION_MONTHLY:
    return year * 100 + month;
  default:
    return year;
  }
}

static gboolean
has_tags (const RetentionItem *item, GStrv wanted)
{
  for (guint i = 0; wanted[i] != NULL; i++)
    if (item->tags == NULL || !g_strv_contains (item->tags, wanted[i]))
      return FALSE;
  return TRUE;
}

static void
judge_tags (const Judgement *self, const RetentionItem *item, GStrvBuilder *reasons)
{
  for (guint i = 0; self->policy->tags != NULL && i < self->policy->tags->len; i++) {
    GStrv wanted = g_ptr_array_index (self->policy->tags, i);
    if (!has_tags (item, wanted))
      continue;
    g_autofree char *list = g_strjoinv (", ", wanted);
    g_autofree char *reason = g_strdup_printf ("has tags [%s]", list);
    g_strv_builder_add (reasons, reason);
  }
}

/* The first of a period counts, and, with some count left, the oldest checkpoint of all. */
static void
judge_count (Judgement *self, RetentionPeriod period, gint64 value, gboolean oldest,
             GStrvBuilder *reasons)
{
  gboolean fresh = value != self->last[period];

  if (self->left[period] == 0 || !(fresh || oldest))
    return;
  self->last[period] = value;
  self->left[period] -= self->left[period] > 0;
  g_autofree char *reason =
      g_strdup_printf ("%s%s checkpoint", fresh ? "" : "oldest ", period_names[period]);
  g_strv_builder_add (reasons, reason);
}

static void
judge_within (Judgement *self, RetentionPeriod period, const RetentionItem *item, gint64 value,
              GStrvBuilder *reasons)
{
  const Duration *within = &self->policy->within[period];
  g_autofree char *span = duration_to_string (within);
  g_autofree char *reason = NULL;

  if (duration_is_zero (within) || item->created_us <= self->since_us[period])
    return;
  if (period == RETENTION_LAST)
    reason = g_strdup_printf ("within %s", span);
  else if (value != self->last_within[period])
    reason = g_strdup_printf ("%s within %s", period_names[period], span);
  if (reason != NULL)
    g_strv_builder_add (reasons, reason);
  self->last_within[period] = value;
}

/* @nr: its place in the group; the newest is 0. */
static GStrv
judge (Judgement *self, const RetentionItem *item, guint nr, gboolean oldest)
{
  g_autoptr (GStrvBuilder) reasons = g_strv_builder_new();
  g_autoptr (GDateTime) time = local_time (item->created_us, self->zone);

  if (item->held != NULL)
    g_strv_builder_add (reasons, item->held);
  if (retention_policy_is_empty (self->policy))
    g_strv_builder_add (reasons, "policy is empty");
  judge_tags (self, item, reasons);
  judge_within (self, RETENTION_LAST, item, 0, reasons);
  for (RetentionPeriod period = 0; period < RETENTION_PERIOD_COUNT; period++)
    judge_count (self, period, period_of (period, time, nr), oldest, reasons);
  for (RetentionPeriod period = RETENTION_HOURLY; period < RETENTION_PERIOD_COUNT; period++)
    judge_within (self, period, item, period_of (period, time, nr), reasons);
  return g_strv_builder_end (reasons);
}

static void
judgement_begin (Judgement *self, const RetentionPolicy *policy, GTimeZone *zone, gint64 latest_us)
{
  *self = (Judgement){ .policy = policy, .zone = zone };
  for (guint i = 0; i < RETENTION_PERIOD_COUNT; i++) {
    self->left[i] = policy->count[i];
    self->last[i] = self->last_within[i] = -1;
    self->since_us[i] = latest_us == G_MININT64
                            ? G_MININT64
                            : duration_before (&policy->within[i], latest_us, zone);
  }
}

/* Groups together, in each the newest first. */
static int
compare_items (gconstpointer a, gconstpointer b)
{
  const RetentionItem *one = *(const RetentionItem *const *)a;
  const RetentionItem *other = *(const RetentionItem *const *)b;
  int groups = strcmp (one->group, other->group);

  if (groups != 0)
    return groups;
  if (one->created_us != other->created_us)
    return one->created_us > other->created_us ? -1 : 1;
  return strcmp (other->id, one->id);
}

/* The newest time of @group, which is in order, before @now_us; G_MININT64 if there is none. */
static gint64
latest_of (const RetentionItem *const *group, guint count, gint64 now_us)
{
  for (guint i = 0; i < count; i++)
    if (group[i]->created_us < now_us)
      return group[i]->created_us;
  return G_MININT64;
}

GPtrArray *
retention_apply (const RetentionItem *items, guint count, const RetentionPolicy *policy,
                 GTimeZone *zone, gint64 now_us)
{
  g_autofree const RetentionItem **sorted = g_new (const RetentionItem *, count);
  GPtrArray *reasons = g_ptr_array_new_full (count, (GDestroyNotify)g_strfreev);
  guint end;

  g_ptr_array_set_size (reasons, (int)count);
  for (guint i = 0; i < count; i++)
    sorted[i] = &items[i];
  if (count > 0)
    qsort (sorted, count, sizeof *sorted, compare_items);
  for (guint begin = 0; begin < count; begin = end) {
    Judgement judgement;
    for (end = begin + 1; end < count && g_str_equal (sorted[end]->group, sorted[begin]->group);)
      end++;
    judgement_begin (&judgement, policy, zone, latest_of (sorted + begin, end - begin, now_us));
    for (guint i = begin; i < end; i++)
      reasons->pdata[sorted[i] - items] = judge (&judgement, sorted[i], i - begin, i == end - 1);
  }
  return reasons;
}
