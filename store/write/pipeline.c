/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads: the callers, some workers, two that put packs. Two locks, taken in this order:
 *   dedup  what was added, the frames being filled: held while a batch is delivered
 *   lock   the queues, the packs being filled, the counters, the error
 * StoredChunks, which is asked under dedup, and ChangedPages have one each of their own, under
 * which none of these is taken.
 * Workers take compressing before hashing, so that what is on its way stays bounded.
 */
#include "pipeline.h"

#include "buffer-pool.h"
#include "changed-pages.h"
#include "chunk-lanes.h"
#include "name-set.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

#define WORKERS_MAX 8
/* While one pack waits for the medium the next one is on its way there. */
#define PUTTERS 2
/* Batches of 1 MiB that may be on their way: two for each worker, and these for whoever fills. */
#define BATCHES_SPARE 4
/* Nodes and moved chunks come without a batch: frames of them that may wait for the workers. */
#define FRAMES_WAITING_MAX 16
/* Their buffers that are kept. Those of packs are not: they would be in memory for nothing while
 * a table is published, which is when most is needed. */
#define FRAMES_KEPT 4
/* Packs that may wait or be under way when another one is begun. */
#define PACKS_BUSY_MAX 1

typedef struct {
  GBytes *bytes;
  ChunkName name;
} PackTask;

struct _Pipeline {
  Store *store;
  GPtrArray *threads; /* of GThread */
  guint batches_max;
  BufferPool *batch_pool, *frame_pool;
  StoredChunks *stored;
  ChangedPages *changed_pages;

  GMutex dedup;
  NameSet *added;                          /* (dedup) */
  NameSet *changed;                        /* (dedup) of these: what may have become deltas */
  FrameTask *filling[FRAME_CONTENT_COUNT]; /* (dedup) (nullable) */
  FrameTask *changing;                     /* (dedup) (nullable) what may become deltas */

  GMutex lock;
  GCond work;                   /* (lock) there is something to do, or an end */
  GCond progress;               /* (lock) something was done, or an error */
  GQueue batches;               /* (lock) to be hashed */
  GQueue in_order;              /* (lock) all batches not delivered */
  GQueue frames;                /* (lock) to be compressed */
  GQueue packs;                 /* (lock) to be put */
  guint frames_busy;            /* (lock) queued or being compressed */
  guint packs_busy;             /* (lock) queued or being put */
  guint64 submitted, delivered; /* (lock) */
  gboolean delivering, sealing, stopping;
  GError *error;                         /* (lock) the first one */
  PackBuilder *builder[PACK_KIND_COUNT]; /* (lock) */
  gint64 pack_number[PACK_KIND_COUNT];   /* (lock) in contents->packs, -1: not begun */
  IndexContents *contents;               /* (lock; its entries: dedup) since the last seal */
  GArray *late_entries;                  /* (lock) of IndexEntry: of pages that changed */
  GPtrArray *put_packs; /* (lock) of char*: all that were begun to be put, and not forgotten */
  guint sealed_packs;   /* (lock) of these: put before the last seal */
  PipelineStats stats;  /* (lock) */
  QuotaRoom *room;      /* (lock) (nullable) */
};

static void
pack_task_free (PackTask *task)
{
  g_bytes_unref (task->bytes);
  g_free (task);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PackTask, pack_task_free)

Batch *
batch_new (Pipeline *pipeline, BatchFunc deliver, gpointer user_data)
{
  Batch *batch = g_new (Batch, 1);
  batch->deliver = deliver;
  batch->user_data = user_data;
  batch->count = 0;
  batch->hashed = FALSE;
  batch->pool = pipeline->batch_pool;
  batch->data = buffer_pool_take (batch->pool);
  return batch;
}

void
batch_free (Batch *batch)
{
  if (batch == NULL)
    return;
  buffer_pool_give (batch->pool, batch->data);
  g_free (batch);
}

/* Notes the first error (taken) and lets everybody see it. With the lock. */
static void
fail_locked (Pipeline *self, GError *error)
{
  if (self->error == NULL)
    self->error = error;
  else
    g_error_free (error);
  g_cond_broadcast (&self->progress);
  g_cond_broadcast (&self->work);
}

/* FALSE with a copy of the first error, if there is one. With the lock. */
static gboolean
check_locked (Pipeline *self, GError **error)
{
  if (self->error == NULL)
    return TRUE;
  if (error != NULL)
    *error = g_error_copy (self->error);
  return FALSE;
}

static void
hash_batch (Pipeline *self, Batch *batch)
{
  const guint8 *pages[BATCH_PAGES] = { 0 };
  ChunkName names[BATCH_PAGES];
  guint n = 0;

  for (guint i = 0; i < batch->count; i++) {
    const guint8 *page = batch->data + (gsize)i * PAGE_SIZE_BYTES;
    if (!bytes_all_zero (page, PAGE_SIZE_BYTES))
      pages[n++] = page;
  }
  chunk_names_of_pages (&self->store->key, pages, n, names);
  memset (batch->names, 0, sizeof batch->names);
  for (guint i = 0; i < n; i++)
    batch->names[(pages[i] - batch->data) / PAGE_SIZE_BYTES] = names[i];
}

/* Delivers what is hashed, in order; with the lock, which is given up meanwhile. */
static void
deliver_locked (Pipeline *self)
{
  Batch *batch;

  if (self->delivering)
    return; /* whoever does it takes ours too */
  self->delivering = TRUE;
  while ((batch = g_queue_peek_head (&self->in_order)) != NULL && batch->hashed) {
    gboolean failed = self->error != NULL;
    GError *error = NULL;
    g_queue_pop_head (&self->in_order);
    g_mutex_unlock (&self->lock);
    if (!failed) {
      g_mutex_lock (&self->dedup);
      batch->deliver (batch, &error);
      g_mutex_unlock (&self->dedup);
    }
    batch_free (batch);
    g_mutex_lock (&self->lock);
    if (error != NULL)
      fail_locked (self, error);
    self->delivered++;
    g_cond_broadcast (&self->progress);
  }
  self->delivering = FALSE;
}

/* Completes the pack being filled and queues it. With the lock. */
static void
finish_pack_locked (Pipeline *self, PackKind kind)
{
  PackTask *task = g_new0 (PackTask, 1);

  task->bytes = pack_builder_finish (self->builder[kind], &self->store->key, &task->name);
  IndexPack *pack = &g_array_index (self->contents->packs, IndexPack, self->pack_number[kind]);
  pack->name = task->name;
  pack->size = g_bytes_get_size (task->bytes);
  self->pack_number[kind] = -1;
  g_ptr_array_add (self->put_packs, object_name ("packs", &task->name));
  g_queue_push_tail (&self->packs, task);
  self->packs_busy++;
  g_cond_broadcast (&self->work);
}

/* Puts a compressed frame into its pack. With the lock. */
static void
add_frame_locked (Pipeline *self, FrameTask *task, GBytes *stored, FrameCodec codec)
{
  FrameInfo info = { .stored_len = g_bytes_get_size (stored),
                     .raw_len = task->raw->len,
                     .chunks = task->chunks->len,
                     .codec = codec };

  if (self->pack_number[task->kind] < 0) {
    IndexPack pack = { .kind = task->kind };
    self->pack_number[task->kind] = self->contents->packs->len;
    g_array_append_val (self->contents->packs, pack);
  }
  pack_builder_add (self->builder[task->kind], stored, &info, (PackChunk *)task->chunks->data);
  IndexFrame *frame = &g_array_index (self->contents->frames, IndexFrame, task->id);
  frame->pack = self->pack_number[task->kind];
  frame->frame = info;
  g_array_index (self->contents->packs, IndexPack, frame->pack).chunks += info.chunks;
  if (pack_builder_is_full (self->builder[task->kind])) {
    finish_pack_locked (self, task->kind);
    while (self->packs_busy > PACKS_BUSY_MAX && self->error == NULL && !self->stopping)
      g_cond_wait (&self->progress, &self->lock);
  }
}

/* Gives the frame a place in the contents. With the lock. */
static void
list_frame_locked (Pipeline *self, FrameTask *task)
{
  IndexFrame blank = { 0 };

  task->id = self->contents->frames->len;
  g_array_append_val (self->contents->frames, blank);
}

/* A ChangedFrameFunc: pages that changed are in the contents only now. */
static void
add_late_frame (FrameTask *task, GBytes *stored, FrameCodec codec, gpointer user_data)
{
  Pipeline *self = user_data;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  if (self->error != NULL)
    return;
  list_frame_locked (self, task);
  for (guint i = 0; i < task->chunks->len; i++) {
    const PackChunk *chunk = &g_array_index (task->chunks, PackChunk, i);
    IndexEntry entry = { chunk->name, task->id, chunk->offset, chunk->len };
    g_array_append_val (self->late_entries, entry);
  }
  if (codec == FRAME_DELTA)
    self->stats.delta_pages += task->chunks->len;
  add_frame_locked (self, task, stored, codec);
}

static gpointer
worker_main (gpointer data)
{
  Pipeline *self = data;
  g_auto (FrameEncoder) encoder = { 0 };

  frame_encoder_init (&encoder);
  g_mutex_lock (&self->lock);
  while (!self->stopping) {
    g_autoptr (FrameTask) frame = g_queue_pop_head (&self->frames);
    Batch *batch = frame == NULL ? g_queue_pop_head (&self->batches) : NULL;
    gboolean failed = self->error != NULL;
    if (frame != NULL) {
      FrameCodec codec;
      g_mutex_unlock (&self->lock);
      g_autoptr (GBytes) stored = NULL;
      if (!failed && frame->formers != NULL)
        changed_pages_encode (self->changed_pages, frame, &encoder, add_late_frame, self);
      else if (!failed)
        stored = frame_task_encode (frame, &encoder, &codec);
      g_mutex_lock (&self->lock);
      if (stored != NULL && self->error == NULL)
        add_frame_locked (self, frame, stored, codec);
      self->frames_busy--;
      g_cond_broadcast (&self->progress);
    } else if (batch != NULL) {
      g_mutex_unlock (&self->lock);
      if (!failed)
        hash_batch (self, batch);
      g_mutex_lock (&self->lock);
      batch->hashed = TRUE;
      deliver_locked (self);
    } else {
      g_cond_wait (&self->work, &self->lock);
    }
  }
  g_mutex_unlock (&self->lock);
  return NULL;
}

static gpointer
putter_main (gpointer data)
{
  Pipeline *self = data;

  g_mutex_lock (&self->lock);
  while (!self->stopping) {
    g_autoptr (PackTask) task = g_queue_pop_head (&self->packs);
    GError *error = NULL;
    if (task == NULL) {
      g_cond_wait (&self->work, &self->lock);
      continue;
    }
    gboolean failed = self->error != NULL;
    if (!failed && self->room != NULL)
      failed = !quota_room_allows (
          self->room, self->stats.stored_bytes + g_bytes_get_size (task->bytes), &error);
    self->stats.stored_bytes += g_bytes_get_size (task->bytes);
    g_mutex_unlock (&self->lock);
    g_autofree char *object = object_name ("packs", &task->name);
    if (!failed)
      store_put (self->store, object, task->bytes, NULL, &error);
    g_mutex_lock (&self->lock);
    if (error != NULL)
      fail_locked (self, error);
    self->packs_busy--;
    g_cond_broadcast (&self->progress);
  }
  g_mutex_unlock (&self->lock);
  return NULL;
}

/* Starts a thread; FALSE with @error if the machine has none left. */
static gboolean
start_thread (Pipeline *self, const char *name, GThreadFunc func, GError **error)
{
  GThread *thread = g_thread_try_new (name, func, self, error);

  if (thread != NULL)
    g_ptr_array_add (self->threads, thread);
  return thread != NULL;
}

Pipeline *
pipeline_new (Store *store, IndexView *view, GHashTable *skip, GError **error)
{
  g_autoptr (Pipeline) self = g_new0 (Pipeline, 1);
  guint workers = CLAMP (g_get_num_processors(), 1, WORKERS_MAX);

  self->store = store_ref (store);
  self->added = name_set_new();
  self->changed = name_set_new();
  self->late_entries = g_array_new (FALSE, FALSE, sizeof (IndexEntry));
  self->contents = index_contents_new();
  self->threads = g_ptr_array_new();
  self->batches_max = 2 * workers + BATCHES_SPARE;
  self->batch_pool = buffer_pool_new (BATCH_PAGES * PAGE_SIZE_BYTES, self->batches_max);
  self->frame_pool = buffer_pool_new (FRAME_TARGET_BYTES, FRAMES_KEPT);
  self->stored = stored_chunks_new (store, view, skip);
  self->changed_pages = changed_pages_new (store, self->stored, self->frame_pool);
  self->put_packs = g_ptr_array_new_with_free_func (g_free);
  g_mutex_init (&self->dedup);
  g_mutex_init (&self->lock);
  g_cond_init (&self->work);
  g_cond_init (&self->progress);
  for (int kind = 0; kind < PACK_KIND_COUNT; kind++) {
    self->builder[kind] = pack_builder_new (kind);
    self->pack_number[kind] = -1;
  }
  for (guint i = 0; i < workers; i++)
    if (!start_thread (self, "store-worker", worker_main, error))
      return NULL;
  for (guint i = 0; i < PUTTERS; i++)
    if (!start_thread (self, "store-put", putter_main, error))
      return NULL;
  return g_steal_pointer (&self);
}

static void
free_queues (Pipeline *self)
{
  g_queue_clear_full (&self->batches, NULL); /* they are in `in_order` too */
  g_queue_clear_full (&self->in_order, (GDestroyNotify)batch_free);
  g_queue_clear_full (&self->frames, (GDestroyNotify)frame_task_free);
  g_queue_clear_full (&self->packs, (GDestroyNotify)pack_task_free);
}

void
pipeline_stop (Pipeline *self)
{
  g_mutex_lock (&self->lock);
  self->stopping = TRUE;
  g_cond_broadcast (&self->work);
  g_cond_broadcast (&self->progress);
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < self->threads->len; i++)
    g_thread_join (self->threads->pdata[i]);
  g_ptr_array_set_size (self->threads, 0);
}

void
pipeline_free (Pipeline *self)
{
  if (self == NULL)
    return;
  pipeline_stop (self);
  g_ptr_array_unref (self->threads);
  free_queues (self);
  for (int kind = 0; kind < PACK_KIND_COUNT; kind++)
    pack_builder_free (self->builder[kind]);
  for (int content = 0; content < FRAME_CONTENT_COUNT; content++)
    frame_task_free (self->filling[content]);
  frame_task_free (self->changing);
  changed_pages_free (self->changed_pages);
  stored_chunks_free (self->stored);
  buffer_pool_unref (self->batch_pool);
  buffer_pool_unref (self->frame_pool);
  g_clear_error (&self->error);
  index_contents_free (self->contents);
  g_ptr_array_unref (self->put_packs);
  quota_room_free (self->room);
  name_set_free (self->added);
  name_set_free (self->changed);
  g_array_unref (self->late_entries);
  g_mutex_clear (&self->dedup);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->work);
  g_cond_clear (&self->progress);
  store_unref (self->store);
  g_free (self);
}

void
pipeline_limit (Pipeline *self, QuotaRoom *room)
{
  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->room, quota_room_free);
  self->room = room;
  g_mutex_unlock (&self->lock);
}

gboolean
pipeline_submit (Pipeline *self, Batch *batch, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  while (self->error == NULL &&
         (self->sealing || self->submitted - self->delivered >= self->batches_max))
    g_cond_wait (&self->progress, &self->lock);
  if (!check_locked (self, error)) {
    batch_free (batch);
    return FALSE;
  }
  self->submitted++;
  g_queue_push_tail (&self->batches, batch);
  g_queue_push_tail (&self->in_order, batch);
  g_cond_broadcast (&self->work);
  return TRUE;
}

gboolean
pipeline_wait_delivered (Pipeline *self, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  guint64 target = self->submitted;

  while (self->delivered < target)
    g_cond_wait (&self->progress, &self->lock);
  return check_locked (self, error);
}

/* Hands the frame being filled to the workers. With the dedup lock. */
static void
close_frame (Pipeline *self, FrameTask **filling)
{
  FrameTask *task = g_steal_pointer (filling);

  if (task == NULL)
    return;
  g_mutex_lock (&self->lock);
  if (task->kind == PACK_DATA)
    self->stats.new_bytes += task->raw->len;
  else
    self->stats.metadata_bytes += task->raw->len;
  g_queue_push_tail (&self->frames, task);
  self->frames_busy++;
  g_cond_broadcast (&self->work);
  g_mutex_unlock (&self->lock);
}

static FrameTask *
open_frame (Pipeline *self, FrameContent content)
{
  FrameTask *task = frame_task_new (self->frame_pool, content);

  g_mutex_lock (&self->lock);
  list_frame_locked (self, task);
  g_mutex_unlock (&self->lock);
  return task;
}

/* TRUE if the chunk is stored, or on its way; @full: not as a delta. With the dedup lock. */
static gboolean
is_known (Pipeline *self, const ChunkName *name, gboolean full)
{
  ChunkLocation location;

  if (name_set_contains (self->added, name) && !(full && name_set_contains (self->changed, name)))
    return TRUE;
  return stored_chunks_find (self->stored, name, full, &location);
}

/* Puts a chunk into the frame being filled. With the dedup lock. */
static void
add_to_frame (Pipeline *self, PackKind kind, const ChunkName *name, const guint8 *data, gsize len)
{
  FrameContent content = frame_content_of (kind, data, len);

  name_set_add (self->added, name);
  if (self->filling[content] == NULL)
    self->filling[content] = open_frame (self, content);
  FrameTask *task = self->filling[content];
  guint32 offset = frame_task_add (task, name, data, len);
  IndexEntry entry = { *name, task->id, offset, len };
  g_array_append_val (self->contents->entries, entry);
  if (frame_task_is_full (task))
    close_frame (self, &self->filling[content]);
}

ChunkFate
pipeline_add_locked (Pipeline *self, PackKind kind, const ChunkName *name, const guint8 *data,
                     gsize len)
{
  if (is_known (self, name, FALSE))
    return CHUNK_KNOWN;
  add_to_frame (self, kind, name, data, len);
  return CHUNK_FRESH;
}

/* Puts a page with those that may become deltas. With the dedup lock. */
static void
add_to_changing (Pipeline *self, const ChunkName *name, const ChunkName *former, const guint8 *data)
{
  name_set_add (self->added, name);
  name_set_add (self->changed, name);
  if (self->changing == NULL)
    self->changing = frame_task_new_changing (self->frame_pool);
  frame_task_add_changed (self->changing, name, former, data);
  if (frame_task_is_full (self->changing))
    close_frame (self, &self->changing);
}

ChunkFate
pipeline_add_changed_locked (Pipeline *self, const ChunkName *name, const ChunkName *former,
                             const guint8 *data)
{
  if (is_known (self, name, FALSE))
    return CHUNK_KNOWN;
  if (changed_pages_wants_any (self->changed_pages))
    add_to_changing (self, name, former, data);
  else
    add_to_frame (self, PACK_DATA, name, data, PAGE_SIZE_BYTES);
  return CHUNK_FRESH;
}

/* Waits until chunks may come from outside: frames wait for the workers, so what does not come as
 * pages must not outrun them either. */
static gboolean
wait_for_room (Pipeline *self, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  while (self->error == NULL && (self->sealing || self->frames.length > FRAMES_WAITING_MAX))
    g_cond_wait (&self->progress, &self->lock);
  return check_locked (self, error);
}

gboolean
pipeline_add (Pipeline *self, PackKind kind, GBytes *bytes, ChunkName *name, GError **error)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (bytes, &len);

  g_assert (len > 0 && len <= CHUNK_MAX_BYTES);
  chunk_name_of (&self->store->key, data, len, name);
  if (!wait_for_room (self, error))
    return FALSE;
  g_mutex_lock (&self->dedup);
  if (!is_known (self, name, TRUE))
    add_to_frame (self, kind, name, data, len);
  g_mutex_unlock (&self->dedup);
  return TRUE;
}

gboolean
pipeline_add_changed (Pipeline *self, GBytes *page, const ChunkName *former, GError **error)
{
  const guint8 *data = g_bytes_get_data (page, NULL);
  ChunkName name;

  g_assert (g_bytes_get_size (page) == PAGE_SIZE_BYTES);
  chunk_name_of (&self->store->key, data, PAGE_SIZE_BYTES, &name);
  if (!wait_for_room (self, error))
    return FALSE;
  g_mutex_lock (&self->dedup);
  pipeline_add_changed_locked (self, &name, former, data);
  g_mutex_unlock (&self->dedup);
  return TRUE;
}

void
pipeline_set_delta (Pipeline *self, StoreDeltaMode mode)
{
  changed_pages_set_mode (self->changed_pages, mode);
}

/* Nothing is on its way: what follows, publishing a table, needs memory, too. With the lock. */
static void
trim_locked (Pipeline *self)
{
  buffer_pool_trim (self->batch_pool);
  buffer_pool_trim (self->frame_pool);
}

/* Waits until nothing is on its way; with the lock. */
static void
wait_idle_locked (Pipeline *self)
{
  while (self->error == NULL && self->delivered < self->submitted)
    g_cond_wait (&self->progress, &self->lock);
}

gboolean
pipeline_seal (Pipeline *self, IndexContents **contents, GError **error)
{
  g_mutex_lock (&self->lock);
  self->sealing = TRUE;
  wait_idle_locked (self);
  g_mutex_unlock (&self->lock);

  /* Held to the end: nothing may be added between closing the last frame and taking the contents.
   */
  g_autoptr (GMutexLocker) dedup_locker G_GNUC_UNUSED = g_mutex_locker_new (&self->dedup);
  for (int content = 0; content < FRAME_CONTENT_COUNT; content++)
    close_frame (self, &self->filling[content]);
  close_frame (self, &self->changing);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  while (self->error == NULL && self->frames_busy > 0)
    g_cond_wait (&self->progress, &self->lock);
  for (int kind = 0; kind < PACK_KIND_COUNT && self->error == NULL; kind++)
    if (self->pack_number[kind] >= 0)
      finish_pack_locked (self, kind);
  while (self->error == NULL && self->packs_busy > 0)
    g_cond_wait (&self->progress, &self->lock);
  self->sealing = FALSE;
  g_cond_broadcast (&self->progress);
  trim_locked (self);
  if (!check_locked (self, error))
    return FALSE;
  g_array_append_vals (self->contents->entries, self->late_entries->data, self->late_entries->len);
  g_array_set_size (self->late_entries, 0);
  *contents = self->contents;
  self->contents = index_contents_new();
  self->sealed_packs = self->put_packs->len;
  return TRUE;
}

guint64
pipeline_unsealed (Pipeline *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->dedup);
  return name_set_size (self->added);
}

void
pipeline_forget_packs (Pipeline *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  if (self->sealed_packs > 0)
    g_ptr_array_remove_range (self->put_packs, 0, self->sealed_packs);
  self->sealed_packs = 0;
}

void
pipeline_use_view (Pipeline *self, IndexView *view)
{
  g_mutex_lock (&self->dedup);
  stored_chunks_use_view (self->stored, view);
  name_set_clear (self->added);
  name_set_clear (self->changed);
  g_mutex_unlock (&self->dedup);
}

GPtrArray *
pipeline_packs (Pipeline *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  GPtrArray *copy = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < self->put_packs->len; i++)
    g_ptr_array_add (copy, g_strdup (self->put_packs->pdata[i]));
  return copy;
}

void
pipeline_stats (Pipeline *self, PipelineStats *stats)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  *stats = self->stats;
}
