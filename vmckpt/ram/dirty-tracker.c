/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-tracker.h"

#include "track-async.h"
#include "track-soft-dirty.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <unistd.h>

struct _DirtyTracker {
  TrackedMemory memory;
  DirtyLog *log;
};

const char *
track_mode_name (TrackMode mode)
{
  static const char *const names[] = {
    [TRACK_NONE] = "none",       [TRACK_ASYNC] = "async",
    [TRACK_SYNC] = "sync",       [TRACK_SOFT_DIRTY] = "soft-dirty",
    [TRACK_COMPARE] = "compare",
  };

  return mode < G_N_ELEMENTS (names) ? names[mode] : "unknown";
}

DirtyTracker *
dirty_tracker_new (const TrackedMemory *memory, DirtyLog *log)
{
  DirtyTracker *tracker = g_new0 (DirtyTracker, 1);

  tracker->memory = *memory;
  tracker->log = log;
  return tracker;
}

void
dirty_tracker_free (DirtyTracker *tracker)
{
  g_free (tracker);
}

TrackMode
dirty_tracker_mode (const DirtyTracker *tracker)
{
  return atomic_load (&dirty_log_header (tracker->log)->mode);
}

gboolean
dirty_tracker_is_live (const DirtyTracker *tracker)
{
  TrackMode mode = dirty_tracker_mode (tracker);

  return mode == TRACK_ASYNC || mode == TRACK_SYNC;
}

/* Begins to track in the way @mode, which is one. */
static gboolean
begin_mode (DirtyTracker *tracker, TrackMode mode, GError **error)
{
  switch (mode) {
  case TRACK_ASYNC:
    return track_async_begin (&tracker->memory, tracker->log, error);
  case TRACK_SOFT_DIRTY:
    return track_soft_dirty_begin (&tracker->memory, error);
  case TRACK_COMPARE:
    return TRUE;
  default:
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "tracking in %s mode is not possible",
                 track_mode_name (mode));
    return FALSE;
  }
}

/* Begins to track in the best way that works, and says which that is. */
static TrackMode
begin_best (DirtyTracker *tracker)
{
  static const TrackMode order[] = { TRACK_ASYNC, TRACK_SOFT_DIRTY };

  for (guint i = 0; i < G_N_ELEMENTS (order); i++)
    if (begin_mode (tracker, order[i], NULL))
      return order[i];
  return TRACK_COMPARE;
}

/* Whether it is tracked as the log says. Somebody may have taken the protection off: the keeper
 * does, to free a guest that waits. */
static gboolean
is_tracked (DirtyTracker *tracker)
{
  TrackMode mode = dirty_tracker_mode (tracker);

  return mode == TRACK_ASYNC ? track_async_is_on (&tracker->memory) : mode != TRACK_NONE;
}

/* Nothing is known any more of what is written. */
static void
lose_track (DirtyTracker *tracker)
{
  dirty_log_forget_base (tracker->log);
  atomic_store (&dirty_log_header (tracker->log)->mode, TRACK_NONE);
}

gboolean
dirty_tracker_begin (DirtyTracker *tracker, TrackMode mode, gboolean keep_base, GError **error)
{
  TrackMode now = dirty_tracker_mode (tracker);

  if (is_tracked (tracker) && (mode == TRACK_NONE || mode == now))
    return TRUE;
  if (!keep_base || now != TRACK_NONE)
    lose_track (tracker);
  if (mode == TRACK_NONE)
    mode = begin_best (tracker);
  else if (!begin_mode (tracker, mode, error))
    return FALSE;
  atomic_store (&dirty_log_header (tracker->log)->mode, mode);
  return TRUE;
}

/* Collects what the kernel knows. */
static gboolean
collect_mode (DirtyTracker *tracker, PageBitmap *found, GError **error)
{
  switch (dirty_tracker_mode (tracker)) {
  case TRACK_ASYNC:
    return track_async_collect (&tracker->memory, tracker->log, found, error);
  case TRACK_SOFT_DIRTY:
    return track_soft_dirty_collect (&tracker->memory, tracker->log, found, error);
  case TRACK_COMPARE:
    return found == NULL || memory_populated (&tracker->memory, found, error);
  default:
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "it is not tracked");
    return FALSE;
  }
}

gboolean
dirty_tracker_collect (DirtyTracker *tracker, PageBitmap *found, GError **error)
{
  ERROR_PREFIX (error, "finding out which pages the guest wrote");

  dirty_log_take_marks (tracker->log, found);
  if (collect_mode (tracker, found, error))
    return TRUE;
  lose_track (tracker);
  return FALSE;
}

gboolean
dirty_tracker_populated (DirtyTracker *tracker, PageBitmap *populated, GError **error)
{
  return memory_populated (&tracker->memory, populated, error);
}

gboolean
memory_populated (const TrackedMemory *memory, PageBitmap *populated, GError **error)
{
  off_t at = 0;

  /* What shared memory has no page for was never touched, or was discarded; pages that are swapped
   * out count as data. */
  while ((guint64)at < memory->bytes) {
    off_t data = lseek (memory->memory, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
      return TRUE;
    off_t hole = data < 0 ? -1 : lseek (memory->memory, data, SEEK_HOLE);
    if (hole < 0)
      return fd_set_errno_error (error, "looking for populated pages of the guest's memory");
    page_bitmap_set_range (populated, data / DIRTY_LOG_PAGE_BYTES,
                           ((guint64)hole + DIRTY_LOG_PAGE_BYTES - 1) / DIRTY_LOG_PAGE_BYTES);
    at = hole;
  }
  return TRUE;
}
