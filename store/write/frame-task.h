/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A frame on its way through the pipeline: chunks of one kind of content, filled one after the
 * other, then compressed as one. It belongs to one thread at a time.
 */
#pragma once

#include "buffer-pool.h"
#include "delta.h"

/* What is in a frame: like goes with like. */
typedef enum { FRAME_OF_PAGES, FRAME_OF_NODES, FRAME_OF_NOISE, FRAME_CONTENT_COUNT } FrameContent;

typedef struct {
  BufferPool *pool; /* (not owned) of `raw` */
  FrameContent content;
  PackKind kind;
  guint32 id; /* the pipeline's: place in the contents' frames */
  GByteArray *raw;
  GArray *chunks;  /* of PackChunk */
  GArray *formers; /* (nullable) of ChunkName: pages that may become deltas to these */
} FrameTask;

/* An empty frame; @pool: of buffers of FRAME_TARGET_BYTES, outlives it. Newly allocated. */
FrameTask *frame_task_new (BufferPool *pool, FrameContent content);

/* The same for pages that changed: each has a former content. */
FrameTask *frame_task_new_changing (BufferPool *pool);

/* Frees @task; NULL is ignored. */
void frame_task_free (FrameTask *task);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FrameTask, frame_task_free)

/* In which frames a chunk of @len bytes goes. */
FrameContent frame_content_of (PackKind kind, const guint8 *data, gsize len);

/* Adds a chunk. Returns where it is in the uncompressed frame. */
guint32 frame_task_add (FrameTask *task, const ChunkName *name, const guint8 *data, gsize len);

/* Adds a page that changed from @former, to a frame for these. */
void frame_task_add_changed (FrameTask *task, const ChunkName *name, const ChunkName *former,
                             const guint8 *page);

/* Adds page @index of @from. */
void frame_task_add_from (FrameTask *task, const FrameTask *from, guint index);

/* The bytes of chunk @index, borrowed. */
const guint8 *frame_task_chunk (const FrameTask *task, guint index);

/* Whether it is to be closed: it has as much in it as is compressed at once. */
gboolean frame_task_is_full (const FrameTask *task);

/* Takes everything out. */
void frame_task_empty (FrameTask *task);

/* What is to be stored of it: the task's own bytes, or the encoder's: good until either changes.
 * (transfer full) */
GBytes *frame_task_encode (const FrameTask *task, FrameEncoder *encoder, FrameCodec *codec);
