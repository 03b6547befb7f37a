/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Emptying packs that are mostly unused, by way of an ordinary transaction. */
#include "gc-private.h"
#include "writer-private.h"

typedef struct {
  ChunkName name;
  ChunkLocation location;
} Kept;

static void
collect_kept (const ChunkName *name, const ChunkLocation *location, gpointer user_data)
{
  Kept kept = { *name, *location };
  g_array_append_val ((GArray *)user_data, kept);
}

static gboolean
is_delta (const Kept *kept)
{
  return kept->location.frame.codec == FRAME_DELTA;
}

/* In the order of packs and frames, so that each frame is read once. */
static int
compare_kept (gconstpointer a, gconstpointer b)
{
  return chunk_location_compare (&((const Kept *)a)->location, &((const Kept *)b)->location);
}

/* Puts a chunk where it is kept: a delta as one again, if its base is not in a victim, too. */
static gboolean
copy_chunk (Store *store, Pipeline *pipeline, const Kept *kept, GError **error)
{
  g_autoptr (GBytes) frame = store_frame_read (store, &kept->location, TRUE, error);
  ChunkName name;
  Delta delta;

  if (frame == NULL)
    return FALSE;
  g_autoptr (GBytes) chunk =
      store_chunk_from_frame (store, &kept->name, &kept->location, frame, error);
  if (chunk == NULL)
    return FALSE;
  if (is_delta (kept))
    return store_delta_in_frame (&kept->location, frame, &delta, error) &&
           pipeline_add_changed (pipeline, chunk, &delta.base, error);
  /* Only pages have a page's length. */
  PackKind kind = kept->location.len == PAGE_SIZE_BYTES ? PACK_DATA : PACK_METADATA;
  return pipeline_add (pipeline, kind, chunk, &name, error);
}

/* Copies the deltas, or all else: what was moved can be a base once it was flushed. */
static gboolean
copy_chunks (StoreWriter *writer, const GArray *kept, gboolean deltas, GCancellable *cancellable,
             GError **error)
{
  Store *store = store_writer_store (writer);
  Pipeline *pipeline = store_writer_pipeline (writer);

  for (guint i = 0; i < kept->len; i++) {
    const Kept *one = &g_array_index (kept, Kept, i);
    if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
        (is_delta (one) == deltas && !copy_chunk (store, pipeline, one, error)))
      return FALSE;
  }
  return store_writer_flush (writer, cancellable, error);
}

gboolean
gc_repack (Store *store, Mark *mark, GHashTable *victims, GHashTable *dead, guint64 *chunks,
           guint64 *bytes, GCancellable *cancellable, GError **error)
{
  g_autoptr (GArray) kept = g_array_new (FALSE, FALSE, sizeof (Kept));
  g_autoptr (GHashTable) avoid = pack_set_new();
  StoreWriterStats stats;

  pack_set_add_all (avoid, victims);
  pack_set_add_all (avoid, dead);
  pack_use_foreach_kept (mark, victims, collect_kept, kept);
  if (!mark_check (mark, error))
    return FALSE;
  g_array_sort (kept, compare_kept);
  g_autoptr (StoreWriter) writer = store_writer_begin_avoiding (store, avoid, error);
  if (writer == NULL)
    return FALSE;
  store_writer_set_delta (writer, STORE_DELTA_ALWAYS);
  if (!copy_chunks (writer, kept, FALSE, cancellable, error) ||
      !copy_chunks (writer, kept, TRUE, cancellable, error))
    return FALSE;
  store_writer_stats (writer, &stats);
  *chunks = kept->len;
  *bytes = stats.stored_bytes;
  return TRUE;
}
