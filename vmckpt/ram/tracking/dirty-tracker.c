/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-tracker.h"

#include "track-async.h"
#include "track-soft-dirty.h"
#include "track-sync.h"
#include "uffd.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <unistd.h>

struct _DirtyTracker {
  TrackedMemory memory;
  DirtyLog *log;
  char *keeper;        /* (nullable): directory of the guest whose keeper guards sync mode */
  KeeperGuard *guard;  /* (nullable): held in sync mode */
  WriteFaults *faults; /* in sync mode only */
  gboolean unwanted;   /* the way it is tracked is not the one that the environment asks for */
  gboolean orphaned;   /* a former daemon died in sync mode, and its keeper may be at work still */
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

gboolean
track_mode_wanted (TrackMode *mode, gboolean *tracked, GError **error)
{
  const char *wanted = g_getenv ("VMCKPT_TRACK");

  *mode = TRACK_NONE;
  *tracked = TRUE;
  if (wanted == NULL || *wanted == '\0')
    return TRUE;
  if (g_str_equal (wanted, "none")) {
    *tracked = FALSE;
    return TRUE;
  }
  for (TrackMode each = TRACK_ASYNC; each <= TRACK_COMPARE; each++)
    if (g_str_equal (wanted, track_mode_name (each)))
      *mode = each;
  if (*mode != TRACK_NONE)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "VMCKPT_TRACK is '%s'; it may be async, sync, soft-dirty, compare or none", wanted);
  return FALSE;
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

/* Sets how pages are tracked from now on. */
static void
set_mode (DirtyTracker *tracker, TrackMode mode)
{
  atomic_store (&dirty_log_header (tracker->log)->mode, mode);
}

/* ---- Sync mode's guard ---- */

static void
end_guard (DirtyTracker *tracker)
{
  if (tracker->guard != NULL)
    keeper_guard_end (tracker->guard, NULL);
  g_clear_pointer (&tracker->guard, keeper_guard_free);
}

void
dirty_tracker_set_keeper (DirtyTracker *tracker, const char *directory)
{
  g_free (tracker->keeper);
  tracker->keeper = g_strdup (directory);
  /* While there is none the keeper's successor watches this process itself. */
  if (tracker->guard != NULL && keeper_guard_is_lost (tracker->guard)) {
    keeper_guard_free (tracker->guard);
    tracker->guard = keeper_guard_take (directory, NULL);
  }
}

/* Waits until the keeper has freed a guest whose daemon died in sync mode: it must not take off
 * what is protected from now on. */
static void
await_keeper (DirtyTracker *tracker)
{
  g_autoptr (KeeperGuard) guard = NULL;

  if (!tracker->orphaned || tracker->keeper == NULL)
    return;
  guard = keeper_guard_take (tracker->keeper, NULL);
  if (guard != NULL)
    tracker->orphaned = !keeper_guard_end (guard, NULL);
}

/* ---- From one way to another ---- */

/* Ends how pages are tracked now: no memory is registered or protected any more, unless pages are
 * missing still: those would read as zeros. */
static void
end_mode (DirtyTracker *tracker)
{
  gboolean filling = dirty_log_source (tracker->log, NULL, NULL);

  /* An error can only mean that somebody else has ended it. */
  if (dirty_tracker_mode (tracker) == TRACK_ASYNC && !filling)
    uffd_unregister (tracker->memory.uffd_async, &tracker->memory, NULL);
  g_clear_pointer (&tracker->faults, write_faults_stop);
  set_mode (tracker, TRACK_NONE);
  atomic_store (&dirty_log_header (tracker->log)->copying, 0);
  /* Only now: a keeper that sees its guard break takes off what is there. */
  end_guard (tracker);
}

/* Nothing is known any more of what is written. */
static void
lose_track (DirtyTracker *tracker)
{
  dirty_log_forget_base (tracker->log);
  end_mode (tracker);
}

DirtyTracker *
dirty_tracker_new (const TrackedMemory *memory, DirtyLog *log)
{
  DirtyTracker *tracker = g_new0 (DirtyTracker, 1);
  TrackMode wanted, now;
  gboolean tracked;

  tracker->memory = *memory;
  tracker->log = log;
  if (dirty_tracker_mode (tracker) == TRACK_SYNC) {
    /* Who served its faults is dead, and what was written since then is not known. */
    track_sync_clean_up (memory);
    lose_track (tracker);
    tracker->orphaned = TRUE;
  }
  now = dirty_tracker_mode (tracker);
  if (track_mode_wanted (&wanted, &tracked, NULL))
    tracker->unwanted = wanted != TRACK_NONE && now != TRACK_NONE && now != wanted;
  return tracker;
}

void
dirty_tracker_free (DirtyTracker *tracker)
{
  if (tracker == NULL)
    return;
  if (tracker->faults != NULL)
    lose_track (tracker);
  g_free (tracker->keeper);
  g_free (tracker);
}

/* Takes up sync mode. The mode is noted before the guest can depend on this process: if that dies
 * in between, the next daemon finds the log in doubt. */
static gboolean
begin_sync (DirtyTracker *tracker, GError **error)
{
  if (tracker->keeper != NULL && tracker->guard == NULL) {
    tracker->guard = keeper_guard_take (tracker->keeper, error);
    if (tracker->guard == NULL)
      return FALSE;
  }
  set_mode (tracker, TRACK_SYNC);
  tracker->faults = track_sync_begin (&tracker->memory, tracker->log, error);
  if (tracker->faults != NULL)
    return TRUE;
  set_mode (tracker, TRACK_NONE);
  end_guard (tracker);
  return FALSE;
}

/* Begins to track in the way @mode, which is one; nothing is tracked now. */
static gboolean
begin_mode (DirtyTracker *tracker, TrackMode mode, GError **error)
{
  switch (mode) {
  case TRACK_ASYNC:
    return track_async_begin (&tracker->memory, tracker->log, error);
  case TRACK_SYNC:
    return begin_sync (tracker, error);
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
  static const TrackMode order[] = { TRACK_ASYNC, TRACK_SYNC, TRACK_SOFT_DIRTY };
  TrackMode wanted;
  gboolean tracked;

  if (!track_mode_wanted (&wanted, &tracked, NULL) || !tracked)
    return TRACK_COMPARE;
  for (guint i = 0; i < G_N_ELEMENTS (order); i++)
    if ((wanted == TRACK_NONE || wanted == order[i]) && begin_mode (tracker, order[i], NULL))
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

gboolean
dirty_tracker_begin (DirtyTracker *tracker, TrackMode mode, gboolean keep_base, GError **error)
{
  TrackMode now = dirty_tracker_mode (tracker);

  /* After copy-before-write it is dirty_tracker_settle() that leads back. */
  gboolean suits =
      mode == TRACK_NONE || mode == now || (mode == TRACK_ASYNC && tracker->faults != NULL);

  atomic_store (&dirty_log_header (tracker->log)->copying, 0);
  if (suits && !tracker->unwanted && is_tracked (tracker))
    return TRUE;
  if (!keep_base || now != TRACK_NONE)
    lose_track (tracker);
  tracker->unwanted = FALSE;
  await_keeper (tracker);
  if (mode == TRACK_NONE)
    mode = begin_best (tracker);
  else if (!begin_mode (tracker, mode, error))
    return FALSE;
  set_mode (tracker, mode);
  return TRUE;
}

/* ---- Copy-before-write ---- */

/* Goes over to @mode; the guest is stopped, and what it wrote is collected. On failure it is not
 * tracked. */
static gboolean
switch_mode (DirtyTracker *tracker, TrackMode mode, GError **error)
{
  if (dirty_tracker_mode (tracker) == mode)
    return TRUE;
  end_mode (tracker);
  if (begin_mode (tracker, mode, error)) {
    set_mode (tracker, mode);
    return TRUE;
  }
  lose_track (tracker);
  return FALSE;
}

gboolean
dirty_tracker_can_copy_before_write (DirtyTracker *tracker)
{
  return tracker->memory.uffd_sync >= 0 && !dirty_log_source (tracker->log, NULL, NULL) &&
         uffd_agree (tracker->memory.uffd_sync, UFFD_FEATURES_SYNC,
                     &dirty_log_header (tracker->log)->features_sync, NULL);
}

CopyBeforeWrite *
dirty_tracker_copy_before_write (DirtyTracker *tracker, const PageBitmap *pages, GError **error)
{
  ERROR_PREFIX (error, "copying the guest's pages before they are written");

  if (!dirty_tracker_can_copy_before_write (tracker)) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                         "write faults cannot be served here, or memory is still being filled");
    return NULL;
  }
  if (!switch_mode (tracker, TRACK_SYNC, error))
    return NULL;
  atomic_store (&dirty_log_header (tracker->log)->copying, 1);
  return copy_before_write_begin (tracker->faults, tracker->memory.memory, pages->words,
                                  pages->pages, COPY_BEFORE_WRITE_POOL_BYTES);
}

void
dirty_tracker_settle (DirtyTracker *tracker)
{
  TrackMode wanted;
  gboolean tracked;

  if (tracker->faults == NULL || !track_mode_wanted (&wanted, &tracked, NULL) ||
      (wanted != TRACK_NONE && wanted != TRACK_ASYNC) ||
      !uffd_agree (tracker->memory.uffd_async, UFFD_FEATURES_ASYNC,
                   &dirty_log_header (tracker->log)->features, NULL))
    return;
  switch_mode (tracker, TRACK_ASYNC, NULL);
}

/* ---- What was written ---- */

/* Collects what is known of writes in the way they are tracked. */
static gboolean
collect_mode (DirtyTracker *tracker, PageBitmap *found, GError **error)
{
  switch (dirty_tracker_mode (tracker)) {
  case TRACK_ASYNC:
    return track_async_collect (&tracker->memory, tracker->log, found, error);
  case TRACK_SYNC:
    return track_sync_collect (tracker->faults, tracker->log, found, error);
  case TRACK_SOFT_DIRTY:
    return track_soft_dirty_collect (&tracker->memory, tracker->log, found, error);
  case TRACK_COMPARE:
    return found == NULL || tracked_memory_populated (&tracker->memory, found, error);
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
  return tracked_memory_populated (&tracker->memory, populated, error);
}
