/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading pages. One page: name → chunk. All pages: batches of two leaves are handed to a few
 * threads, each of which reads the frames of its batch once and verifies its pages; they are
 * delivered in order.
 */
#include "map-names.h"
#include "work-queue.h"

#include <vmckpt/store/writer.h>

#include <string.h>

#define READ_PAGES (2 * NODE_FANOUT)
#define READERS_MAX 4

struct _PageMapReader {
  Store *store;
  PageMap map;
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
  return reader;
}

void
page_map_reader_free (PageMapReader *reader)
{
  if (reader == NULL)
    return;
  map_names_free (reader->names);
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

static gboolean
check_page_length (gsize len, GError **error)
{
  if (len == PAGE_SIZE_BYTES)
    return TRUE;
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                       "a page map refers to something that is not a page");
  return FALSE;
}

static gboolean
prefix_page (guint64 page, GError **error)
{
  g_prefix_error (error, "page %" G_GUINT64_FORMAT ": ", page);
  return FALSE;
}

gboolean
page_map_reader_read (PageMapReader *reader, guint64 page, guint8 *data, GError **error)
{
  ChunkName name;

  if (!page_map_reader_name (reader, page, &name, error))
    return prefix_page (page, error);
  if (chunk_name_is_zero (&name)) {
    memset (data, 0, PAGE_SIZE_BYTES);
    return TRUE;
  }
  g_autoptr (GBytes) chunk = store_chunk_read (reader->store, &name, error);
  if (chunk == NULL || !check_page_length (g_bytes_get_size (chunk), error))
    return prefix_page (page, error);
  memcpy (data, g_bytes_get_data (chunk, NULL), PAGE_SIZE_BYTES);
  return TRUE;
}

/* ---- All pages ---- */

/* What is to be read for a page: the page itself, or what it is a change to. */
typedef struct {
  ChunkLocation location;
  ChunkName name;
  guint place; /* in the batch */
  /* Of a page that is a delta: */
  GBytes *deltas; /* (nullable) the frame that has it */
  Delta delta;
  ChunkLocation delta_location;
} Wanted;

static void
wanted_clear (gpointer data)
{
  g_clear_pointer (&((Wanted *)data)->deltas, g_bytes_unref);
}

typedef struct {
  Store *store;
  guint64 first;
  guint count;
  ChunkName names[READ_PAGES];
  guint8 *data;
  GMutex *lock;
  GCond *changed;
  gboolean done; /* (lock) */
  GError *error; /* (lock) */
} ReadBatch;

static void
read_batch_free (ReadBatch *batch)
{
  g_clear_error (&batch->error);
  g_free (batch->data);
  g_free (batch);
}

static int
compare_places (gconstpointer a, gconstpointer b)
{
  const ChunkLocation *one = &((const Wanted *)a)->location;
  const ChunkLocation *other = &((const Wanted *)b)->location;
  int order = chunk_name_compare (&one->pack, &other->pack);

  if (order != 0)
    return order;
  return one->frame.offset < other->frame.offset ? -1 : one->frame.offset > other->frame.offset;
}

/* Finds all pages of a batch. (transfer full) (element-type Wanted), in the order of the packs. */
static GArray *
locate_batch (ReadBatch *batch, GError **error)
{
  g_autoptr (GArray) wanted = g_array_new (FALSE, FALSE, sizeof (Wanted));

  g_array_set_clear_func (wanted, wanted_clear);
  for (guint i = 0; i < batch->count; i++) {
    Wanted one = { .name = batch->names[i], .place = i };
    if (chunk_name_is_zero (&one.name))
      continue;
    if (!store_chunk_locate (batch->store, &one.name, &one.location, error)) {
      prefix_page (batch->first + i, error);
      return NULL;
    }
    g_array_append_val (wanted, one);
  }
  g_array_sort (wanted, compare_places);
  return g_steal_pointer (&wanted);
}

/* Turns a wanted delta into its wanted base, if all is as it should be. */
static void
want_base (ReadBatch *batch, const IndexView *view, Wanted *one)
{
  ChunkLocation base;
  /* Kept, since a frame of deltas has some for the next batches, too. */
  g_autoptr (GBytes) deltas = store_frame_read (batch->store, &one->location, TRUE, NULL);

  if (deltas == NULL || !store_delta_in_frame (&one->location, deltas, &one->delta, NULL) ||
      !index_view_find_full (view, &one->delta.base, NULL, TRUE, &base) ||
      base.len != PAGE_SIZE_BYTES)
    return;
  one->deltas = g_steal_pointer (&deltas);
  one->delta_location = one->location;
  one->location = base;
}

/* Bases are most often pages of about the same place, stored long ago, so that their frames are
 * read for other pages anyway. */
static gboolean
want_bases (ReadBatch *batch, GArray *wanted, GError **error)
{
  g_autoptr (IndexView) view = index_view (batch->store->index, error);
  gboolean some = FALSE;

  if (view == NULL)
    return FALSE;
  for (guint i = 0; i < wanted->len; i++) {
    Wanted *one = &g_array_index (wanted, Wanted, i);
    if (one->location.frame.codec != FRAME_DELTA)
      continue;
    want_base (batch, view, one);
    some = TRUE;
  }
  if (some)
    g_array_sort (wanted, compare_places);
  return TRUE;
}

/* Puts a page together from its base. FALSE if that does not do. */
static gboolean
take_delta (ReadBatch *batch, const Wanted *one, GBytes *frame, guint8 *to)
{
  const guint8 *base =
      store_chunk_in_frame (batch->store, &one->delta.base, &one->location, frame, NULL);

  if (base == NULL)
    return FALSE;
  memcpy (to, base, PAGE_SIZE_BYTES);
  return store_delta_apply (batch->store, &one->name, &one->delta_location, &one->delta, to, NULL);
}

/* Copies one page out of its frame; a frame that fails is read again by way of the index, which may
 * know better by now. */
static gboolean
take_page (ReadBatch *batch, const Wanted *one, GBytes *frame, GError **error)
{
  guint8 *to = batch->data + (gsize)one->place * PAGE_SIZE_BYTES;

  if (!check_page_length (one->location.len, error))
    return FALSE;
  if (frame != NULL && one->deltas != NULL && take_delta (batch, one, frame, to))
    return TRUE;
  if (frame != NULL && one->deltas == NULL && one->location.frame.codec != FRAME_DELTA) {
    const guint8 *data =
        store_chunk_in_frame (batch->store, &one->name, &one->location, frame, error);
    if (data != NULL)
      memcpy (to, data, PAGE_SIZE_BYTES);
    return data != NULL;
  }
  g_autoptr (GBytes) chunk = store_chunk_read (batch->store, &one->name, error);
  if (chunk == NULL || !check_page_length (g_bytes_get_size (chunk), error))
    return FALSE;
  memcpy (to, g_bytes_get_data (chunk, NULL), PAGE_SIZE_BYTES);
  return TRUE;
}

static gboolean
read_pages (ReadBatch *batch, GError **error)
{
  g_autoptr (GArray) wanted = locate_batch (batch, error);
  g_autoptr (GBytes) frame = NULL;

  if (wanted == NULL || !want_bases (batch, wanted, error))
    return FALSE;
  for (guint i = 0; i < wanted->len; i++) {
    const Wanted *one = &g_array_index (wanted, Wanted, i);
    if (i == 0 || compare_places (one, one - 1) != 0) {
      g_clear_pointer (&frame, g_bytes_unref);
      frame = store_frame_read (batch->store, &one->location, FALSE, NULL);
    }
    if (!take_page (batch, one, frame, error))
      return prefix_page (batch->first + one->place, error);
  }
  return TRUE;
}

/* A WorkFunc. */
static void
read_batch (gpointer data, gpointer user_data)
{
  ReadBatch *batch = data;
  GError *error = NULL;

  batch->data = g_malloc ((gsize)batch->count * PAGE_SIZE_BYTES);
  read_pages (batch, &error);
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
    return prefix_page (first, error);
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

  batch->store = ahead->reader->store;
  batch->first = ahead->next;
  batch->count = MIN (READ_PAGES, pages - ahead->next);
  batch->lock = &ahead->lock;
  batch->changed = &ahead->changed;
  for (guint done = 0; done < batch->count; done += NODE_FANOUT) {
    if (!copy_leaf (ahead, batch->first + done, &batch->names[done], error)) {
      read_batch_free (batch);
      return FALSE;
    }
  }
  ahead->next += batch->count;
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
  for (guint i = 0; i < batch->count; i++) {
    gboolean zero = chunk_name_is_zero (&batch->names[i]);
    const guint8 *data = zero ? NULL : batch->data + (gsize)i * PAGE_SIZE_BYTES;
    if ((!zero || include_zeros) && !func (batch->first + i, data, user_data, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
foreach_page (PageMapReader *reader, const guint8 *wanted, gboolean include_zeros, PageFunc func,
              gpointer user_data, const Progress *progress, GCancellable *cancellable,
              GError **error)
{
  g_auto (ReadAhead) ahead = { .reader = reader, .wanted = wanted };
  guint64 pages = map_pages (reader->map.length);

  g_mutex_init (&ahead.lock);
  g_cond_init (&ahead.changed);
  ahead.queue = work_queue_new (READERS_MAX, read_batch, NULL, error);
  if (ahead.queue == NULL)
    return FALSE;
  const guint most = work_queue_threads (ahead.queue) + 2;
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
    guint64 done = batch->first + batch->count;
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
  return foreach_page (reader, NULL, include_zeros, func, user_data, progress, cancellable, error);
}

gboolean
page_map_reader_foreach_of (PageMapReader *reader, const guint8 *wanted, PageFunc func,
                            gpointer user_data, const Progress *progress, GCancellable *cancellable,
                            GError **error)
{
  return foreach_page (reader, wanted, FALSE, func, user_data, progress, cancellable, error);
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
