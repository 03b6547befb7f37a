/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-bitmap.h"

/* Asserts that the runs of @bitmap are @runs: first, end, first, end, …, G_MAXUINT64. */
static void
assert_runs (const PageBitmap *bitmap, const guint64 *runs)
{
  guint64 first, end;

  for (first = 0; page_bitmap_next_run (bitmap, &first, &end); first = end, runs += 2) {
    g_assert_cmpuint (first, ==, runs[0]);
    g_assert_cmpuint (end, ==, runs[1]);
  }
  g_assert_cmpuint (runs[0], ==, G_MAXUINT64);
}

static void
test_runs (void)
{
  g_autoptr (PageBitmap) bitmap = page_bitmap_new (1000);

  assert_runs (bitmap, (const guint64[]){ G_MAXUINT64 });
  page_bitmap_set (bitmap, 0);
  page_bitmap_set_range (bitmap, 60, 200);
  page_bitmap_set_range (bitmap, 990, 5000); /* cut */
  assert_runs (bitmap, (const guint64[]){ 0, 1, 60, 200, 990, 1000, G_MAXUINT64 });
  page_bitmap_clear_range (bitmap, 64, 128);
  page_bitmap_clear (bitmap, 0);
  assert_runs (bitmap, (const guint64[]){ 60, 64, 128, 200, 990, 1000, G_MAXUINT64 });
  g_assert_cmpuint (page_bitmap_count (bitmap), ==, 4 + 72 + 10);
  g_assert_true (page_bitmap_test (bitmap, 63));
  g_assert_false (page_bitmap_test (bitmap, 64));
  page_bitmap_set_range (bitmap, 0, 1000);
  assert_runs (bitmap, (const guint64[]){ 0, 1000, G_MAXUINT64 });
  page_bitmap_clear_all (bitmap);
  assert_runs (bitmap, (const guint64[]){ G_MAXUINT64 });
}

static void
test_sets (void)
{
  g_autoptr (PageBitmap) a = page_bitmap_new (130), b = page_bitmap_new (130);

  page_bitmap_set_range (a, 0, 100);
  page_bitmap_set_range (b, 90, 130);
  page_bitmap_add (a, b);
  assert_runs (a, (const guint64[]){ 0, 130, G_MAXUINT64 });
  page_bitmap_clear_range (a, 0, 95);
  page_bitmap_intersect (b, a);
  assert_runs (b, (const guint64[]){ 95, 130, G_MAXUINT64 });
  page_bitmap_clear_range (b, 100, 130);
  page_bitmap_subtract (a, b);
  assert_runs (a, (const guint64[]){ 100, 130, G_MAXUINT64 });
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/page-bitmap/runs", test_runs);
  g_test_add_func ("/page-bitmap/sets", test_sets);
  return g_test_run();
}
