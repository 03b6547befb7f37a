/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/policy/power-plan.h>

#include <string.h>

#define MIB (G_GUINT64_CONSTANT (1) << 20)
#define SECOND ((gint64)G_USEC_PER_SEC)
#define GUESTS_MAX 12

/* One MiB a second, two at a time, and nothing else that bounds or delays. */
static PowerBounds
plain_bounds (gint64 left_us)
{
  return (
      PowerBounds){ .parallel = 2, .memory_limit = G_MAXUINT64, .rate = MIB, .left_us = left_us };
}

/* "b:4 c:7 !a": in this order, b ends after 4 s; a does not fit. */
static char *
describe (const GArray *plan, const PowerGuest *guests)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < plan->len; i++) {
    const PowerStep *step = &g_array_index (plan, PowerStep, i);
    g_string_append_printf (text, "%s%s%s", i > 0 ? " " : "", step->fits ? "" : "!",
                            guests[step->index].name);
    if (step->fits)
      g_string_append_printf (text, ":%" G_GINT64_FORMAT, (step->end_us + SECOND / 2) / SECOND);
  }
  return g_string_free (text, FALSE);
}

static void
expect (const PowerGuest *guests, guint count, const PowerBounds *bounds, const char *text,
        int next)
{
  g_autoptr (GArray) plan = power_plan (guests, count, bounds);
  g_autofree char *is = describe (plan, guests);

  g_assert_cmpstr (is, ==, text);
  g_assert_cmpint (power_plan_next (plan, guests, bounds), ==, next);
}

static void
test_order (void)
{
  const PowerGuest guests[] = { { "b", 100, 4 * MIB, 0, FALSE },
                                { "a", 100, 8 * MIB, 0, FALSE },
                                { "c", 200, 9 * MIB, 0, FALSE } };
  PowerBounds bounds = plain_bounds (100 * SECOND);

  bounds.parallel = 1;
  expect (guests, 3, &bounds, "c:9 b:13 a:21", 2);
  bounds.order = POWER_ORDER_SIZE;
  expect (guests, 3, &bounds, "b:4 a:12 c:21", 0);
  bounds.order = POWER_ORDER_NAME;
  expect (guests, 3, &bounds, "a:8 b:12 c:21", 1);
  /* Two share the rate; when the first is done, the next takes its place. */
  bounds.parallel = 2;
  expect (guests, 3, &bounds, "a:16 b:8 c:21", 1);
  expect (guests, 0, &bounds, "", -1);
}

/* A small one may use what a large one cannot, and never what is before it needs. */
static void
test_too_much (void)
{
  const PowerGuest guests[] = { { "first", 300, 10 * MIB, 0, FALSE },
                                { "large", 200, 50 * MIB, 0, FALSE },
                                { "small", 100, 5 * MIB, 0, FALSE },
                                { "more", 100, 6 * MIB, 0, FALSE } };
  PowerBounds bounds = plain_bounds (20 * SECOND);

  expect (guests, 4, &bounds, "first:15 !large small:10 !more", 0);
  bounds.left_us = 21 * SECOND;
  expect (guests, 4, &bounds, "first:20 !large small:10 more:21", 0);
  bounds.left_us = 9 * SECOND;
  expect (guests, 4, &bounds, "!first !large small:5 !more", 2);
  bounds.left_us = 0;
  expect (guests, 4, &bounds, "!first !large !small !more", -1);
  /* Nobody is judged without a rate or a deadline. */
  bounds.rate = 0;
  g_autoptr (GArray) plan = power_plan (guests, 4, &bounds);
  for (guint i = 0; i < plan->len; i++) {
    g_assert_true (g_array_index (plan, PowerStep, i).fits);
    g_assert_cmpint (g_array_index (plan, PowerStep, i).end_us, ==, -1);
  }
  bounds = plain_bounds (G_MAXINT64);
  expect (guests, 4, &bounds, "first:20 large:71 small:30 more:42", 0);
}

/* What each takes besides its bytes counts, too. */
static void
test_besides (void)
{
  const PowerGuest guests[] = { { "a", 1, MIB, 0, FALSE }, { "b", 1, MIB, 0, FALSE } };
  PowerBounds bounds = plain_bounds (7 * SECOND);

  bounds.parallel = 1;
  bounds.guest_us = 3 * SECOND;
  expect (guests, 2, &bounds, "a:4 !b", 0);
}

static void
test_memory (void)
{
  const PowerGuest guests[] = { { "a", 3, MIB, 6, FALSE },
                                { "b", 2, MIB, 6, FALSE },
                                { "c", 1, MIB, 1, FALSE } };
  PowerBounds bounds = plain_bounds (100 * SECOND);

  bounds.parallel = 3;
  bounds.memory_limit = 10;
  /* No room for b beside a; c waits for its turn all the same. */
  expect (guests, 3, &bounds, "a:1 b:3 c:3", 0);
  bounds.memory_limit = 2;
  expect (guests, 3, &bounds, "a:1 b:2 c:3", 0);
}

/* Who is being saved has a place, and is given up only if it would be late by far. */
static void
test_begun (void)
{
  const PowerGuest guests[] = { { "a", 100, 11 * MIB, 0, TRUE }, { "b", 100, 12 * MIB, 0, FALSE } };
  PowerBounds bounds = plain_bounds (10 * SECOND);

  expect (guests, 2, &bounds, "a:11 !b", -1);
  bounds.left_us = 8 * SECOND;
  expect (guests, 2, &bounds, "!a !b", -1);
  bounds.left_us = 23 * SECOND;
  expect (guests, 2, &bounds, "a:22 b:23", 1);
  bounds.parallel = 1;
  expect (guests, 2, &bounds, "a:11 b:23", -1);
}

/* ---- Whatever the guests and bounds ---- */

typedef struct {
  PowerGuest guests[GUESTS_MAX];
  char names[GUESTS_MAX][2];
  guint count;
  PowerBounds bounds;
} Scene;

static void
make_scene (Scene *scene)
{
  scene->count = g_test_rand_int_range (0, GUESTS_MAX + 1);
  scene->bounds = (PowerBounds){ .order = g_test_rand_int_range (0, POWER_ORDER_COUNT),
                                 .parallel = g_test_rand_int_range (1, 6),
                                 .memory_limit = g_test_rand_int_range (1, 40),
                                 .rate = g_test_rand_int_range (1, 100) * (double)MIB,
                                 .guest_us = g_test_rand_int_range (0, 2 * SECOND),
                                 .left_us = g_test_rand_int_range (0, 100) * SECOND };
  for (guint i = 0; i < scene->count; i++) {
    memcpy (scene->names[i], (char[]){ (char)('a' + i), '\0' }, 2);
    scene->guests[i] = (PowerGuest){ .name = scene->names[i],
                                     .priority = g_test_rand_int_range (0, 4),
                                     .rest_bytes = g_test_rand_int_range (0, 2000) * MIB,
                                     .memory_bytes = g_test_rand_int_range (0, 20),
                                     .begun = i < 2 && g_test_rand_bit() };
  }
}

static guint
count_fitting (const GArray *plan)
{
  guint count = 0;

  for (guint i = 0; i < plan->len; i++)
    count += g_array_index (plan, PowerStep, i).fits;
  return count;
}

/* All are there once; who fits is in time; all bytes take at least as long as the rate says; the
 * next one fits, is not begun, and nobody before it waits. */
static void
check_plan (const Scene *scene, const GArray *plan)
{
  guint seen = 0;
  double bytes = 0;
  gint64 last_us = 0;
  int next = power_plan_next (plan, scene->guests, &scene->bounds), first_waiting = -1;

  g_assert_cmpuint (plan->len, ==, scene->count);
  for (guint i = 0; i < plan->len; i++) {
    const PowerStep *step = &g_array_index (plan, PowerStep, i);
    const PowerGuest *guest = &scene->guests[step->index];
    seen |= 1u << step->index;
    if (!step->fits)
      continue;
    g_assert_cmpint (step->end_us, <=,
                     guest->begun ? scene->bounds.left_us * 5 / 4 : scene->bounds.left_us);
    bytes += guest->rest_bytes;
    last_us = MAX (last_us, step->end_us);
    if (!guest->begun && first_waiting < 0)
      first_waiting = (int)step->index;
  }
  g_assert_cmpuint (seen, ==, (1u << scene->count) - 1);
  g_assert_cmpfloat (last_us + 2, >=, bytes / scene->bounds.rate * G_USEC_PER_SEC * (1 - 1e-6));
  g_assert_true (next == -1 || next == first_waiting);
}

static void
test_any (void)
{
  for (guint round = 0; round < 3000; round++) {
    Scene scene;
    make_scene (&scene);
    g_autoptr (GArray) plan = power_plan (scene.guests, scene.count, &scene.bounds);
    check_plan (&scene, plan);
    /* With more time, whoever is first in order and fitted still does. */
    scene.bounds.left_us *= 2;
    g_autoptr (GArray) later = power_plan (scene.guests, scene.count, &scene.bounds);
    for (guint i = 0; i < plan->len && g_array_index (plan, PowerStep, i).fits; i++)
      g_assert_true (g_array_index (later, PowerStep, i).fits);
    scene.bounds.left_us = G_MAXINT64 / 2;
    g_autoptr (GArray) all = power_plan (scene.guests, scene.count, &scene.bounds);
    g_assert_cmpuint (count_fitting (all), ==, scene.count);
  }
}

/* ---- The meter ---- */

static void
test_meter (void)
{
  PowerMeter meter = { 0 };
  gint64 now = 5 * SECOND;

  power_meter_add (&meter, 0, now);
  power_meter_add (&meter, MIB, now += SECOND);
  power_meter_add (&meter, 2 * MIB, now += SECOND);
  g_assert_cmpfloat (meter.rate, ==, 0);
  power_meter_add (&meter, 3 * MIB, now += SECOND);
  g_assert_cmpfloat_with_epsilon (meter.rate, MIB, 1);
  /* It goes faster, and that shows soon. */
  for (guint i = 0; i < 30; i++)
    power_meter_add (&meter, 3 * MIB + 10 * MIB * (i + 1), now += SECOND);
  g_assert_cmpfloat (meter.rate, >, 9.5 * MIB);
  /* It stands still: never nothing, which would be "not known". */
  for (guint i = 0; i < 1000; i++)
    power_meter_add (&meter, 303 * MIB, now += SECOND);
  g_assert_cmpfloat (meter.rate, ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/power-plan/order", test_order);
  g_test_add_func ("/power-plan/too-much", test_too_much);
  g_test_add_func ("/power-plan/besides", test_besides);
  g_test_add_func ("/power-plan/memory", test_memory);
  g_test_add_func ("/power-plan/begun", test_begun);
  g_test_add_func ("/power-plan/any", test_any);
  g_test_add_func ("/power-plan/meter", test_meter);
  return g_test_run();
}
