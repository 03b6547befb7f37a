/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of a page into the store:
 *
 *   batch of pages ─▶ workers hash ─▶ in order: dedup ─▶ frame ─▶ workers compress ─▶ pack ─▶ put
 *
 * Bounded: a batch that is not accepted yet makes the caller wait. The first error ends it all:
 * later batches fall through without work, and every call returns that error.
 */
#pragma once

#include "buffer-pool.h"
#include "delta-base.h"
#include "quota-limit.h"

#define BATCH_PAGES 256

typedef struct _Pipeline Pipeline;

/* Pages on their way; @deliver gets them in the order of submission, one batch at a time, hashed.
 */
typedef struct _Batch Batch;
typedef gboolean (*BatchFunc) (Batch *batch, GError **error);

struct _Batch {
  BatchFunc deliver;  /* called with the pipeline's dedup lock held */
  gpointer user_data; /* the deliverer's */
  guint count;
  guint64 pages[BATCH_PAGES];
  ChunkName names[BATCH_PAGES]; /* set by the workers; all zeros for a page of zeros */
  BufferPool *pool;             /* of `data` */
  guint8 *data;                 /* BATCH_PAGES pages */
  guint64 serial;               /* the pipeline's */
  gboolean hashed;
};

/**
 * pipeline_new:
 * @view: the index against which chunks are deduplicated
 * @skip: (nullable): packs that do not count: they are condemned
 */
Pipeline *pipeline_new (Store *store, IndexView *view, GHashTable *skip, GError **error);

/* Holds all that will be put to the store's limits: beyond them it fails with STORE_ERROR_QUOTA.
 * Takes @room. Before anything is submitted. */
void pipeline_limit (Pipeline *pipeline, QuotaRoom *room);

/* Ends the threads; what was not sealed is dropped, and nothing more is put. */
void pipeline_stop (Pipeline *pipeline);

/* Stops and frees. */
void pipeline_free (Pipeline *pipeline);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Pipeline, pipeline_free)

Batch *batch_new (Pipeline *pipeline, BatchFunc deliver, gpointer user_data);
void batch_free (Batch *batch);

/* Hands over a batch; waits while too many are on their way. Any thread. */
gboolean pipeline_submit (Pipeline *pipeline, Batch *batch, GError **error);

/* Waits until every batch submitted so far was delivered or dropped. */
gboolean pipeline_wait_delivered (Pipeline *pipeline, GError **error);

/* What became of a chunk. */
typedef enum { CHUNK_KNOWN, CHUNK_FRESH } ChunkFate;

/* Adds a named chunk if it is new. With the dedup lock held, that is, from a BatchFunc. */
ChunkFate pipeline_add_locked (Pipeline *pipeline, PackKind kind, const ChunkName *name,
                               const guint8 *data, gsize len);

/* The same for a page whose former content was @former: it may be stored as a delta. */
ChunkFate pipeline_add_changed_locked (Pipeline *pipeline, const ChunkName *name,
                                       const ChunkName *former, const guint8 *data);

/* Names and adds one chunk from outside, in full: a copy that is a delta does not count; @name:
 * (out). */
gboolean pipeline_add (Pipeline *pipeline, PackKind kind, GBytes *bytes, ChunkName *name,
                       GError **error);

/* Names and adds one page from outside, as a change to @former if possible. */
gboolean pipeline_add_changed (Pipeline *pipeline, GBytes *page, const ChunkName *former,
                               GError **error);

void pipeline_set_delta (Pipeline *pipeline, StoreDeltaMode mode);

/**
 * pipeline_seal:
 * @contents: (out) (transfer full): what the packs hold that were put since the last seal
 *
 * Waits for everything, and completes and puts the packs. They are not synced.
 */
gboolean pipeline_seal (Pipeline *pipeline, IndexContents **contents, GError **error);

/* Chunks that a seal made findable in @view need not be remembered any more. */
void pipeline_use_view (Pipeline *pipeline, IndexView *view);

/* New chunks since the last seal, about. */
guint64 pipeline_unsealed (Pipeline *pipeline);

/* A table names the packs of the last seal: they are not the writer's any more. */
void pipeline_forget_packs (Pipeline *pipeline);

/* Names of the packs that were put and not forgotten. (transfer full) */
GPtrArray *pipeline_packs (Pipeline *pipeline);

typedef struct {
  guint64 new_bytes, stored_bytes, metadata_bytes, delta_pages;
} PipelineStats;

void pipeline_stats (Pipeline *pipeline, PipelineStats *stats);
