/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/track-probe.h>

#include "dirty-tracker.h"
#include "tracked-child.h"

/* What is said to be there works in another process, and what is said to lack has a reason. */
static void
test_it_says_what_works (void)
{
  g_auto (TrackProbe) probe = { 0 };
  g_auto (TrackedChild) child;
  g_autoptr (DirtyTracker) tracker = NULL;

  track_probe (&probe);
  g_assert_cmpint (probe.lacks == NULL, ==, probe.async);
  g_test_message ("async %d, sync %d, soft-dirty %d: %s", probe.async, probe.sync, probe.soft_dirty,
                  probe.lacks != NULL ? probe.lacks : "nothing lacks");
  if (!tracked_child_start (&child, 16))
    return;
  tracker = dirty_tracker_new (&child.memory, child.log);
  g_assert_cmpint (dirty_tracker_begin (tracker, TRACK_ASYNC, FALSE, NULL), ==, probe.async);
  g_assert_cmpint (dirty_tracker_begin (tracker, TRACK_SOFT_DIRTY, FALSE, NULL), ==,
                   probe.soft_dirty);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/track-probe/works", test_it_says_what_works);
  return g_test_run();
}
