/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One checkpoint being written: a transaction that leaves nothing visible unless it is committed.
 */
#pragma once

#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/**
 * store_writer_begin:
 *
 * Announces a writer to gc and readies the pipeline. The Store must outlive it.
 *
 * Returns: NULL with @error: the store is full, unwritable or unreachable — found out here, before
 * the guest is touched.
 */
StoreWriter *store_writer_begin (Store *store, GError **error);

/**
 * store_writer_enforce_quota:
 * @guest: whose checkpoint is to be written
 *
 * Holds the transaction to the limits of the store and of the guest (quota.h): once packs pass one,
 * it fails. What comes after the packs, index table and manifest, is about one part in a hundred
 * and may go beyond. Before anything is put. What others write at the same time counts from when it
 * is there.
 *
 * Returns: FALSE with STORE_ERROR_QUOTA if a limit is reached already.
 */
gboolean store_writer_enforce_quota (StoreWriter *writer, const char *guest, GError **error);

/* Aborts unless committed: removes the announcement and what this writer wrote (after a flush,
 * which let others find it, that is left to gc). Never fails. */
void store_writer_free (StoreWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreWriter, store_writer_free)

/* Stores @len bytes as a map of their own (device state, a kernel). */
gboolean store_writer_put_data (StoreWriter *writer, const guint8 *data, gsize len, PageMap *map,
                                GError **error);

/* Whether pages that changed little are stored as the cache lines that differ from what the base
 * map has there. */
typedef enum {
  STORE_DELTA_AUTO, /* as long as it pays: many do, and reading what they were does not take long */
  STORE_DELTA_NEVER,
  STORE_DELTA_ALWAYS,
} StoreDeltaMode;

/* Sets it for pages put from now on. AUTO otherwise. */
void store_writer_set_delta (StoreWriter *writer, StoreDeltaMode mode);

typedef struct {
  guint64 new_bytes;      /* uncompressed bytes of pages that were new to the store */
  guint64 stored_bytes;   /* bytes of all objects written, manifest included */
  guint64 metadata_bytes; /* of these: page-map nodes, before compression */
  guint64 index_bytes;    /* of these: index tables, with those that were merged */
  guint64 delta_pages;    /* pages that were stored as deltas */
} StoreWriterStats;

/* Counts so far; exact after everything was finished. */
void store_writer_stats (StoreWriter *writer, StoreWriterStats *stats);

/**
 * store_writer_flush:
 *
 * Makes every chunk and the index durable, so that commit only has to write the manifest, and the
 * counts are final (but for the manifest itself). More may be put afterwards, also on top of maps
 * that were flushed. No page may be put meanwhile.
 */
gboolean store_writer_flush (StoreWriter *writer, GCancellable *cancellable, GError **error);

/**
 * store_writer_commit:
 * @manifest: (inout): its id is set
 *
 * Flushes and then writes the manifest, last. After TRUE the checkpoint exists and is durable;
 * after FALSE it does not exist.
 */
gboolean store_writer_commit (StoreWriter *writer, Manifest *manifest, GCancellable *cancellable,
                              GError **error);

/* Has store_writer_commit() call @func as soon as the checkpoint exists, before it tidies up: for
 * whoever waits for the checkpoint alone. */
void store_writer_on_commit (StoreWriter *writer, void (*func) (gpointer user_data),
                             gpointer user_data);

/* Reads a whole map back, verified, up to @max bytes. */
GBytes *store_read_data (Store *store, const PageMap *map, gsize max, GError **error);
