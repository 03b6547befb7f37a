/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Retention: which checkpoints a policy keeps, and why. A pure function with the meaning of
 * restic's `forget`: it knows no store, no clock and no time zone but those that it is given.
 *
 *  - Each group is judged alone, from its newest checkpoint to its oldest.
 *  - Of each hour, day, ISO week, month and year, by the clock of the time zone, the newest
 * checkpoint is kept, as long as the count of that period lasts. If it still lasts at the group's
 * oldest checkpoint, that one is kept too, so that the history stays as long as can be.
 *  - "Within" reaches back from the newest checkpoint of the group that is not in the future.
 *  - A checkpoint that one rule keeps stays; rules do not know of each other.
 */
#pragma once

#include <vmckpt/policy/duration.h>

typedef enum {
  RETENTION_LAST, /* every checkpoint is a period of its own */
  RETENTION_HOURLY,
  RETENTION_DAILY,
  RETENTION_WEEKLY,
  RETENTION_MONTHLY,
  RETENTION_YEARLY,
  RETENTION_PERIOD_COUNT
} RetentionPeriod;

/* A count that never ends. */
#define RETENTION_UNLIMITED (-1)

typedef struct {
  int count[RETENTION_PERIOD_COUNT];       /* how many periods; 0: none; RETENTION_UNLIMITED */
  Duration within[RETENTION_PERIOD_COUNT]; /* one of each period in this span; LAST: all in it */
  GPtrArray *tags; /* (nullable) of GStrv: keep what has all tags of one of the lists */
} RetentionPolicy;

/* A checkpoint, as far as a policy looks at it. Everything is borrowed. */
typedef struct {
  const char *id; /* decides between two of the same instant */
  gint64 created_us;
  const char *const *tags; /* (nullable) */
  const char *group;       /* those of the same text are judged together */
  const char *held;        /* (nullable): a reason to keep it, whatever the policy says */
} RetentionItem;

/* "last", "hourly", … */
const char *retention_period_name (RetentionPeriod period);

/**
 * retention_count_parse:
 * @text: a number, or "unlimited" or "-1"
 *
 * Returns: FALSE with @error (G_IO_ERROR_INVALID_ARGUMENT).
 */
gboolean retention_count_parse (const char *text, int *count, GError **error);

/* TRUE if there is no rule at all: such a policy keeps everything. */
gboolean retention_policy_is_empty (const RetentionPolicy *policy);

/* Frees what @policy holds. */
void retention_policy_clear (RetentionPolicy *policy);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RetentionPolicy, retention_policy_clear)

/**
 * retention_apply:
 * @items: the checkpoints, in any order
 * @count: how many
 * @zone: whose hours, days and years count
 * @now_us: what lies after it is in the future
 *
 * Returns: (transfer full) (element-type GStrv): for each of @items, in their order, the reasons to
 * keep it, such as "daily checkpoint"; none: it is to go.
 */
GPtrArray *retention_apply (const RetentionItem *items, guint count, const RetentionPolicy *policy,
                            GTimeZone *zone, gint64 now_us);
