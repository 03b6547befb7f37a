/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading pages. One page: name → chunk. All pages: batches of a few leaves are handed to a few
 * threads, each of which reads the frames of its batch once and verifies its pages (page-batch.h);
 * they are delivered in order, or written to a file by the threads themselves.
 */
#include "buffer-pool.h"
#include "map-names.h"
#include "page-batch.h"
#include "work-queue.h"

#include <vmckpt/store/writer.h>

#include <string.h>

#define READERS_MAX 4

struct _PageMapReader {
  Store *store;
  PageMap map;
  GMutex lock; /* of `names`, where several threads read */
  MapNames *names;
};

PageMapReader *
page_map_reader_new (Store *store, const PageMap *map, GError **error)
{
  g_autoptr (MapNames) names = map_names_new (store, map, error);

  if (names == NULL)
    return NULL;
  PageMapReader *reader = g_new0 (PageMapReader, 1);
  reader->store = store_ref (store);
  reader->map = *map;
  reader->names = g_steal_pointer (&names);
  g_mutex_init (&reader->lock);
  return reader;
}

void
page_map_reader_free (PageMapReader *reader)
{
  if (reader == NULL)
    return;
  map_names_free (reader->names);
  g_mutex_clear (&reader->lock);
  store_unref (reader->store);
  g_free (reader);
}

static gboolean
check_page (const PageMapReader *reader, guint64 page, GError **error)
{
  if (page < map_pages (reader->map.length))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "page %" G_GUINT64_FORMAT " is beyond the end of the map", page);
  return FALSE;
}

gboolean
page_map_reader_name (PageMapReader *reader, guint64 page, ChunkName *name, GError **error)
{
  if (!check_page (reader, page, error))
    return FALSE;
  const ChunkName *found = map_names_page (reader->names, page, error);
  if (found != NULL)
    *name = *found;
  return found != NULL;
}

gboolean
page_map_reader_read (PageMapReader *reader, guint64 page, guint8 *data, GError **error)
{
  ChunkName name;

  if (!page_map_reader_name (reader, page, &name, error))
    return page_prefix_error (page, error);
  if (chunk_name_is_zero (&name)) {
    memset (data, 0, PAGE_SIZE_BYTES);
    return TRUE;
  }
  g_autoptr (GBytes) chunk = store_chunk_read (reader->store, &name, error);
  if (chunk == NULL || !page_check_length (g_bytes_get_size (chunk), error))
    return page_prefix_error (page, error);
  memcpy (data, g_bytes_get_data (chunk, NULL), PAGE_SIZE_BYTES);
  return TRUE;
}

/* ---- A few pages, by several threads ---- */

/* Copies the names of @count pages. */
static gboolean
copy_names (PageMapReader *reader, guint64 first, guint count, ChunkName *names, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&reader->lock);

  for (guint done = 0, some; done < count; done += some) {
    guint64 at = first + done;
    guint from = at & (NODE_FANOUT - 1);
    const ChunkName *leaf = map_names_leaf (reader->names, at >> NODE_FANOUT_BITS, error);
    some = MIN (count - done, NODE_FANOUT - from);
    if (leaf == NULL)
      return page_prefix_error (at, error);
    memcpy (names + done, leaf + from, some * sizeof *names);
  }
  return TRUE;
}

gboolean
page_map_reader_read_run (PageMapReader *reader, guint64 first, guint count, guint8 *data,
                          gboolean *zero, GError **error)
{
  g_autofree PageBatch *batch = g_new (PageBatch, 1);

  g_return_val_if_fail (count > 0 && count <= PAGE_MAP_RUN_MAX, FALSE);
  batch->store = reader->store;
  batch->first = first;
  batch->count = count;
  batch->data = data;
  if (!check_page (reader, first + count - 1, error) ||
      !copy_names (reader, first, count, batch->names, error) || !page_batch_read (batch, error))
    return FALSE;
  for (guint i = 0; i < count; i++) {
    zero[i] = chunk_name_is_zero (&batch->names[i]);
    if (zero[i])
      memset (data + (gsize)i * PAGE_SIZE_BYTES, 0, PAGE_SIZE_BYTES);
  }
  return TRUE;
}

guint64
page_map_reader_find_run (PageMapReader *reader, guint64 first, guint64 limit, gboolean *zero,
                          GError **error)
{
  if (!check_page (reader, first, error))
    return 0;
  guint64 end = first + MIN (limit, map_pages (reader->map.length) - first), at = first;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&reader->lock);

  while (at < end) {
    const ChunkName *leaf = map_names_leaf (reader->names, at >> NODE_FANOUT_BITS, error);
    if (leaf == NULL) {
      page_prefix_error (at, error);
      return 0;
    }
    do {
      gboolean here = chunk_name_is_zero (&leaf[at & (NODE_FANOUT - 1)]);
      if (at == first)
        *zero = here;
      else if (here != *zero)
        return at - first;
    } while (++at < end && (at & (NODE_FANOUT - 1)) != 0);
  }
  return end - first;
}

typedef struct {
  guint64 *bits;
  guint64 stretches;
} DataBits;

static void
set_data_bit (DataBits *data, guint64 stretch)
{
  if (stretch < data->stretches)
    data->bits[stretch / 64] |= G_GUINT64_CONSTANT (1) << stretch % 64;
}

/* A RunEntryFunc. */
static void
note_override (const RunEntry *entry, gpointer user_data)
{
  if (!chunk_name_is_zero (&entry->name))
    set_data_bit (user_data, entry->page >> NODE_FANOUT_BITS);
}

gboolean
page_map_reader_find_data (PageMapReader *reader, guint64 *bits, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&reader->lock);
  const MapRoot *root = map_names_root (reader->names);
  guint64 pages = map_pages (reader->map.length);
  DataBits data = { bits, (pages + NODE_FANOUT - 1) >> NODE_FANOUT_BITS };
  ChunkName name;

  memset (bits, 0, (data.stretches + 63) / 64 * sizeof *bits);
  for (guint64 leaf = 0; leaf < data.stretches && root->tree_levels > 0; leaf++) {
    if (!map_names_tree_node (reader->names, 0, leaf, &name, error))
      return page_prefix_error (leaf << NODE_FANOUT_BITS, error);
    if (!chunk_name_is_zero (&name))
      set_data_bit (&data, leaf);
  }
  for (guint i = 0; i < root->n_runs; i++)
    if (!map_names_foreach_in_run (reader->names, &root->runs[i], note_override, &data, error))
      return FALSE;
  return TRUE;
}

/* ---- All pages ---- */

/* Where pages go other than to a PageFunc. */
typedef struct {
  int fd; /* -1: nowhere */
  guint64 length;
} PageFile;

typedef struct {
  PageBatch pages;
  BufferPool *pool; /* (not owned) of its data */
  const PageFile *file;
  GMutex *lock;
  GCond *changed;
  gboolean done; /* (lock) */
  GError *error; /* (lock) */
} ReadBatch;

static void
read_batch_free (ReadBatch *batch)
{
  g_clear_error (&batch->error);
  buffer_pool_give (batch->pool, batch->pages.data);
  g_free (batch);
}

/* A WorkFunc. */
static void
read_batch (gpointer data, gpointer user_data)
{
  ReadBatch *batch = data;
  GError *error = NULL;

  batch->pages.data = buffer_pool_take (batch->pool);
  if (page_batch_read (&batch->pages, &error) && batch->file->fd >= 0)
    page_batch_write (&batch->pages, batch->file->fd, batch->file->length, &error);
  g_mutex_lock (batch->lock);
  batch->error = error;
  batch->done = TRUE;
  g_cond_broadcast (batch->changed);
  g_mutex_unlock (batch->lock);
}

/* One walk over all pages. */
typedef struct {
  PageMapReader *reader;
  const guint8 *wanted; /* (nullable): bitmap of pages; NULL: all */
  PageFile file;
  BufferPool *pool;
  WorkQueue *queue;
  GMutex lock;
  GCond changed;
  GQueue batches; /* in order */
  guint64 next;   /* first page of the next batch */
} ReadAhead;

static void
wait_for (ReadAhead *ahead, ReadBatch *batch)
{
  g_mutex_lock (&ahead->lock);
  while (!batch->done)
    g_cond_wait (&ahead->changed, &ahead->lock);
  g_mutex_unlock (&ahead->lock);
}

static void
read_ahead_clear (ReadAhead *ahead)
{
  work_queue_free (ahead->queue);
  g_queue_clear_full (&ahead->batches, (GDestroyNotify)read_batch_free);
  buffer_pool_unref (ahead->pool);
  g_mutex_clear (&ahead->lock);
  g_cond_clear (&ahead->changed);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ReadAhead, read_ahead_clear)

/* The names of a leaf; those of pages that are not wanted as zeros, which are not read. */
static gboolean
copy_leaf (const ReadAhead *ahead, guint64 first, ChunkName *names, GError **error)
{
  static const guint8 none[NODE_FANOUT / 8];
  guint64 pages = MIN (NODE_FANOUT, map_pages (ahead->reader->map.length) - first);
  const guint8 *wanted = ahead->wanted != NULL ? ahead->wanted + first / 8 : NULL;

  if (wanted != NULL && memcmp (wanted, none, (pages + 7) / 8) == 0) {
    memset (names, 0, NODE_FANOUT * sizeof *names);
    return TRUE;
  }
  const ChunkName *leaf = map_names_leaf (ahead->reader->names, first >> NODE_FANOUT_BITS, error);
  if (leaf == NULL)
    return page_prefix_error (first, error);
  memcpy (names, leaf, NODE_FANOUT * sizeof *leaf);
  for (guint i = 0; wanted != NULL && i < pages; i++)
    if (!(wanted[i / 8] >> i % 8 & 1))
      memset (&names[i], 0, sizeof names[i]);
  return TRUE;
}

/* Starts the next batch. */
static gboolean
push_batch (ReadAhead *ahead, GError **error)
{
  guint64 pages = map_pages (ahead->reader->map.length);
  ReadBatch *batch = g_new0 (ReadBatch, 1);

  batch->pages.store = ahead->reader->store;
  batch->pages.first = ahead->next;
  batch->pages.count = MIN (PAGE_BATCH_PAGES, pages - ahead->next);
  batch->pool = ahead->pool;
  batch->file = &ahead->file;
  batch->lock = &ahead->lock;
  batch->changed = &ahead->changed;
  for (guint done = 0; done < batch->pages.count; done += NODE_FANOUT) {
    if (!copy_leaf (ahead, ahead->next + done, &batch->pages.names[done], error)) {
      read_batch_free (batch);
      return FALSE;
    }
  }
  ahead->next += batch->pages.count;
  g_queue_push_tail (&ahead->batches, batch);
  work_queue_push (ahead->queue, batch);
  return TRUE;
}

static gboolean
deliver_batch (ReadBatch *batch, gboolean include_zeros, PageFunc func, gpointer user_data,
               GError **error)
{
  if (batch->error != NULL) {
    g_propagate_error (error, g_steal_pointer (&batch->error));
    return FALSE;
  }
  const PageBatch *pages = &batch->pages;
  for (guint i = 0; func != NULL && i < pages->count; i++) {
    gboolean zero = chunk_name_is_zero (&pages->names[i]);
    const guint8 *data = zero ? NULL : pages->data + (gsize)i * PAGE_SIZE_BYTES;
    if ((!zero || include_zeros) && !func (pages->first + i, data, user_data, error))
      return FALSE;
  }
  return TRUE;
}

/* @func: (nullable); @fd: or -1. */
static gboolean
foreach_page (PageMapReader *reader, const guint8 *wanted, int fd, gboolean include_zeros,
              PageFunc func, gpointer user_data, const Progress *progress,
              GCancellable *cancellable, GError **error)
{
  g_auto (ReadAhead)
      ahead = { .reader = reader, .wanted = wanted, .file = { fd, reader->map.length } };
  guint64 pages = map_pages (reader->map.length);

  g_mutex_init (&ahead.lock);
  g_cond_init (&ahead.changed);
  ahead.queue = work_queue_new (READERS_MAX, read_batch, NULL, error);
  if (ahead.queue == NULL)
    return FALSE;
  const guint most = work_queue_threads (ahead.queue) + 2;
  ahead.pool = buffer_pool_new (PAGE_BATCH_PAGES * PAGE_SIZE_BYTES, most);
  while (ahead.next < pages || ahead.batches.length > 0) {
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    if (ahead.next < pages && ahead.batches.length < most) {
      if (!push_batch (&ahead, error))
        return FALSE;
      continue;
    }
    ReadBatch *batch = g_queue_peek_head (&ahead.batches);
    wait_for (&ahead, batch);
    g_queue_pop_head (&ahead.batches);
    gboolean good = deliver_batch (batch, include_zeros, func, user_data, error);
    guint64 done = batch->pages.first + batch->pages.count;
    read_batch_free (batch);
    if (!good)
      return FALSE;
    progress_report (progress, PHASE_READ, MIN (done * PAGE_SIZE_BYTES, reader->map.length),
                     reader->map.length);
  }
  return TRUE;
}

gboolean
page_map_reader_foreach (PageMapReader *reader, gboolean include_zeros, PageFunc func,
                         gpointer user_data, const Progress *progress, GCancellable *cancellable,
                         GError **error)
{
  return foreach_page (reader, NULL, -1, include_zeros, func, user_data, progress, cancellable,
                       error);
}

gboolean
page_map_reader_foreach_of (PageMapReader *reader, const guint8 *wanted, PageFunc func,
                            gpointer user_data, const Progress *progress, GCancellable *cancellable,
                            GError **error)
{
  return foreach_page (reader, wanted, -1, FALSE, func, user_data, progress, cancellable, error);
}

gboolean
page_map_reader_write_file (PageMapReader *reader, int fd, const Progress *progress,
                            GCancellable *cancellable, GError **error)
{
  return foreach_page (reader, NULL, fd, FALSE, NULL, NULL, progress, cancellable, error);
}

typedef struct {
  guint8 *data;
  guint64 length;
} Copy;

static gboolean
copy_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Copy *copy = user_data;
  guint64 at = page * PAGE_SIZE_BYTES;

  memcpy (copy->data + at, data, MIN (PAGE_SIZE_BYTES, copy->length - at));
  return TRUE;
}

GBytes *
store_read_data (Store *store, const PageMap *map, gsize max, GError **error)
{
  if (map->length > max) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                 "%" G_GUINT64_FORMAT " bytes are more than the %zu expected here", map->length,
                 max);
    return NULL;
  }
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, error);
  g_autofree guint8 *data = g_malloc0 (MAX (map->length, 1));
  Copy copy = { data, map->length };
  if (reader == NULL ||
      !page_map_reader_foreach (reader, FALSE, copy_page, &copy, NULL, NULL, error))
    return NULL;
  return g_bytes_new_take (g_steal_pointer (&data), map->length);
}
