/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading chunks: name → place → frame → bytes, and the proof that they are the right ones. */
#include "store-private.h"

static void
set_missing (const ChunkName *name, GError **error)
{
  g_autofree char *hex = chunk_name_to_hex (name);
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "chunk %s is missing: no pack in the store has it", hex);
}

gboolean
store_chunk_locate (Store *store, const ChunkName *name, ChunkLocation *location, GError **error)
{
  g_autoptr (IndexView) view = index_view (store->index, error);

  if (view == NULL)
    return FALSE;
  if (index_view_find (view, name, NULL, TRUE, location))
    return TRUE;
  g_autoptr (IndexView) newer = index_reload (store->index, error);
  if (newer == NULL)
    return FALSE;
  if (index_view_find (newer, name, NULL, TRUE, location))
    return TRUE;
  g_autoptr (IndexView) rebuilt = index_recover (store->index, error);
  if (rebuilt == NULL)
    return FALSE;
  if (index_view_find (rebuilt, name, NULL, TRUE, location))
    return TRUE;
  if (store_check_reachable (store, error))
    set_missing (name, error);
  return FALSE;
}

/* Reads and decompresses; errors about what is stored are STORE_ERROR_DAMAGED and name the pack. */
static GBytes *
read_frame (Store *store, const ChunkLocation *location, GError **error)
{
  g_autofree char *object = object_name ("packs", &location->pack);
  g_autoptr (GError) cause = NULL;
  g_autoptr (GBytes) stored =
      store_get (store, object, location->frame.offset, location->frame.stored_len, &cause);

  if (stored != NULL) {
    GBytes *frame = location->frame.codec == FRAME_DELTA
                        ? delta_frame_decode (stored, &location->frame, &store->key, error)
                        : frame_decode (stored, &location->frame, error);
    if (frame == NULL)
      g_prefix_error (error, "%s: ", object);
    return frame;
  }
  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
      g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT))
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s is missing or cut short: %s", object,
                 cause->message);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

GBytes *
store_frame_read (Store *store, const ChunkLocation *location, gboolean cached, GError **error)
{
  GBytes *frame = cached ? frame_cache_get (store->frames, location) : NULL;

  if (frame == NULL) {
    frame = read_frame (store, location, error);
    if (frame != NULL && cached)
      frame_cache_put (store->frames, location, frame);
  }
  return frame;
}

/* What is at the place of @name is not that. */
static gboolean
set_other (const ChunkName *name, const ChunkLocation *location, GError **error)
{
  g_autofree char *object = object_name ("packs", &location->pack);
  g_autofree char *hex = chunk_name_to_hex (name);

  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "%s is damaged: what is at the place of chunk %s is something else", object, hex);
  return FALSE;
}

const guint8 *
store_chunk_in_frame (Store *store, const ChunkName *name, const ChunkLocation *location,
                      GBytes *frame, GError **error)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (frame, &len);
  ChunkName actual;

  if (location->frame.codec != FRAME_DELTA && location->offset <= len &&
      location->len <= len - location->offset) {
    chunk_name_of (&store->key, data + location->offset, location->len, &actual);
    if (chunk_name_equal (&actual, name))
      return data + location->offset;
  }
  set_other (name, location, error);
  return NULL;
}

/* The chunk at that place, verified. Only a frame that held what was looked for is kept, and one
 * that no longer does is read again: it may be from before the store was repaired. */
static GBytes *
read_copy (Store *store, const ChunkName *name, const ChunkLocation *location, GError **error)
{
  g_autoptr (GBytes) frame = frame_cache_get (store->frames, location);
  GBytes *chunk =
      frame != NULL ? store_chunk_from_frame (store, name, location, frame, NULL) : NULL;

  if (chunk != NULL)
    return chunk;
  g_clear_pointer (&frame, g_bytes_unref);
  frame = store_frame_read (store, location, FALSE, error);
  if (frame == NULL)
    return NULL;
  chunk = store_chunk_from_frame (store, name, location, frame, error);
  if (chunk != NULL)
    frame_cache_put (store->frames, location, frame);
  return chunk;
}

typedef gboolean (*FindFunc) (const IndexView *view, const ChunkName *name, GHashTable *skip,
                              gboolean recovered, ChunkLocation *location);

/* Tries each copy of the chunk that @view knows of and that was not tried yet; @tried: packs that
 * failed. NULL with *@cause the last failure, untouched if there was nothing to try. */
static GBytes *
try_copies (Store *store, const ChunkName *name, const IndexView *view, FindFunc find,
            GHashTable *tried, GError **cause)
{
  ChunkLocation location;

  while (find (view, name, tried, TRUE, &location)) {
    g_clear_error (cause);
    GBytes *chunk = read_copy (store, name, &location, cause);
    if (chunk != NULL)
      return chunk;
    if (!g_error_matches (*cause, STORE_ERROR, STORE_ERROR_DAMAGED))
      return NULL;
    g_hash_table_add (tried, g_memdup2 (&location.pack, sizeof location.pack));
  }
  return NULL;
}

/* Reads a chunk from wherever @find finds it. */
static GBytes *
read_chunk (Store *store, const ChunkName *name, FindFunc find, GError **error)
{
  /* What is known; what gc may have changed meanwhile; what only the packs themselves tell. */
  IndexView *(*const views[]) (Index *, GError **) = { index_view, index_reload, index_recover };
  g_autoptr (GHashTable) tried =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);
  g_autoptr (GError) cause = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (views); i++) {
    g_autoptr (IndexView) view = views[i](store->index, error);
    if (view == NULL)
      return NULL;
    GBytes *chunk = try_copies (store, name, view, find, tried, &cause);
    if (chunk != NULL)
      return chunk;
    if (cause != NULL && !g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
      break;
  }
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  else if (store_check_reachable (store, error))
    set_missing (name, error);
  return NULL;
}

GBytes *
store_chunk_read (Store *store, const ChunkName *name, GError **error)
{
  return read_chunk (store, name, index_view_find, error);
}

GBytes *
store_chunk_read_full (Store *store, const ChunkName *name, GError **error)
{
  return read_chunk (store, name, index_view_find_full, error);
}

/* ---- Deltas ---- */

gboolean
store_delta_in_frame (const ChunkLocation *location, GBytes *frame, Delta *delta, GError **error)
{
  if (location->offset % PAGE_SIZE_BYTES == 0 && location->len == PAGE_SIZE_BYTES &&
      delta_frame_get (frame, location->offset / PAGE_SIZE_BYTES, delta))
    return TRUE;
  g_autofree char *object = object_name ("packs", &location->pack);
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s has no delta where one is looked for",
               object);
  return FALSE;
}

gboolean
store_delta_load (Store *store, const ChunkLocation *location, Delta *delta, GError **error)
{
  g_autoptr (GBytes) frame = store_frame_read (store, location, TRUE, error);

  if (frame == NULL || !store_delta_in_frame (location, frame, delta, error))
    return FALSE;
  delta->lines = NULL; /* they go with the frame */
  return TRUE;
}

gboolean
store_delta_apply (Store *store, const ChunkName *name, const ChunkLocation *location,
                   const Delta *delta, guint8 *page, GError **error)
{
  ChunkName actual;

  delta_apply (delta, page);
  chunk_name_of (&store->key, page, PAGE_SIZE_BYTES, &actual);
  return chunk_name_equal (&actual, name) || set_other (name, location, error);
}

static GBytes *
resolve_delta (Store *store, const ChunkName *name, const ChunkLocation *location, GBytes *frame,
               GError **error)
{
  Delta delta;

  if (!store_delta_in_frame (location, frame, &delta, error))
    return NULL;
  /* Only a copy in full: a delta of a delta is nothing that this goes into. */
  g_autoptr (GBytes) base = store_chunk_read_full (store, &delta.base, error);
  if (base == NULL) {
    g_autofree char *object = object_name ("packs", &location->pack);
    g_prefix_error (error, "the base of a delta in %s: ", object);
    return NULL;
  }
  if (g_bytes_get_size (base) != PAGE_SIZE_BYTES) {
    set_other (name, location, error);
    return NULL;
  }
  g_autofree guint8 *page = g_memdup2 (g_bytes_get_data (base, NULL), PAGE_SIZE_BYTES);
  if (!store_delta_apply (store, name, location, &delta, page, error))
    return NULL;
  return g_bytes_new_take (g_steal_pointer (&page), PAGE_SIZE_BYTES);
}

GBytes *
store_chunk_from_frame (Store *store, const ChunkName *name, const ChunkLocation *location,
                        GBytes *frame, GError **error)
{
  if (location->frame.codec == FRAME_DELTA)
    return resolve_delta (store, name, location, frame, error);
  if (store_chunk_in_frame (store, name, location, frame, error) == NULL)
    return NULL;
  return g_bytes_new_from_bytes (frame, location->offset, location->len);
}
