/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-tracker.h"

#include "track-async.h"

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
  static const TrackMode order[] = { TRACK_ASYNC };

  for (guint i = 0; i < G_N_ELEMENTS (order); i++)
    if (begin_mode (tracker, order[i], NULL))
      return order[i];
  return TRACK_COMPARE;
}

gboolean
dirty_tracker_begin (DirtyTracker *tracker, TrackMode mode, gboolean keep_base, GError **error)
{
  TrackMode now = dirty_tracker_mode (tracker);

  if (now != TRACK_NONE && (mode == TRACK_NONE || mode == now))
    return TRUE;
  if (!keep_base)
    dirty_log_forget_base (tracker->log);
  if (mode == TRACK_NONE)
    mode = begin_best (tracker);
  else if (!begin_mode (tracker, mode, error))
    return FALSE;
  atomic_store (&dirty_log_header (tracker->log)->mode, mode);
  return TRUE;
}

gboolean
dirty_tracker_collect (DirtyTracker *tracker, PageBitmap *found, GError **error)
{
  ERROR_PREFIX (error, "finding out which pages the guest wrote");

  dirty_log_take_marks (tracker->log, found);
  switch (dirty_tracker_mode (tracker)) {
  case TRACK_ASYNC:
    return track_async_collect (&tracker->memory, tracker->log, found, error);
  case TRACK_COMPARE:
    return found == NULL || dirty_tracker_populated (tracker, found, error);
  default:
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "it is not tracked");
    return FALSE;
  }
}

gboolean
dirty_tracker_populated (DirtyTracker *tracker, PageBitmap *populated, GError **error)
{
  guint64 bytes = tracker->memory.bytes;
  off_t at = 0;

  /* What shared memory has no page for was never touched, or was discarded; pages that are swapped
   * out count as data. */
  while ((guint64)at < bytes) {
    off_t data = lseek (tracker->memory.memory, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
      return TRUE;
    off_t hole = data < 0 ? -1 : lseek (tracker->memory.memory, data, SEEK_HOLE);
    if (hole < 0)
      return fd_set_errno_error (error, "looking for populated pages of the guest's memory");
    page_bitmap_set_range (populated, data / DIRTY_LOG_PAGE_BYTES,
                           ((guint64)hole + DIRTY_LOG_PAGE_BYTES - 1) / DIRTY_LOG_PAGE_BYTES);
    at = hole;
  }
  return TRUE;
}
