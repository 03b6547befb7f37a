/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The RAM of a tracked guest on its way into a page map: first what was written since the base, or
 * everything, in rounds while the guest runs; then, at the pause, what was written since the last
 * round.
 *
 *   tracker ─ pages ─▶ memory file ──pread──▶ PageBuffer ──▶ PageMapWriter, on top of the base
 *
 * Where there is no base in this store, all that is populated is read, and compared with the
 * parent's map if there is a parent.
 */
#pragma once

#include "capture-session.h"
#include "dirty-tracker.h"
#include "page-buffer.h"
#include "rounds.h"

#include <vmckpt/ram/guest-fill.h>

typedef struct {
  CaptureSession *session; /* borrowed; its context must have a `tracking` */
  DirtyLog *log;
  DirtyTracker *tracker;
  guint64 bytes;       /* of RAM */
  const char *block;   /* name of its block */
  const PageMap *base; /* (nullable) borrowed: the map that pages are put onto */
  GuestFill *held;     /* (nullable) borrowed: the memory is incomplete, its registration held */
  gboolean known;      /* what was written since @base is known; else contents are compared */
  PageMapWriter *map;  /* NULL once it was given away */
  PageBuffer *buffer;
  PageBitmap *pages;       /* to be copied next */
  RoundsInput rates;       /* what was measured so far */
  TrackMode wanted;        /* of tracking; TRACK_NONE: the best */
  gboolean forced;         /* copy-before-write is asked for, whatever the guest writes */
  CopyBeforeWrite *behind; /* (nullable) copies the last pages while the guest runs again */
  gint64 collected_us;     /* when the tracker was asked last */
} PageCopy;

/**
 * page_copy_begin:
 *
 * Sees to it that writes are tracked, decides on the base, and finds the first pages to copy. The
 * guest may run. RAM_ERROR_IMPOSSIBLE, with the reason, if writes cannot be tracked.
 */
gboolean page_copy_begin (PageCopy *copy, CaptureSession *session, GError **error);
/* Frees what it holds. */
void page_copy_clear (PageCopy *copy);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PageCopy, page_copy_clear)

/**
 * page_copy_rounds:
 * @behind: pages may be copied before they are written to, after the guest was resumed
 *
 * Copies while the guest runs, until the guest should be stopped. Memory for the last pages is
 * there afterwards. Fills in the report's `tracking`.
 */
gboolean page_copy_rounds (PageCopy *copy, gboolean behind, RoundsDecision *last, GError **error);

/* At the pause: collects what is left and copies it into memory; if there is too much of it, sees
 * to its being copied before it is written to, or else copies it into the store. Any one thread. */
gboolean page_copy_last (PageCopy *copy, GError **error);

/* After the pause: what is in memory, and what is still to be copied, goes to the map. */
gboolean page_copy_finish (PageCopy *copy, GError **error);
