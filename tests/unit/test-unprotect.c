/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process that waits for somebody to serve its memory, and who may let it go on. */
#include "tracked-child.h"
#include "uffd.h"
#include "unprotect.h"

#include <poll.h>

#define PAGES 1024
#define PATIENCE_MS 60000

/* The handshake, registration in @mode, and protection of all of the RAM. */
static void
guard (TrackedChild *child, int uffd, guint64 features, guint64 mode)
{
  struct uffdio_api api = { .api = UFFD_API, .features = features };
  struct uffdio_range all = { .start = child->memory.address, .len = child->memory.bytes };
  struct uffdio_register wanted = { .range = all, .mode = mode };
  struct uffdio_writeprotect on = { .range = all, .mode = UFFDIO_WRITEPROTECT_MODE_WP };

  g_assert_no_errno (ioctl (uffd, UFFDIO_API, &api));
  g_assert_no_errno (ioctl (uffd, UFFDIO_REGISTER, &wanted));
  g_assert_no_errno (ioctl (uffd, UFFDIO_WRITEPROTECT, &on));
}

/* The child comes to wait for whoever serves @uffd. */
static void
assert_comes_to_wait (int uffd)
{
  struct pollfd fault = { .fd = uffd, .events = POLLIN };

  g_assert_cmpint (poll (&fault, 1, PATIENCE_MS), ==, 1);
}

/* It still does, and has not gone on. */
static void
assert_waits (const TrackedChild *child, int uffd)
{
  struct pollfd both[] = { { .fd = child->control, .events = POLLIN },
                           { .fd = uffd, .events = POLLIN } };

  /* Who is woken although its page is still missing is on its way to wait again. */
  g_assert_cmpint (poll (both, 2, PATIENCE_MS), ==, 1);
  g_assert_cmpint (both[1].revents, ==, POLLIN);
}

static guint
free_own (const TrackedChild *child)
{
  g_autoptr (GError) error = NULL;
  guint ranges = 0;

  unprotect_memory (process_id_of (child->child.pid), &ranges, &error);
  g_assert_no_error (error);
  return ranges;
}

static guint
free_served (const TrackedChild *child)
{
  g_autoptr (GError) error = NULL;
  guint ranges = 0;

  unprotect_served_memory (process_id_of (child->child.pid), &ranges, &error);
  g_assert_no_error (error);
  return ranges;
}

/* What the daemon served is freed on its behalf only. */
static void
test_served (void)
{
  g_auto (TrackedChild) child;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 10, 1);
  guard (&child, child.memory.uffd_sync, UFFD_FEATURES_SYNC, UFFDIO_REGISTER_MODE_WP);
  tracked_child_order (&child, CHILD_WRITE, 5, 1, 2);
  assert_comes_to_wait (child.memory.uffd_sync);
  g_assert_cmpuint (free_own (&child), ==, 0);
  assert_waits (&child, child.memory.uffd_sync);
  g_assert_cmpuint (free_served (&child), ==, 1);
  tracked_child_wait (&child);
  tracked_child_do (&child, CHILD_WRITE, 0, PAGES, 3);
  g_assert_cmpuint (free_served (&child), ==, 0);
}

/* Where pages are missing, too, writes are freed and missing pages stay missing. */
static void
test_served_and_missing (void)
{
  g_auto (TrackedChild) child;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 10, 1);
  guard (&child, child.memory.uffd_sync, UFFD_FEATURES_SYNC,
         UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING);
  tracked_child_order (&child, CHILD_WRITE, 5, 1, 2);
  assert_comes_to_wait (child.memory.uffd_sync);
  g_assert_cmpuint (free_served (&child), ==, 1);
  tracked_child_wait (&child);
  tracked_child_order (&child, CHILD_READ, 100, 1, 0);
  assert_comes_to_wait (child.memory.uffd_sync);
  free_served (&child);
  free_own (&child);
  assert_waits (&child, child.memory.uffd_sync);
}

/* A guest that is being restored lazily waits, whatever happens. */
static void
test_missing (void)
{
  g_auto (TrackedChild) child;
  struct uffdio_range all;

  if (!tracked_child_start (&child, PAGES))
    return;
  guard (&child, child.memory.uffd_async, UFFD_FEATURES_ASYNC,
         UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING);
  tracked_child_order (&child, CHILD_READ, 100, 1, 0);
  assert_comes_to_wait (child.memory.uffd_async);
  g_assert_cmpuint (free_served (&child), ==, 0);
  g_assert_cmpuint (free_own (&child), ==, 0);
  assert_waits (&child, child.memory.uffd_async);
  all = (struct uffdio_range){ .start = child.memory.address, .len = child.memory.bytes };
  struct uffdio_zeropage zeros = { .range = all };
  g_assert_no_errno (ioctl (child.memory.uffd_async, UFFDIO_ZEROPAGE, &zeros));
  tracked_child_wait (&child);
}

/* What QEMU forgot is freed; that is no business of whoever stands in for the daemon. */
static void
test_own (void)
{
  g_auto (TrackedChild) child;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracked_child_do (&child, CHILD_WRITE, 0, 10, 1);
  guard (&child, child.uffd_own, UFFD_FEATURES_SYNC, UFFDIO_REGISTER_MODE_WP);
  tracked_child_order (&child, CHILD_WRITE, 5, 1, 2);
  assert_comes_to_wait (child.uffd_own);
  g_assert_cmpuint (free_own (&child), ==, 1);
  tracked_child_wait (&child);
}

/* Tracking by the kernel is left alone by both. */
static void
test_async (void)
{
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;
  g_autoptr (PageBitmap) found = page_bitmap_new (PAGES);
  g_autoptr (GError) error = NULL;

  if (!tracked_child_start (&child, PAGES))
    return;
  tracker = dirty_tracker_new (&child.memory, child.log);
  if (!dirty_tracker_begin (tracker, TRACK_ASYNC, FALSE, &error)) {
    g_test_skip (error->message);
    return;
  }
  g_assert_cmpuint (free_own (&child), ==, 0);
  g_assert_cmpuint (free_served (&child), ==, 0);
  tracked_child_do (&child, CHILD_WRITE, 5, 1, 2);
  g_assert_true (dirty_tracker_collect (tracker, found, &error));
  g_assert_cmpuint (page_bitmap_count (found), ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/unprotect/served", test_served);
  g_test_add_func ("/unprotect/served-and-missing", test_served_and_missing);
  g_test_add_func ("/unprotect/missing", test_missing);
  g_test_add_func ("/unprotect/own", test_own);
  g_test_add_func ("/unprotect/async", test_async);
  return g_test_run();
}
