/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What page-map writers and gc need of a transaction. */
#pragma once

#include <vmckpt/store/writer.h>

#include "pipeline.h"

/* As store_writer_begin(), with more packs that do not count as having anything: gc moves what is
 * needed out of them. @avoid: (nullable): set of ChunkName. */
StoreWriter *store_writer_begin_avoiding (Store *store, GHashTable *avoid, GError **error);

Store *store_writer_store (StoreWriter *writer);
Pipeline *store_writer_pipeline (StoreWriter *writer);

/**
 * store_writer_bound:
 *
 * Publishes what was written so far if that is more than a transaction should remember: called now
 * and then while pages are put. Any thread.
 */
gboolean store_writer_bound (StoreWriter *writer, GError **error);

/* What a transaction remembers at most. */
typedef struct {
  guint64 chunks; /* new chunks: their names and entries take about 70 MiB */
  gint changes;   /* changed pages of a map, 40 bytes each, until they are folded into one */
} WriterBounds;
#define WRITER_BOUNDS ((WriterBounds){ .chunks = 256 * 1024, .changes = 256 * 1024 })

/* Other bounds than WRITER_BOUNDS, for what is begun from now on. */
void store_writer_set_bounds (StoreWriter *writer, WriterBounds bounds);
const WriterBounds *store_writer_bounds (StoreWriter *writer);

/**
 * store_writer_check_base:
 *
 * Makes sure that what @base refers to will not be deleted while the transaction lasts: a
 * checkpoint has it, or all of its chunks are found and none is condemned.
 *
 * Returns: FALSE with STORE_ERROR_NOT_FOUND or the error met.
 */
gboolean store_writer_check_base (StoreWriter *writer, const PageMap *base, GError **error);
