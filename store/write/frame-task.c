/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame-task.h"

FrameTask *
frame_task_new (BufferPool *pool, FrameContent content)
{
  FrameTask *task = g_new0 (FrameTask, 1);

  task->content = content;
  task->kind = content == FRAME_OF_NODES ? PACK_METADATA : PACK_DATA;
  task->pool = pool;
  task->raw = buffer_pool_take_array (pool);
  task->chunks = g_array_new (FALSE, FALSE, sizeof (PackChunk));
  return task;
}

FrameTask *
frame_task_new_changing (BufferPool *pool)
{
  FrameTask *task = frame_task_new (pool, FRAME_OF_PAGES);

  task->formers = g_array_new (FALSE, FALSE, sizeof (ChunkName));
  return task;
}

void
frame_task_free (FrameTask *task)
{
  if (task == NULL)
    return;
  buffer_pool_give_array (task->pool, task->raw);
  g_array_unref (task->chunks);
  g_clear_pointer (&task->formers, g_array_unref);
  g_free (task);
}

FrameContent
frame_content_of (PackKind kind, const guint8 *data, gsize len)
{
  if (kind != PACK_DATA)
    return FRAME_OF_NODES;
  return len == PAGE_SIZE_BYTES && frame_page_is_noise (data) ? FRAME_OF_NOISE : FRAME_OF_PAGES;
}

guint32
frame_task_add (FrameTask *task, const ChunkName *name, const guint8 *data, gsize len)
{
  PackChunk chunk = { *name, task->raw->len, len };

  g_array_append_val (task->chunks, chunk);
  g_byte_array_append (task->raw, data, len);
  return chunk.offset;
}

void
frame_task_add_changed (FrameTask *task, const ChunkName *name, const ChunkName *former,
                        const guint8 *page)
{
  g_array_append_val (task->formers, *former);
  frame_task_add (task, name, page, PAGE_SIZE_BYTES);
}

void
frame_task_add_from (FrameTask *task, const FrameTask *from, guint index)
{
  const PackChunk *chunk = &g_array_index (from->chunks, PackChunk, index);

  frame_task_add (task, &chunk->name, from->raw->data + chunk->offset, chunk->len);
}

const guint8 *
frame_task_chunk (const FrameTask *task, guint index)
{
  return task->raw->data + g_array_index (task->chunks, PackChunk, index).offset;
}

gboolean
frame_task_is_full (const FrameTask *task)
{
  if (task->formers != NULL)
    return task->chunks->len == DELTA_FRAME_PAGES;
  return task->raw->len >=
         (task->content == FRAME_OF_PAGES ? FRAME_TARGET_BYTES : FRAME_DENSE_TARGET_BYTES);
}

void
frame_task_empty (FrameTask *task)
{
  g_byte_array_set_size (task->raw, 0);
  g_array_set_size (task->chunks, 0);
  if (task->formers != NULL)
    g_array_set_size (task->formers, 0);
}

GBytes *
frame_task_encode (const FrameTask *task, FrameEncoder *encoder, FrameCodec *codec)
{
  if (task->content != FRAME_OF_NOISE)
    return frame_encode (encoder, task->raw->data, task->raw->len, codec);
  *codec = FRAME_RAW;
  return g_bytes_new_static (task->raw->data, task->raw->len); /* copied into the pack */
}
