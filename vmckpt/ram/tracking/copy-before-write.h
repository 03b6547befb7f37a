/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copy-before-write: the guest runs on from the instant of its checkpoint although pages are still
 * to be copied. A write to such a page waits until the page is in a buffer.
 *
 *   the guest stands:  all is write-protected (write-faults.h), copy_before_write_begin
 *
 *   the guest runs:    fault on a page to be copied ─▶ copied ─┐
 *                      background thread, in order ──▶ copied ─┴▶ pool ─▶ copy_before_write_drain
 *
 * When the pool is full both wait for the drain: the guest is slowed, never wrong. A part of the
 * pool is kept for faults, so that the background does not stand in their way.
 *
 * A page that is discarded (balloon, free page reporting) while it is to be copied is no fault: the
 * preloaded object touches such pages before it lets the discard through (dirty-log-layout.h).
 */
#pragma once

#include "write-faults.h"

#include <vmckpt/store/page-map.h>

/* Default size of the pool. */
#define COPY_BEFORE_WRITE_POOL_BYTES (G_GUINT64_CONSTANT (32) << 20)

typedef struct _CopyBeforeWrite CopyBeforeWrite;

/* What it took. */
typedef struct {
  guint64 pages;         /* to be copied at the instant */
  guint64 copied_faults; /* of these: since the guest was about to write them or a neighbour */
  guint64 waits;         /* faults that had to wait for room in the pool */
  gint64 wait_us;        /* how long, all together */
} CopyBeforeWriteStats;

/**
 * copy_before_write_begin:
 * @faults: serves the range's faults, all of it protected; outlives this
 * @memory: the RAM's memfd; borrowed, outlives this
 * @pages: pages to be copied, a bit each, lowest of a word first; copied
 * @count: of pages in the range
 * @pool_bytes: of buffers, at least 1 MiB
 *
 * Call it while the guest is stopped; from then on the guest may run.
 */
CopyBeforeWrite *copy_before_write_begin (WriteFaults *faults, int memory, const guint64 *pages,
                                          guint64 count, gsize pool_bytes);

/**
 * copy_before_write_drain:
 * @func: gets each page once, as it was at the instant, in no order; never NULL data
 *
 * Hands out pages until all have come. Blocks; one thread. On failure (of @func, of reading, or
 * cancelled) the copying is given up: the guest waits for nothing any more.
 */
gboolean copy_before_write_drain (CopyBeforeWrite *copy, PageFunc func, gpointer user_data,
                                  GCancellable *cancellable, GError **error);

/* What was done so far. */
CopyBeforeWriteStats copy_before_write_stats (CopyBeforeWrite *copy);

/* Ends it, given up if not all was drained; faults are served on without a guard. */
void copy_before_write_free (CopyBeforeWrite *copy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CopyBeforeWrite, copy_before_write_free)
