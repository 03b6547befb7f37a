/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-tracker.h"
#include "track-async.h"
#include "tracked-child.h"
#include "uffd.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAGES 4096

/* A tracker of @child that tracks in the way @mode; NULL, and the test is skipped, if it cannot. */
static void
test_written_pages_are_found_once (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 100, 1);
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  g_assert_true (dirty_tracker_is_live (tracker));
  tracked_child_assert_found (&child, tracker, 0, 0);
  tracked_child_do (&child, CHILD_WRITE, 50, 100, 2); /* some that were there, some that were not */
  tracked_child_assert_found (&child, tracker, 50, 150);
  tracked_child_assert_found (&child, tracker, 0, 0);
  tracked_child_do (&child, CHILD_WRITE, 50, 1, 3);
  tracked_child_assert_found (&child, tracker, 50, 51);
  tracked_child_do (&child, CHILD_READ, 0, PAGES, 0);
  tracked_child_assert_found (&child, tracker, 0, 0);
  tracked_child_do (&child, CHILD_SYSCALL, 2000, 10, 0);
  tracked_child_assert_found (&child, tracker, 2000, 2010);
}

static void
test_next_daemon_goes_on (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL, next = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  tracked_child_do (&child, CHILD_WRITE, 7, 1, 1);
  next = dirty_tracker_new (&child.memory, child.log);
  g_assert_cmpint (dirty_tracker_mode (next), ==, TRACK_ASYNC);
  g_assert_true (dirty_tracker_begin (next, TRACK_NONE, TRUE, NULL));
  tracked_child_assert_found (&child, next, 7, 8);
}

/* More regions than one call takes. */
static void
test_scattered_pages (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (PageBitmap) found = page_bitmap_new (5 * PAGES);

  if (!tracked_child_start (&child, 5 * PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  for (guint64 page = 1; page < 5 * PAGES; page += 2)
    tracked_child_do (&child, CHILD_WRITE, page, 1, 1);
  g_assert_true (dirty_tracker_collect (tracker, found, NULL));
  g_assert_cmpuint (page_bitmap_count (found), ==, 5 * PAGES / 2);
  for (guint64 page = 1; page < 5 * PAGES; page += 2)
    g_assert_true (page_bitmap_test (found, page));
}

static void
test_populated (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (PageBitmap) populated = page_bitmap_new (PAGES);
  guint64 first = 0, end;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = dirty_tracker_new (&child.memory, child.log);
  g_assert_true (dirty_tracker_populated (tracker, populated, NULL));
  g_assert_cmpuint (page_bitmap_count (populated), ==, 0);
  tracked_child_do (&child, CHILD_WRITE, 1000, 5, 1);
  tracked_child_do (&child, CHILD_WRITE, PAGES - 1, 1, 1);
  g_assert_true (dirty_tracker_populated (tracker, populated, NULL));
  g_assert_cmpuint (page_bitmap_count (populated), ==, 6);
  g_assert_true (page_bitmap_next_run (populated, &first, &end) && first == 1000 && end == 1005);
}

static void
test_compare_finds_all_that_is_populated_each_time (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_COMPARE);
  g_assert_false (dirty_tracker_is_live (tracker));
  tracked_child_do (&child, CHILD_WRITE, 10, 5, 1);
  tracked_child_assert_found (&child, tracker, 10, 15);
  tracked_child_assert_found (&child, tracker, 10, 15);
}

/* The keeper does that to a guest that waits for ever. */
static void
test_protection_that_was_taken_off_is_noticed (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (GError) error = NULL;
  struct uffdio_range range;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  range = (struct uffdio_range){ child.memory.address, child.memory.bytes };
  for (guint i = 0; i < 2; i++) {
    dirty_log_set_base (child.log, "store", "one");
    g_assert_no_errno (ioctl (child.memory.uffd_async, UFFDIO_UNREGISTER, &range));
    if (i == 0) { /* in the middle of a checkpoint, or before one */
      g_assert_false (dirty_tracker_collect (tracker, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
    }
    g_assert_true (dirty_tracker_begin (tracker, TRACK_NONE, TRUE, NULL));
    g_assert_false (dirty_log_base (child.log, NULL, NULL));
    tracked_child_do (&child, CHILD_WRITE, 3, 1, 1);
    tracked_child_assert_found (&child, tracker, 3, 4);
  }
}

/* Memory that is not registered reads as zeros where it is missing. */
static void
test_memory_that_is_being_filled_stays_registered (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  dirty_log_set_source (child.log, "store", "one");
  g_assert_true (dirty_tracker_begin (tracker, TRACK_COMPARE, FALSE, NULL));
  g_assert_true (track_async_is_on (&child.memory));
  g_assert_true (dirty_tracker_begin (tracker, TRACK_ASYNC, FALSE, NULL));
  tracked_child_do (&child, CHILD_WRITE, 3, 1, 1);
  tracked_child_assert_found (&child, tracker, 3, 4);
  dirty_log_clear_source (child.log);
  g_assert_true (dirty_tracker_begin (tracker, TRACK_COMPARE, FALSE, NULL));
  g_assert_false (track_async_is_on (&child.memory));
}

static void
test_discarded_pages_are_not_seen_but_marked (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (PageBitmap) found = page_bitmap_new (PAGES);

  if (!tracked_child_start (&child, PAGES))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 100, 1);
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  tracked_child_do (&child, CHILD_PUNCH, 10, 10, 0);
  g_assert_cmpuint (tracked_child_do (&child, CHILD_READ, 10, 10, 0), ==, 0);
  /* Linux 6.18 does not report them; should another do so, well. */
  g_assert_true (dirty_tracker_collect (tracker, NULL, NULL));
  dirty_log_set_bits (dirty_log_header (child.log), DIRTY_LOG_DISCARDED, 10, 20);
  tracked_child_assert_found (&child, tracker, 10, 20);
  g_assert_true (dirty_tracker_populated (tracker, found, NULL));
  g_assert_cmpuint (page_bitmap_count (found), ==, 100);
}

/* What a checkpoint would hold, made of what was found and nothing else. */
typedef struct {
  TrackedChild *child;
  DirtyTracker *tracker;
  guint8 *copy;
  guint64 reclaimed; /* pages that the kernel took out of the page tables, in all */
} Copy;

/* Brings the copy up to date, and asserts that it is what the memory is. */
static void
assert_copy_is_right (Copy *copy)
{
  g_autoptr (PageBitmap) found = page_bitmap_new (PAGES);
  g_autofree guint8 *now = g_malloc (PAGES * DIRTY_LOG_PAGE_BYTES);
  g_autoptr (GError) error = NULL;
  int memory = copy->child->memory.memory;

  dirty_tracker_collect (copy->tracker, found, &error);
  g_assert_no_error (error);
  for (guint64 first = 0, end; page_bitmap_next_run (found, &first, &end); first = end) {
    gsize len = (end - first) * DIRTY_LOG_PAGE_BYTES, at = first * DIRTY_LOG_PAGE_BYTES;
    g_assert_cmpint (pread (memory, copy->copy + at, len, at), ==, len);
  }
  g_assert_cmpint (pread (memory, now, PAGES * DIRTY_LOG_PAGE_BYTES, 0), ==,
                   PAGES * DIRTY_LOG_PAGE_BYTES);
  for (guint64 page = 0; page < PAGES; page++)
    if (memcmp (now + page * DIRTY_LOG_PAGE_BYTES, copy->copy + page * DIRTY_LOG_PAGE_BYTES,
                DIRTY_LOG_PAGE_BYTES) != 0)
      g_error ("page %" G_GUINT64_FORMAT " was changed and not found", page);
}

/* Adds to @copy->reclaimed the pages of @count from @first on that have content, but are in no page
 * table. */
static void
count_reclaimed (Copy *copy, guint64 first, guint64 count)
{
  g_autoptr (PageBitmap) populated = page_bitmap_new (PAGES);
  guint64 entry, at = copy->child->memory.address / DIRTY_LOG_PAGE_BYTES;

  g_assert_true (tracked_memory_populated (&copy->child->memory, populated, NULL));
  for (guint64 page = first; page < first + count; page++) {
    g_assert_cmpint (
        pread (copy->child->memory.pagemap, &entry, sizeof entry, (at + page) * sizeof entry), ==,
        sizeof entry);
    copy->reclaimed += page_bitmap_test (populated, page) && entry >> 63 == 0;
  }
}

/* One thing that can happen to a guest's memory, by chance. */
static void
do_something (Copy *copy)
{
  static const ChildOp ops[] = { CHILD_WRITE, CHILD_WRITE,    CHILD_WRITE,   CHILD_READ,
                                 CHILD_PUNCH, CHILD_DONTNEED, CHILD_PAGEOUT, CHILD_SYSCALL };
  ChildOp op = ops[g_test_rand_int_range (0, G_N_ELEMENTS (ops))];
  guint64 count = g_test_rand_int_range (1, 100);
  guint64 first = g_test_rand_int_range (0, PAGES - count);

  tracked_child_do (copy->child, op, first, count, g_test_rand_int_range (0, 256));
  if (op == CHILD_PUNCH) /* as the preloaded object does */
    dirty_log_set_bits (dirty_log_header (copy->child->log), DIRTY_LOG_DISCARDED, first,
                        first + count);
  if (op == CHILD_PAGEOUT)
    count_reclaimed (copy, first, count);
}

/* Whatever the kernel does to the pages in between: swap them out, move them. */
static void
test_nothing_is_lost (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autofree guint8 *memory = g_malloc0 (PAGES * DIRTY_LOG_PAGE_BYTES);
  Copy copy = { .copy = memory, .child = &child };

  if (!tracked_child_start (&child, PAGES))
    return;
  copy.tracker = tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  for (guint i = 0; i < 100; i++) {
    for (gint j = g_test_rand_int_range (1, 20); j > 0; j--)
      do_something (&copy);
    if (i == 50) {
      /* Moves pages together, where that is allowed; costs what the machine's memory costs. */
      g_auto (AutoFd) compact = open ("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
      g_test_message ("compacted: %d", compact >= 0 && write (compact, "1", 1) == 1);
    }
    assert_copy_is_right (&copy);
  }
  g_test_message ("%" G_GUINT64_FORMAT " pages were reclaimed", copy.reclaimed);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/dirty-tracker/once", test_written_pages_are_found_once);
  g_test_add_func ("/dirty-tracker/next-daemon", test_next_daemon_goes_on);
  g_test_add_func ("/dirty-tracker/scattered", test_scattered_pages);
  g_test_add_func ("/dirty-tracker/populated", test_populated);
  g_test_add_func ("/dirty-tracker/compare", test_compare_finds_all_that_is_populated_each_time);
  g_test_add_func ("/dirty-tracker/protection-taken-off",
                   test_protection_that_was_taken_off_is_noticed);
  g_test_add_func ("/dirty-tracker/being-filled",
                   test_memory_that_is_being_filled_stays_registered);
  g_test_add_func ("/dirty-tracker/discarded", test_discarded_pages_are_not_seen_but_marked);
  g_test_add_func ("/dirty-tracker/nothing-lost", test_nothing_is_lost);
  return g_test_run();
}
