/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deltas: pages stored as the cache lines in which they differ from another page, their base, which
 * is stored in full. A frame of codec FRAME_DELTA holds a few of them:
 *
 *   hash of all that follows, head, name of each page's base, then (compressed) for each page a bit
 *   for each line that differs, and these lines
 */
#pragma once

#include "pack.h"

#define DELTA_LINE_BYTES 64
#define DELTA_LINES (PAGE_SIZE_BYTES / DELTA_LINE_BYTES)
/* Pages in a frame, which counts as holding them in full. */
#define DELTA_FRAME_PAGES (FRAME_MAX_BYTES / PAGE_SIZE_BYTES)

/* Which lines of two pages differ: bit i stands for the i-th. */
guint64 delta_compare (const guint8 *base, const guint8 *page);

/* ---- Writing ---- */

typedef struct _DeltaBuilder DeltaBuilder;

DeltaBuilder *delta_builder_new (void);
void delta_builder_free (DeltaBuilder *builder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DeltaBuilder, delta_builder_free)

/**
 * delta_builder_add:
 * @name: of the base
 * @base: its content, PAGE_SIZE_BYTES
 * @page: what is to be stored, PAGE_SIZE_BYTES
 * @max_lines: so many lines may differ
 *
 * At most DELTA_FRAME_PAGES times.
 *
 * Returns: FALSE if they differ in too many lines; then nothing was added.
 */
gboolean delta_builder_add (DeltaBuilder *builder, const ChunkName *name, const guint8 *base,
                            const guint8 *page, guint max_lines);

/* Pages added. */
guint delta_builder_count (const DeltaBuilder *builder);

/* The frame's bytes, of at least one page, with @context the thread's own compressor. */
GBytes *delta_builder_finish (DeltaBuilder *builder, ZSTD_CCtx *context, const HashKey *key);

/* ---- Reading ---- */

/* One page of a frame. */
typedef struct {
  ChunkName base;
  guint64 changed;     /* which lines differ */
  gboolean xored;      /* the lines are differences */
  const guint8 *lines; /* these, borrowed from the frame */
} Delta;

/**
 * delta_frame_decode:
 * @stored: the frame's bytes in the pack
 * @key: the store's
 *
 * Verifies the frame and unpacks it, for delta_frame_get().
 *
 * Returns: (transfer full): NULL with @error (STORE_ERROR_DAMAGED).
 */
GBytes *delta_frame_decode (GBytes *stored, const FrameInfo *info, const HashKey *key,
                            GError **error);

/* The @i-th page of an unpacked frame; FALSE if it has no such page. */
gboolean delta_frame_get (GBytes *frame, guint i, Delta *delta);

/* Turns @page, which holds the base's content, into what the delta stands for. */
void delta_apply (const Delta *delta, guint8 *page);
