/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a page map: pages go into batches, what comes back becomes the list of changes. */
#include "map-build.h"
#include "writer-private.h"

#include <string.h>

struct _PageMapWriter {
  StoreWriter *writer;
  Pipeline *pipeline;
  PageMap map;
  guint64 pages;
  Batch *batch; /* (nullable): being filled */
  gboolean finished;
  /* Only touched in deliveries, one at a time, and when all is delivered. */
  MapNames *base;   /* (nullable) */
  GArray *changes;  /* of RunEntry, as they came */
  int n_changes;    /* (atomic) how many */
  guint8 *recorded; /* bitmap: pages in `changes` */
  PageMapStats stats;
};

PageMapWriter *
page_map_writer_new (StoreWriter *writer, guint64 length, const PageMap *base, GError **error)
{
  g_autoptr (PageMapWriter) self = g_new0 (PageMapWriter, 1);

  if (length > MAP_LENGTH_MAX) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                         "a page map cannot be that long");
    return NULL;
  }
  self->writer = writer;
  self->pipeline = store_writer_pipeline (writer);
  self->map.length = length;
  self->pages = map_pages (length);
  self->changes = g_array_new (FALSE, FALSE, sizeof (RunEntry));
  self->recorded = g_malloc0 (self->pages / 8 + 1);
  if (base != NULL) {
    if (!store_writer_check_base (writer, base, error))
      return NULL;
    self->base = map_names_new (store_writer_store (writer), base, error);
    if (self->base == NULL)
      return NULL;
  }
  return g_steal_pointer (&self);
}

void
page_map_writer_free (PageMapWriter *self)
{
  if (self == NULL)
    return;
  /* Batches on their way refer to this. */
  if (self->pipeline != NULL)
    pipeline_wait_delivered (self->pipeline, NULL);
  batch_free (self->batch);
  map_names_free (self->base);
  if (self->changes != NULL)
    g_array_unref (self->changes);
  g_free (self->recorded);
  g_free (self);
}

/* What the base has at @page; all zeros without one. */
static const ChunkName *
base_name (PageMapWriter *self, guint64 page, GError **error)
{
  static const ChunkName zero;
  return self->base != NULL ? map_names_page (self->base, page, error) : &zero;
}

/* A page that had content before may be stored as what changed in it. */
static ChunkFate
add_page (PageMapWriter *self, const ChunkName *name, const ChunkName *former, const guint8 *data)
{
  return chunk_name_is_zero (former)
             ? pipeline_add_locked (self->pipeline, PACK_DATA, name, data, PAGE_SIZE_BYTES)
             : pipeline_add_changed_locked (self->pipeline, name, former, data);
}

/* Accepts one hashed page. */
static gboolean
accept_page (PageMapWriter *self, guint64 page, const ChunkName *name, const guint8 *data,
             GError **error)
{
  const ChunkName *former = base_name (self, page, error);
  gboolean zero = chunk_name_is_zero (name);
  guint8 bit = 1 << page % 8;
  RunEntry entry = { page, *name };

  if (former == NULL)
    return FALSE;
  gboolean same = chunk_name_equal (former, name);
  if (zero)
    self->stats.zero++;
  else if (same)
    self->stats.unchanged++;
  else if (add_page (self, name, former, data) == CHUNK_KNOWN)
    self->stats.known++;
  else
    self->stats.fresh++;
  /* A page that was put before and is now as the base has it must still replace what was put. */
  if (same && !(self->recorded[page / 8] & bit))
    return TRUE;
  self->recorded[page / 8] |= bit;
  g_array_append_val (self->changes, entry);
  g_atomic_int_inc (&self->n_changes);
  return TRUE;
}

/* A BatchFunc. */
static gboolean
accept_batch (Batch *batch, GError **error)
{
  PageMapWriter *self = batch->user_data;

  for (guint i = 0; i < batch->count; i++)
    if (!accept_page (self, batch->pages[i], &batch->names[i],
                      batch->data + (gsize)i * PAGE_SIZE_BYTES, error))
      return FALSE;
  return TRUE;
}

static int
compare_pages (gconstpointer a, gconstpointer b)
{
  guint64 pa = ((const RunEntry *)a)->page, pb = ((const RunEntry *)b)->page;
  return pa < pb ? -1 : pa > pb;
}

/* Sorts the changes; of several of one page the last one stays. */
static void
settle_changes (GArray *changes)
{
  RunEntry *entries = (RunEntry *)changes->data;
  gboolean sorted = TRUE;
  guint kept = 0;

  for (guint i = 1; i < changes->len && sorted; i++)
    sorted = entries[i - 1].page < entries[i].page;
  if (sorted)
    return;
  g_array_sort (changes, compare_pages); /* stable */
  entries = (RunEntry *)changes->data;
  for (guint i = 0; i < changes->len; i++)
    if (i + 1 == changes->len || entries[i].page != entries[i + 1].page)
      entries[kept++] = entries[i];
  g_array_set_size (changes, kept);
}

/* Makes a map of the changes so far, and of that the base. It is flushed, so that it can be read.
 */
static gboolean
fold (PageMapWriter *self, GError **error)
{
  PageMap map = { .length = self->map.length };

  if (!pipeline_wait_delivered (self->pipeline, error))
    return FALSE;
  settle_changes (self->changes);
  if (!map_build (self->pipeline, self->base, self->changes, &map, error) ||
      !store_writer_flush (self->writer, NULL, error))
    return FALSE;
  g_clear_pointer (&self->base, map_names_free);
  self->base = map_names_new (store_writer_store (self->writer), &map, error);
  g_array_set_size (self->changes, 0);
  g_atomic_int_set (&self->n_changes, 0);
  memset (self->recorded, 0, self->pages / 8 + 1);
  return self->base != NULL;
}

gboolean
page_map_writer_put (PageMapWriter *self, guint64 page, const guint8 *data, GError **error)
{
  if (page >= self->pages || self->finished) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                 "page %" G_GUINT64_FORMAT " is not in this map of %" G_GUINT64_FORMAT, page,
                 self->pages);
    return FALSE;
  }
  if (self->batch == NULL)
    self->batch = batch_new (self->pipeline, accept_batch, self);
  Batch *batch = self->batch;
  guint8 *slot = batch->data + (gsize)batch->count * PAGE_SIZE_BYTES;
  if (data != NULL)
    memcpy (slot, data, PAGE_SIZE_BYTES);
  else
    memset (slot, 0, PAGE_SIZE_BYTES);
  batch->pages[batch->count++] = page;
  if (batch->count < BATCH_PAGES)
    return TRUE;
  return pipeline_submit (self->pipeline, g_steal_pointer (&self->batch), error) &&
         store_writer_bound (self->writer, error) &&
         (g_atomic_int_get (&self->n_changes) < store_writer_bounds (self->writer)->changes ||
          fold (self, error));
}

/* What was put is on its way. */
static gboolean
submit_rest (PageMapWriter *self, GError **error)
{
  return self->batch == NULL ||
         pipeline_submit (self->pipeline, g_steal_pointer (&self->batch), error);
}

gboolean
page_map_writer_flush (PageMapWriter *self, GError **error)
{
  if (!submit_rest (self, error) || !pipeline_wait_delivered (self->pipeline, error))
    return FALSE;
  return self->changes->len > 0 ? fold (self, error)
                                : store_writer_flush (self->writer, NULL, error);
}

gboolean
page_map_writer_finish (PageMapWriter *self, PageMap *map, PageMapStats *stats, GError **error)
{
  if (!submit_rest (self, error) || !pipeline_wait_delivered (self->pipeline, error))
    return FALSE;
  self->finished = TRUE;
  settle_changes (self->changes);
  if (!map_build (self->pipeline, self->base, self->changes, &self->map, error))
    return FALSE;
  self->stats.put =
      self->stats.zero + self->stats.unchanged + self->stats.known + self->stats.fresh;
  *map = self->map;
  if (stats != NULL)
    *stats = self->stats;
  return TRUE;
}

gboolean
store_writer_put_data (StoreWriter *writer, const guint8 *data, gsize len, PageMap *map,
                       GError **error)
{
  g_autoptr (PageMapWriter) pages = page_map_writer_new (writer, len, NULL, error);

  if (pages == NULL)
    return FALSE;
  for (gsize at = 0; at < len; at += PAGE_SIZE_BYTES) {
    guint8 last[PAGE_SIZE_BYTES] = { 0 };
    const guint8 *page = data + at;
    if (len - at < PAGE_SIZE_BYTES)
      page = memcpy (last, page, len - at);
    if (!page_map_writer_put (pages, at / PAGE_SIZE_BYTES, page, error))
      return FALSE;
  }
  return page_map_writer_finish (pages, map, NULL, error);
}
