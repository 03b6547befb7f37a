/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fill-plan.h"

#include <string.h>

/* Windows around faults that wait to be read; older ones are left to the other groups. */
#define NEAR_MAX 64

struct _FillPlan {
  guint64 windows;
  guint8 *given;          /* a bit for each window */
  guint64 near[NEAR_MAX]; /* the latest last */
  guint n_near;
  GArray *order; /* (nullable) of FillRun */
  guint order_at;
  guint64 order_done; /* windows of that run */
  guint64 next;       /* of the rest */
};

FillPlan *
fill_plan_new (guint64 windows, GArray *order)
{
  FillPlan *plan = g_new0 (FillPlan, 1);

  plan->windows = windows;
  plan->given = g_malloc0 (windows / 8 + 1);
  plan->order = order;
  return plan;
}

void
fill_plan_free (FillPlan *plan)
{
  if (plan == NULL)
    return;
  g_free (plan->given);
  g_clear_pointer (&plan->order, g_array_unref);
  g_free (plan);
}

static gboolean
is_given (const FillPlan *plan, guint64 window)
{
  return window >= plan->windows || (plan->given[window / 8] >> window % 8 & 1);
}

static gboolean
give (FillPlan *plan, guint64 window, FillRun *run)
{
  if (is_given (plan, window))
    return FALSE;
  plan->given[window / 8] |= 1 << window % 8;
  *run = (FillRun){ window, 1 };
  return TRUE;
}

static void
push_near (FillPlan *plan, guint64 window)
{
  if (is_given (plan, window))
    return;
  if (plan->n_near == NEAR_MAX) {
    memmove (plan->near, plan->near + 1, (NEAR_MAX - 1) * sizeof *plan->near);
    plan->n_near--;
  }
  plan->near[plan->n_near++] = window;
}

void
fill_plan_touch (FillPlan *plan, guint64 window)
{
  if (window > 0)
    push_near (plan, window - 1);
  push_near (plan, window + 1);
  push_near (plan, window);
}

static gboolean
give_near (FillPlan *plan, FillRun *run)
{
  while (plan->n_near > 0)
    if (give (plan, plan->near[--plan->n_near], run))
      return TRUE;
  return FALSE;
}

static gboolean
give_recorded (FillPlan *plan, FillRun *run)
{
  while (plan->order != NULL && plan->order_at < plan->order->len) {
    const FillRun *recorded = &g_array_index (plan->order, FillRun, plan->order_at);
    while (plan->order_done < recorded->count)
      if (give (plan, recorded->first + plan->order_done++, run))
        return TRUE;
    plan->order_at++;
    plan->order_done = 0;
  }
  return FALSE;
}

static gboolean
give_ascending (FillPlan *plan, FillRun *run)
{
  FillRun more;

  while (plan->next < plan->windows && !give (plan, plan->next, run))
    plan->next++;
  if (plan->next >= plan->windows)
    return FALSE;
  while (run->count < FILL_PLAN_STRIDE && give (plan, run->first + run->count, &more))
    run->count++;
  plan->next = run->first + run->count;
  return TRUE;
}

gboolean
fill_plan_next (FillPlan *plan, FillRun *run)
{
  return give_near (plan, run) || give_recorded (plan, run) || give_ascending (plan, run);
}

void
fill_plan_give_back (FillPlan *plan, const FillRun *run)
{
  for (guint64 window = run->first; window < run->first + run->count; window++)
    plan->given[window / 8] &= ~(1 << window % 8);
  plan->next = MIN (plan->next, run->first);
}
