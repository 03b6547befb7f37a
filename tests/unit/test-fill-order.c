/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record of first touches: what was touched comes back, in that order, and nothing else passes.
 */
#include "fill-order.h"

#include <string.h>

#define WINDOWS 100000

static GArray *
parse (GBytes *bytes, guint64 windows)
{
  g_autoptr (GError) error = NULL;
  GArray *runs = fill_order_parse (bytes, windows, &error);

  if (runs == NULL)
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
  return runs;
}

/* Every window once, in the order of its first touch. */
static void
test_round_trip (void)
{
  g_autoptr (FillOrder) order = fill_order_new (WINDOWS);
  g_autoptr (GArray) expected = g_array_new (FALSE, FALSE, sizeof (guint64));
  g_autofree guint8 *seen = g_malloc0 (WINDOWS);
  guint at = 0;

  for (guint i = 0; i < 5000; i++) {
    guint64 first = g_test_rand_int_range (0, WINDOWS), length = g_test_rand_int_range (1, 5);
    for (guint64 window = first; window < MIN (first + length, WINDOWS); window++) {
      fill_order_touch (order, window);
      if (!seen[window])
        g_array_append_val (expected, window);
      seen[window] = TRUE;
    }
  }
  fill_order_touch (order, WINDOWS); /* there is none */
  g_autoptr (GBytes) bytes = fill_order_to_bytes (order);
  g_autoptr (GArray) runs = parse (bytes, WINDOWS);
  for (guint i = 0; i < runs->len; i++)
    for (guint64 j = 0; j < g_array_index (runs, FillRun, i).count; j++, at++)
      g_assert_cmpuint (g_array_index (runs, FillRun, i).first + j, ==,
                        g_array_index (expected, guint64, at));
  g_assert_cmpuint (at, ==, expected->len);
  g_assert_null (parse (bytes, WINDOWS / 2));
}

static void
test_bounds (void)
{
  g_autoptr (FillOrder) none = fill_order_new (8), full = fill_order_new (G_MAXUINT32);

  g_assert_null (fill_order_to_bytes (none));
  for (guint64 i = 0; i < 2 * FILL_ORDER_MAX_RUNS; i++)
    fill_order_touch (full, (i * 2654435761u) % G_MAXUINT32);
  g_autoptr (GBytes) bytes = fill_order_to_bytes (full);
  g_assert_cmpuint (g_bytes_get_size (bytes), <=, FILL_ORDER_MAX_BYTES);
  g_autoptr (GArray) runs = parse (bytes, G_MAXUINT32);
  g_assert_cmpuint (runs->len, ==, FILL_ORDER_MAX_RUNS);
}

/* Any byte changed, any length cut: the same bounds hold for what still passes. */
static void
test_hostile (void)
{
  static const guint64 touched[] = { 5, 6, 7, 90000, 3, 2, 1, 0, 99999 };
  g_autoptr (FillOrder) order = fill_order_new (WINDOWS);

  for (guint i = 0; i < G_N_ELEMENTS (touched); i++)
    fill_order_touch (order, touched[i]);
  g_autoptr (GBytes) bytes = fill_order_to_bytes (order);
  gsize len = g_bytes_get_size (bytes);
  for (gsize at = 0; at < len; at++) {
    for (guint flip = 1; flip < 256; flip++) {
      g_autofree guint8 *data = g_memdup2 (g_bytes_get_data (bytes, NULL), len);
      data[at] ^= flip;
      g_autoptr (GBytes) other = g_bytes_new (data, len - flip % 2);
      g_autoptr (GArray) runs = parse (other, WINDOWS);
      for (guint i = 0; runs != NULL && i < runs->len; i++) {
        const FillRun *run = &g_array_index (runs, FillRun, i);
        g_assert_cmpuint (run->first, <, WINDOWS);
        g_assert_cmpuint (run->count, <=, WINDOWS - run->first);
      }
    }
  }
}

/* Few bytes cannot stand for more work than all windows are. */
static void
test_repeated (void)
{
  g_autoptr (FillOrder) order = fill_order_new (WINDOWS);
  g_autoptr (GByteArray) data = g_byte_array_new();
  static const guint8 last_again[] = { 1, 0 }; /* one window, one back from the end */

  for (guint64 window = 0; window < WINDOWS; window++)
    fill_order_touch (order, window);
  g_autoptr (GBytes) bytes = fill_order_to_bytes (order);
  g_byte_array_append (data, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  g_autoptr (GArray) runs = parse (bytes, WINDOWS);
  g_assert_nonnull (runs);
  g_byte_array_append (data, last_again, sizeof last_again);
  g_autoptr (GBytes) more = g_bytes_new (data->data, data->len);
  g_assert_null (parse (more, WINDOWS));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fill-order/round-trip", test_round_trip);
  g_test_add_func ("/fill-order/bounds", test_bounds);
  g_test_add_func ("/fill-order/hostile", test_hostile);
  g_test_add_func ("/fill-order/repeated", test_repeated);
  return g_test_run();
}
