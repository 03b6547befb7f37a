/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pages of its RAM a guest writes, from outside QEMU, with no work of QEMU's.
 *
 *   dirty_tracker_begin()      every page is protected; what is written from now on is known
 *   dirty_tracker_collect()    what was written since the last time, which is protected again
 *   dirty_tracker_populated()  which pages have content at all: what to read where there is no base
 *
 * What is collected is in the dirty log before dirty_tracker_collect() returns. To be read are the
 * pages of a collection, after it: a page that is written while it is read is in the next one, and
 * at the last one the guest is stopped.
 *
 * Pages that nobody ever touched are never found and need not be read: where there is no base
 * (dirty_log_base()), the pages to read are those of dirty_tracker_populated(), called after
 * dirty_tracker_begin(); all others are zeros, and every change of that is collected.
 *
 * Ways to know (TrackMode), the best that kernel and QEMU have:
 *
 *   async       write-protection that the kernel itself takes off at the first write, and
 *               PAGEMAP_SCAN, which tells and protects in one step (Linux 6.7)
 *   sync        the first write to each page waits until this process has noted it (Linux 5.19)
 *   soft-dirty  /proc/PID/clear_refs and pagemap, where the kernel has it; asking and clearing
 *               are two steps, so the guest must be stopped to collect
 *   compare     nothing is known: every populated page is found, each time
 *
 * One thread at a time.
 */
#pragma once

#include "copy-before-write.h"
#include "dirty-log.h"
#include "tracked-memory.h"

#include <vmckpt/keeper/keeper.h>

#include <sys/types.h>

/* "async", "sync", "soft-dirty", "compare"; "none". */
const char *track_mode_name (TrackMode mode);

/**
 * track_mode_wanted:
 * @mode: (out): TRACK_NONE: the best that works
 * @tracked: (out): FALSE: guests are not to be tracked at all, but captured by the `stream` engine
 *
 * What VMCKPT_TRACK in the environment asks for: async, sync, soft-dirty, compare or none. FALSE
 * with @error (G_IO_ERROR_INVALID_ARGUMENT) for anything else.
 */
gboolean track_mode_wanted (TrackMode *mode, gboolean *tracked, GError **error);

typedef struct _DirtyTracker DirtyTracker;

/**
 * dirty_tracker_new:
 * @memory: copied
 * @log: of that guest; borrowed, outlives the tracker
 *
 * Finds out how the guest is tracked already, by a former daemon (the log knows), or else nothing
 * yet. Touches nothing.
 */
DirtyTracker *dirty_tracker_new (const TrackedMemory *memory, DirtyLog *log);
/* Frees @tracker; the guest stays tracked. Not in sync mode: nobody would serve its faults, so its
 * memory is freed, and the base forgotten. */
void dirty_tracker_free (DirtyTracker *tracker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DirtyTracker, dirty_tracker_free)

/**
 * dirty_tracker_set_keeper:
 * @directory: the guest's
 *
 * Whose keeper is to free the guest if this process dies while it serves the guest's faults. Sync
 * mode is refused if it cannot; without this call nobody does. A guard that was lost with its
 * keeper is taken anew.
 */
void dirty_tracker_set_keeper (DirtyTracker *tracker, const char *directory);

/* How pages are tracked: TRACK_NONE before dirty_tracker_begin(). */
TrackMode dirty_tracker_mode (const DirtyTracker *tracker);

/* Whether collecting while the guest runs loses nothing (async and sync). */
gboolean dirty_tracker_is_live (const DirtyTracker *tracker);

/**
 * dirty_tracker_begin:
 * @mode: TRACK_NONE for the best that works
 * @error: only if @mode is not TRACK_NONE and does not work: G_IO_ERROR_NOT_SUPPORTED, with the
 * reason
 *
 * Protects all of the RAM: 5 to 20 ms for each 2 GiB while the guest runs, if it is populated. Does
 * nothing if it is tracked in that way already: to be called before each checkpoint. If it was
 * tracked otherwise, or the protection was taken off, the base is forgotten; also if it was not
 * tracked at all, unless @keep_base: of a guest that has not run since its memory was its base's.
 */
gboolean dirty_tracker_begin (DirtyTracker *tracker, TrackMode mode, gboolean keep_base,
                              GError **error);

/**
 * dirty_tracker_collect:
 * @found: (nullable): the pages written since the last time are added to it
 *
 * Returns: FALSE with @error (G_IO_ERROR) if the kernel refused. The guest is then not tracked any
 * more, and its base is forgotten: begin again, and make a full checkpoint.
 */
gboolean dirty_tracker_collect (DirtyTracker *tracker, PageBitmap *found, GError **error);

/* Adds to @populated the pages that were ever touched, or are written now; all others are zeros.
 * Reads no memory. */
gboolean dirty_tracker_populated (DirtyTracker *tracker, PageBitmap *populated, GError **error);

/* ---- Copy-before-write ---- */

/**
 * dirty_tracker_copy_before_write:
 * @pages: to be copied
 *
 * To be called while the guest is stopped and everything written is collected: goes over to sync
 * mode and lets the guest be resumed before @pages are copied (copy-before-write.h). Pages may be
 * collected meanwhile. The base is kept. What is written afterwards goes on being tracked in sync
 * mode, until dirty_tracker_settle().
 *
 * Returns: to be freed before @tracker and before the next dirty_tracker_begin() or _settle(); NULL
 * with @error, G_IO_ERROR_NOT_SUPPORTED if it cannot be done here: nothing has changed then, or the
 * base is forgotten.
 */
CopyBeforeWrite *dirty_tracker_copy_before_write (DirtyTracker *tracker, const PageBitmap *pages,
                                                  GError **error);

/* Whether that can be done here, as far as can be told without trying. */
gboolean dirty_tracker_can_copy_before_write (DirtyTracker *tracker);

/**
 * dirty_tracker_settle:
 *
 * To be called while the guest is stopped and everything written is collected: goes back from sync
 * mode to the one that costs the guest less, if there is one. The base is kept. If that fails,
 * tracking begins anew at the next dirty_tracker_begin().
 */
void dirty_tracker_settle (DirtyTracker *tracker);
