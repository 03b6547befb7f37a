/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest wrote since its last checkpoint, in memory that outlives the daemon: a memfd that
 * QEMU keeps (dirty-log-layout.h).
 *
 *   dirty_log_add()      a scan found these written; they count for the base and for the instant
 *   dirty_log_instant()  the guest is stopped and everything is collected: from here on counts what
 *                        is written after the checkpoint that is being made
 *   dirty_log_commit()   that checkpoint is durable and the base from now on
 *   dirty_log_rollback() it was given up: what was written before it counts again
 *
 * A daemon that is killed between any two steps leaves a log that names too many pages, never too
 * few, with one exception: killed within a scan, between protecting pages and noting them. Then the
 * base is forgotten (dirty_log_recover()) and contents have to be compared.
 *
 * One thread at a time, but for the bits themselves.
 */
#pragma once

#include "dirty-log-layout.h"
#include "page-bitmap.h"

#include <gio/gio.h>

typedef struct _DirtyLog DirtyLog;

/* How it is known what the guest writes (dirty-tracker.h); `mode` in the log. */
typedef enum {
  TRACK_NONE, /* not yet, or not any more; as a wish: the best there is */
  TRACK_ASYNC,
  TRACK_SYNC,
  TRACK_SOFT_DIRTY,
  TRACK_COMPARE,
} TrackMode;

/**
 * dirty_log_create:
 * @bytes: of RAM, a multiple of 4096
 *
 * Returns: a memfd that holds an empty log, close-on-exec, the caller's; or -1 with @error.
 */
int dirty_log_create (guint64 bytes, GError **error);

/**
 * dirty_log_open:
 * @fd: the log's memfd, duplicated
 * @bytes: of RAM, as its creator gave it
 *
 * Returns: NULL with @error (G_IO_ERROR_INVALID_DATA) if that is no log of such RAM.
 */
DirtyLog *dirty_log_open (int fd, guint64 bytes, GError **error);
/* Unmaps it; the log itself stays. */
void dirty_log_free (DirtyLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DirtyLog, dirty_log_free)

/* The memfd, borrowed. */
int dirty_log_fd (const DirtyLog *log);
/* The shared memory; for fields that have no function here. */
struct dirty_log_header *dirty_log_header (DirtyLog *log);
/* Pages of RAM. */
guint64 dirty_log_pages (const DirtyLog *log);

/**
 * dirty_log_recover:
 *
 * To be called by a daemon that takes over a running guest, before anything else: gives up a
 * checkpoint that its predecessor did not commit, and forgets the base if the log is in doubt.
 *
 * Returns: TRUE if it was in doubt: contents must be compared at the next checkpoint.
 */
gboolean dirty_log_recover (DirtyLog *log);

/* ---- The base: the checkpoint that the guest's memory is known relative to ---- */

/* FALSE if there is none, or nobody knows what was written since (TRACK_COMPARE): every page of the
 * guest counts as written. The strings are the log's, until it is asked again. */
gboolean dirty_log_base (DirtyLog *log, const char **store, const char **id);

/* The memory is that of checkpoint @id of store @store, and everything written from here on is
 * collected: of a guest that was just restored. Nothing is known of it before. */
void dirty_log_set_base (DirtyLog *log, const char *store, const char *id);

/* The base is that checkpoint from now on, which has the same memory as the one that is the base.
 */
void dirty_log_rename_base (DirtyLog *log, const char *store, const char *id);

/* There is no base any more, and no doubt: when tracking was lost or begins. */
void dirty_log_forget_base (DirtyLog *log);

/* Adds to @written what was written since the base, as far as it was collected. */
void dirty_log_read_written (DirtyLog *log, PageBitmap *written);

/* ---- From one checkpoint to the next ---- */

/* A scan begins, which takes away what the kernel knows, and ends: everything is in the log. */
void dirty_log_begin_scan (DirtyLog *log);
void dirty_log_end_scan (DirtyLog *log);

/* Pages @first to @end (excluded) were written. Any thread. */
void dirty_log_add (DirtyLog *log, guint64 first, guint64 end);

/* See above. An instant that is neither committed nor given up is given up first. */
void dirty_log_instant (DirtyLog *log);
void dirty_log_commit (DirtyLog *log, const char *store, const char *id);
void dirty_log_rollback (DirtyLog *log);

/* ---- What the preloaded object notes ---- */

/**
 * dirty_log_take_marks:
 * @found: (nullable): the pages are added to it
 *
 * Takes the pages that were discarded, or that the kernel may have written in a way that it does
 * not show (preload-marks.h), since this was called last; they count as written. Discarded ones
 * become "present". May be called while the guest runs. Transfers that were begun and of which the
 * end is not seen are taken again each time, until dirty_log_instant().
 *
 * Returns: how many bits were set.
 */
guint64 dirty_log_take_marks (DirtyLog *log, PageBitmap *found);

/* ---- The checkpoint that pages are filled from lazily ---- */

/* FALSE if there is none: every page is there. */
gboolean dirty_log_source (DirtyLog *log, const char **store, const char **id);
/* Pages are missing from now on; "present" is cleared. Before the guest runs. */
void dirty_log_set_source (DirtyLog *log, const char *store, const char *id);
/* All pages are there. */
void dirty_log_clear_source (DirtyLog *log);

/* Whether @page must not be filled from the source: it was, or it was discarded after that. Zeros
 * are right for it if it is missing. Any thread. */
gboolean dirty_log_is_present (DirtyLog *log, guint64 page);
/* Pages @first to @end (excluded) were filled. Any thread. */
void dirty_log_set_present (DirtyLog *log, guint64 first, guint64 end);
/* Adds to @present the pages of which dirty_log_is_present() is true. */
void dirty_log_read_present (DirtyLog *log, PageBitmap *present);
