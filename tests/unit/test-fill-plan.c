/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read next: near to what the guest waits for, then as recorded, then ascending. */
#include "fill-plan.h"

#include <string.h>

#define WINDOWS 1000

static void
assert_next (FillPlan *plan, guint64 first, guint64 count)
{
  FillRun run;

  g_assert_true (fill_plan_next (plan, &run));
  g_assert_cmpuint (run.first, ==, first);
  g_assert_cmpuint (run.count, ==, count);
}

static void
test_groups (void)
{
  GArray *order = g_array_new (FALSE, FALSE, sizeof (FillRun));
  const FillRun recorded[] = { { 500, 2 }, { 20, 1 } };
  g_array_append_vals (order, recorded, 2);
  g_autoptr (FillPlan) plan = fill_plan_new (WINDOWS, order);

  assert_next (plan, 500, 1);
  fill_plan_touch (plan, 100);
  fill_plan_touch (plan, 200);
  assert_next (plan, 200, 1);
  assert_next (plan, 201, 1);
  assert_next (plan, 199, 1);
  assert_next (plan, 100, 1);
  assert_next (plan, 101, 1);
  assert_next (plan, 99, 1);
  assert_next (plan, 501, 1);
  assert_next (plan, 20, 1);
  assert_next (plan, 0, FILL_PLAN_STRIDE);
  fill_plan_touch (plan, 0); /* read already; its neighbour too */
  assert_next (plan, 4, FILL_PLAN_STRIDE);
}

/* Whatever the guest touches, every window comes exactly once; given back, once more. */
static void
test_each_once (void)
{
  g_autoptr (FillPlan) plan = fill_plan_new (WINDOWS, NULL);
  guint8 seen[WINDOWS] = { 0 };
  FillRun run, again = { 0 };
  guint given_back = 0;

  while (fill_plan_next (plan, &run)) {
    g_assert_cmpuint (run.first + run.count, <=, WINDOWS);
    for (guint64 i = 0; i < run.count; i++)
      seen[run.first + i]++;
    if (g_test_rand_int_range (0, 3) == 0)
      for (guint i = 0; i < 40; i++)
        fill_plan_touch (plan, g_test_rand_int_range (0, WINDOWS));
    if (given_back++ == 50) {
      again = run;
      fill_plan_give_back (plan, &again);
    }
  }
  for (guint64 i = 0; i < WINDOWS; i++)
    g_assert_cmpuint (seen[i], ==, i >= again.first && i < again.first + again.count ? 2 : 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fill-plan/groups", test_groups);
  g_test_add_func ("/fill-plan/each-once", test_each_once);
  return g_test_run();
}
