/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sync mode as part of a tracker; what its thread does is tried in test-write-faults.c. */
#include "dirty-tracker.h"
#include "tracked-child.h"

#include <vmckpt/store/page-map.h>

#include <string.h>

#define PAGES 4096

/* The log says that pages @first to @end were written since its base, and there is one. */
static void
assert_written (TrackedChild *child, guint64 first, guint64 end)
{
  g_autoptr (PageBitmap) written = page_bitmap_new (PAGES);
  guint64 from = 0, to = 0;

  g_assert_true (dirty_log_base (child->log, NULL, NULL));
  dirty_log_read_written (child->log, written);
  g_assert_cmpuint (page_bitmap_count (written), ==, end - first);
  g_assert_true (page_bitmap_next_run (written, &from, &to) && from == first && to == end);
}

static void
test_written_pages_are_found_once (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 100, 1);
  tracker = tracked_child_track (&child, TRACK_SYNC);
  if (tracker == NULL)
    return;
  g_assert_cmpint (dirty_tracker_mode (tracker), ==, TRACK_SYNC);
  g_assert_true (dirty_tracker_is_live (tracker));
  dirty_log_set_base (child.log, "store", "base");
  tracked_child_assert_found (&child, tracker, 0, 0);
  tracked_child_do (&child, CHILD_WRITE, 50, 100, 2); /* some that were there, some that were not */
  tracked_child_assert_found (&child, tracker, 50, 150);
  assert_written (&child, 50, 150);
  tracked_child_assert_found (&child, tracker, 0, 0);
  tracked_child_do (&child, CHILD_WRITE, 50, 1, 3);
  tracked_child_assert_found (&child, tracker, 50, 51);
  tracked_child_do (&child, CHILD_READ, 0, PAGES, 0);
  tracked_child_assert_found (&child, tracker, 0, 0);
  tracked_child_do (&child, CHILD_SYSCALL, 2000, 10, 0);
  tracked_child_assert_found (&child, tracker, 2000, 2010);
}

/* A guest that nobody serves any more runs on, and its next daemon knows that it knows nothing. */
static void
test_next_daemon (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL, next = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_SYNC);
  if (tracker == NULL)
    return;
  dirty_log_set_base (child.log, "store", "base");
  tracked_child_do (&child, CHILD_WRITE, 7, 1, 1);
  g_assert_true (dirty_log_recover (child.log));
  next = dirty_tracker_new (&child.memory, child.log);
  g_assert_cmpint (dirty_tracker_mode (next), ==, TRACK_NONE);
  g_assert_false (dirty_log_base (child.log, NULL, NULL));
  tracked_child_do (&child, CHILD_WRITE, 0, PAGES, 2);
  g_clear_pointer (&tracker, dirty_tracker_free);
  g_assert_true (dirty_tracker_begin (next, TRACK_SYNC, FALSE, NULL));
  tracked_child_do (&child, CHILD_WRITE, 9, 2, 3);
  tracked_child_assert_found (&child, next, 9, 11);
}

/* A daemon that ends in an orderly way leaves no guest that waits for it. */
static void
test_end (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_SYNC);
  if (tracker == NULL)
    return;
  dirty_log_set_base (child.log, "store", "base");
  g_clear_pointer (&tracker, dirty_tracker_free);
  tracked_child_do (&child, CHILD_WRITE, 0, PAGES, 2);
  g_assert_false (dirty_log_base (child.log, NULL, NULL));
}

/* Every page of the instant's writes holds 5. */
static gboolean
check_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  guint64 *count = user_data;

  g_assert_cmpuint (data[0], ==, 5);
  *count += 1;
  return TRUE;
}

/* From async to copy-before-write at an instant, and back at the next: nothing is forgotten, what
 * is copied is what was at the instant, what was written after it is known. */
static void
test_copy_before_write (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (PageBitmap) pages = page_bitmap_new (PAGES);
  g_autoptr (GError) error = NULL;
  guint64 count = 0;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  g_assert_true (dirty_tracker_can_copy_before_write (tracker));
  dirty_log_set_base (child.log, "store", "base");
  tracked_child_do (&child, CHILD_WRITE, 100, 3000, 5);
  g_assert_true (dirty_tracker_collect (tracker, pages, NULL));
  {
    g_autoptr (CopyBeforeWrite) copy = dirty_tracker_copy_before_write (tracker, pages, &error);
    g_assert_no_error (error);
    g_assert_cmpint (dirty_tracker_mode (tracker), ==, TRACK_SYNC);
    dirty_log_instant (child.log);
    tracked_child_order (&child, CHILD_WRITE, 50, 1000, 6);
    g_assert_true (copy_before_write_drain (copy, check_page, &count, NULL, &error));
    g_assert_no_error (error);
    tracked_child_wait (&child);
  }
  g_assert_cmpuint (count, ==, 3000);
  dirty_log_commit (child.log, "store", "next");
  tracked_child_assert_found (&child, tracker, 50, 1050);
  dirty_tracker_settle (tracker);
  g_assert_cmpint (dirty_tracker_mode (tracker), ==, TRACK_ASYNC);
  assert_written (&child, 50, 1050);
  tracked_child_do (&child, CHILD_WRITE, 1050, 1, 7);
  tracked_child_assert_found (&child, tracker, 1050, 1051);
  assert_written (&child, 50, 1051);
}

static void
test_wanted (void)
{
  g_autoptr (GError) error = NULL;
  gboolean tracked;
  TrackMode mode;

  g_unsetenv ("VMCKPT_TRACK");
  g_assert_true (track_mode_wanted (&mode, &tracked, &error));
  g_assert_true (mode == TRACK_NONE && tracked);
  g_setenv ("VMCKPT_TRACK", "soft-dirty", TRUE);
  g_assert_true (track_mode_wanted (&mode, &tracked, &error));
  g_assert_true (mode == TRACK_SOFT_DIRTY && tracked);
  g_setenv ("VMCKPT_TRACK", "none", TRUE);
  g_assert_true (track_mode_wanted (&mode, &tracked, &error));
  g_assert_false (tracked);
  g_setenv ("VMCKPT_TRACK", "fast", TRUE);
  g_assert_false (track_mode_wanted (&mode, &tracked, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (strstr (error->message, "'fast'"));
  g_unsetenv ("VMCKPT_TRACK");
}

/* What the environment asks for is taken up by the next daemon, too. */
static void
test_wanted_is_taken_up (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL, next = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = tracked_child_track (&child, TRACK_ASYNC);
  if (tracker == NULL)
    return;
  g_setenv ("VMCKPT_TRACK", "sync", TRUE);
  next = dirty_tracker_new (&child.memory, child.log);
  g_assert_cmpint (dirty_tracker_mode (next), ==, TRACK_ASYNC);
  g_assert_true (dirty_tracker_begin (next, TRACK_NONE, FALSE, NULL));
  g_assert_cmpint (dirty_tracker_mode (next), ==, TRACK_SYNC);
  tracked_child_do (&child, CHILD_WRITE, 3, 1, 1);
  tracked_child_assert_found (&child, next, 3, 4);
  dirty_tracker_settle (next);
  g_assert_cmpint (dirty_tracker_mode (next), ==, TRACK_SYNC);
  g_unsetenv ("VMCKPT_TRACK");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/track-sync/once", test_written_pages_are_found_once);
  g_test_add_func ("/track-sync/next-daemon", test_next_daemon);
  g_test_add_func ("/track-sync/end", test_end);
  g_test_add_func ("/track-sync/copy-before-write", test_copy_before_write);
  g_test_add_func ("/track-sync/wanted", test_wanted);
  g_test_add_func ("/track-sync/wanted-is-taken-up", test_wanted_is_taken_up);
  return g_test_run();
}
