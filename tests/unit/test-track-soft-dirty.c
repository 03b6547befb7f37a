/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "track-soft-dirty.h"
#include "tracked-child.h"

#define PRESENT (G_GUINT64_CONSTANT (1) << 63)
#define SWAPPED (G_GUINT64_CONSTANT (1) << 62)
#define SOFT_DIRTY (G_GUINT64_CONSTANT (1) << 55)

static void
test_entries (void)
{
  static const guint64 entries[] = {
    PRESENT | 0x1234,     PRESENT | SOFT_DIRTY | 0x1234, SWAPPED | 0x77,
    SWAPPED | SOFT_DIRTY, 0 /* in no table */,           SOFT_DIRTY,
  };
  static const gboolean written[] = { FALSE, TRUE, FALSE, TRUE, TRUE, TRUE };
  g_autoptr (PageBitmap) found = page_bitmap_new (100);

  track_soft_dirty_parse (entries, G_N_ELEMENTS (entries), 60, found);
  for (guint64 page = 0; page < 100; page++)
    g_assert_cmpint (page_bitmap_test (found, page), ==,
                     page >= 60 && page < 66 && written[page - 60]);
}

/* Where the kernel has it. */
static void
test_written_pages_are_found (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (PageBitmap) found = page_bitmap_new (1000);
  g_autoptr (GError) error = NULL;
  guint64 first = 0, end = 0;

  if (!tracked_child_start (&child, 1000))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 100, 1);
  tracker = dirty_tracker_new (&child.memory, child.log);
  if (!dirty_tracker_begin (tracker, TRACK_SOFT_DIRTY, FALSE, &error)) {
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    g_assert_false (track_soft_dirty_is_there());
    g_test_skip (error->message);
    return;
  }
  g_assert_false (dirty_tracker_is_live (tracker));
  tracked_child_do (&child, CHILD_WRITE, 90, 20, 2);
  g_assert_true (dirty_tracker_collect (tracker, found, NULL));
  g_assert_true (page_bitmap_next_run (found, &first, &end));
  g_assert_cmpuint (first, ==, 90);
  g_assert_cmpuint (end, ==, 110);
  page_bitmap_clear_all (found);
  g_assert_true (dirty_tracker_collect (tracker, found, NULL));
  g_assert_cmpuint (page_bitmap_count (found), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/track-soft-dirty/entries", test_entries);
  g_test_add_func ("/track-soft-dirty/written", test_written_pages_are_found);
  return g_test_run();
}
