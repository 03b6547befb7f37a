/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/policy/power-plan.h>

#include <math.h>
#include <string.h>

/* One that is being saved may be late by that part of what is left. */
#define DOUBT_PART 4
/* A meter forgets half of what it knew in that time. */
#define METER_HALF_LIFE_US (5.0 * G_USEC_PER_SEC)

const char *const power_order_names[] = {
  [POWER_ORDER_PRIORITY] = "priority",
  [POWER_ORDER_SIZE] = "size",
  [POWER_ORDER_NAME] = "name",
  NULL,
};

/* ---- Order ---- */

typedef struct {
  const PowerGuest *guests;
  PowerOrder order;
} Ordering;

static int
compare_guests (gconstpointer left, gconstpointer right, gpointer user_data)
{
  const Ordering *ordering = user_data;
  const PowerGuest *a = &ordering->guests[((const PowerStep *)left)->index];
  const PowerGuest *b = &ordering->guests[((const PowerStep *)right)->index];

  if (ordering->order == POWER_ORDER_PRIORITY && a->priority != b->priority)
    return a->priority > b->priority ? -1 : 1;
  if (ordering->order != POWER_ORDER_NAME && a->rest_bytes != b->rest_bytes)
    return a->rest_bytes < b->rest_bytes ? -1 : 1;
  return strcmp (a->name, b->name);
}

/* ---- The model ---- */

/* A guest that is being saved, in the model. */
typedef struct {
  guint step; /* in the plan */
  double bytes_left;
  double us_left; /* of what it takes besides */
} Lane;

typedef struct {
  const PowerGuest *guests;
  const PowerBounds *bounds;
  GArray *plan;  /* of PowerStep */
  GArray *lanes; /* of Lane */
  guint64 memory;
  double now_us;
} Model;

static const PowerGuest *
guest_of (const Model *model, guint step)
{
  return &model->guests[g_array_index (model->plan, PowerStep, step).index];
}

static gboolean
has_room (const PowerBounds *bounds, guint lanes, guint64 memory, const PowerGuest *guest)
{
  return lanes == 0 || (lanes < bounds->parallel && memory <= bounds->memory_limit &&
                        guest->memory_bytes <= bounds->memory_limit - memory);
}

static void
begin_lane (Model *model, guint step)
{
  const PowerGuest *guest = guest_of (model, step);
  Lane lane = { step, guest->rest_bytes, guest->begun ? 0 : model->bounds->guest_us };

  g_array_append_val (model->lanes, lane);
  model->memory += guest->memory_bytes;
}

/* All that fit and are not begun by @next on, as far as there is room. */
static guint
fill_lanes (Model *model, guint next)
{
  for (; next < model->plan->len; next++) {
    const PowerStep *step = &g_array_index (model->plan, PowerStep, next);
    if (!step->fits || guest_of (model, next)->begun)
      continue;
    if (!has_room (model->bounds, model->lanes->len, model->memory, guest_of (model, next)))
      break;
    begin_lane (model, next);
  }
  return next;
}

static double
time_left (const Lane *lane, double share)
{
  return lane->us_left + lane->bytes_left / share;
}

/* Time passes until the first of those at work is done. Each has the same share of the rate. */
static void
advance (Model *model)
{
  double share = model->bounds->rate / G_USEC_PER_SEC / model->lanes->len;
  double step_us = INFINITY;

  for (guint i = 0; i < model->lanes->len; i++)
    step_us = MIN (step_us, time_left (&g_array_index (model->lanes, Lane, i), share));
  model->now_us += step_us;
  for (guint i = model->lanes->len; i > 0; i--) {
    Lane *lane = &g_array_index (model->lanes, Lane, i - 1);
    if (time_left (lane, share) <= step_us * (1 + 1e-9) + 1e-6) {
      g_array_index (model->plan, PowerStep, lane->step).end_us =
          (gint64)ceil (MIN (model->now_us, 1e18));
      model->memory -= guest_of (model, lane->step)->memory_bytes;
      g_array_remove_index (model->lanes, i - 1);
      continue;
    }
    double fixed = MIN (lane->us_left, step_us);
    lane->us_left -= fixed;
    lane->bytes_left = MAX (0, lane->bytes_left - (step_us - fixed) * share);
  }
}

/* When each that fits will have ended. */
static void
run_model (Model *model)
{
  guint next;

  g_array_set_size (model->lanes, 0);
  model->memory = 0;
  model->now_us = 0;
  for (guint i = 0; i < model->plan->len; i++)
    if (g_array_index (model->plan, PowerStep, i).fits && guest_of (model, i)->begun)
      begin_lane (model, i);
  next = fill_lanes (model, 0);
  while (model->lanes->len > 0) {
    advance (model);
    next = fill_lanes (model, next);
  }
}

static gint64
latest_end (const PowerBounds *bounds, const PowerGuest *guest)
{
  gint64 left = bounds->left_us;

  return guest->begun && left > 0 && left < G_MAXINT64 - left / DOUBT_PART
             ? left + left / DOUBT_PART
             : left;
}

static gboolean
all_in_time (const Model *model)
{
  for (guint i = 0; i < model->plan->len; i++) {
    const PowerStep *step = &g_array_index (model->plan, PowerStep, i);
    if (step->fits && step->end_us > latest_end (model->bounds, guest_of (model, i)))
      return FALSE;
  }
  return TRUE;
}

/* One after the other joins those that fit, unless somebody would be late for it. */
static void
admit (Model *model)
{
  for (guint i = 0; i < model->plan->len; i++) {
    PowerStep *step = &g_array_index (model->plan, PowerStep, i);
    step->fits = TRUE;
    run_model (model);
    step->fits = all_in_time (model);
  }
  /* When those will have ended that were there before a guest which does not fit. */
  run_model (model);
}

GArray *
power_plan (const PowerGuest *guests, guint count, const PowerBounds *bounds)
{
  g_autoptr (GArray) lanes = g_array_new (FALSE, FALSE, sizeof (Lane));
  GArray *plan = g_array_sized_new (FALSE, FALSE, sizeof (PowerStep), count);
  const Ordering ordering = { guests, bounds->order };
  gboolean judged = bounds->rate > 0 && bounds->left_us < G_MAXINT64;

  for (guint i = 0; i < count; i++) {
    PowerStep step = { .index = i, .fits = !judged, .end_us = -1 };
    g_array_append_val (plan, step);
  }
  g_array_sort_with_data (plan, compare_guests, (gpointer)&ordering);
  Model model = { .guests = guests, .bounds = bounds, .plan = plan, .lanes = lanes };
  if (judged)
    admit (&model);
  else if (bounds->rate > 0)
    run_model (&model);
  return plan;
}

int
power_plan_next (const GArray *plan, const PowerGuest *guests, const PowerBounds *bounds)
{
  guint64 memory = 0;
  guint lanes = 0;

  for (guint i = 0; i < plan->len; i++)
    if (guests[i].begun) {
      lanes++;
      memory += guests[i].memory_bytes;
    }
  for (guint i = 0; i < plan->len; i++) {
    const PowerStep *step = &g_array_index (plan, PowerStep, i);
    if (step->fits && !guests[step->index].begun)
      return has_room (bounds, lanes, memory, &guests[step->index]) ? (int)step->index : -1;
  }
  return -1;
}

/* ---- The meter ---- */

void
power_meter_add (PowerMeter *meter, guint64 bytes, gint64 now_us)
{
  if (bytes == 0)
    return;
  if (meter->began_us == 0) {
    *meter = (PowerMeter){ .began_us = now_us, .at_us = now_us, .bytes = bytes };
    return;
  }
  gint64 passed = now_us - meter->at_us;
  if (meter->rate == 0 && now_us - meter->began_us < POWER_METER_MIN_US)
    return;
  if (passed <= 0)
    return;
  double rate = (double)(bytes - MIN (bytes, meter->bytes)) * G_USEC_PER_SEC / passed;
  double kept = meter->rate == 0 ? 0 : exp2 (-passed / METER_HALF_LIFE_US);
  meter->rate = MAX (1, kept * meter->rate + (1 - kept) * rate);
  meter->at_us = now_us;
  meter->bytes = MAX (bytes, meter->bytes);
}
