/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of a transaction, which docs/store-format.md, "Writing", explains:
 *
 *   announce → read condemned lists → load the index → put packs → sync → put index table → sync
 *   → put manifest → sync → take back the announcement
 */
#include "writer-private.h"

#include "announce.h"
#include "map-hurt.h"
#include "map-walk.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <string.h>

struct _StoreWriter {
  Store *store;
  Pipeline *pipeline;
  char *announcement;
  GHashTable *skip; /* packs that do not count */
  gboolean some_condemned, some_skipped;
  gboolean published; /* an index table may name packs that the pipeline has not forgotten */
  WriterBounds bounds;
  GMutex flushing;                        /* held by who seals and publishes */
  gboolean failed;                        /* a flush failed after its packs were sealed */
  void (*on_commit) (gpointer user_data); /* (nullable) */
  gpointer on_commit_data;
  GMutex lock;
  GHashTable *safe_bases; /* (lock) (nullable) set of ChunkName: maps of checkpoints that exist */
  guint64 index_bytes;    /* (lock) of index tables, with merged ones */
  guint64 manifest_bytes; /* (lock) */
};

static void
add_copy (gpointer key, gpointer value, gpointer user_data)
{
  g_hash_table_add (user_data, g_memdup2 (key, CHUNK_NAME_BYTES));
}

/* The steps from the announcement on; what was done is undone by store_writer_free(). */
static gboolean
begin_steps (StoreWriter *writer, GHashTable *avoid, GError **error)
{
  Store *store = writer->store;

  if (!store_probe_writable (store, NULL, error))
    return FALSE;
  writer->announcement = announcement_put (store, ANNOUNCE_WRITER, error);
  if (writer->announcement == NULL || !fault_visit (FAULT_WRITER_ANNOUNCED, error))
    return FALSE;
  writer->skip = condemned_packs (store, error);
  if (writer->skip == NULL)
    return FALSE;
  writer->some_condemned = g_hash_table_size (writer->skip) > 0;
  if (avoid != NULL)
    g_hash_table_foreach (avoid, add_copy, writer->skip);
  writer->some_skipped = g_hash_table_size (writer->skip) > 0;
  /* Not before: an older view may name packs that gc has deleted by now. */
  g_autoptr (IndexView) view = index_reload (store->index, error);
  if (view == NULL)
    return FALSE;
  writer->pipeline = pipeline_new (store, view, writer->skip, error);
  return writer->pipeline != NULL;
}

StoreWriter *
store_writer_begin_avoiding (Store *store, GHashTable *avoid, GError **error)
{
  ERROR_PREFIX (error, "beginning to write to the store %s", store_location (store));
  g_autoptr (StoreWriter) writer = g_new0 (StoreWriter, 1);

  writer->store = store_ref (store);
  g_mutex_init (&writer->lock);
  g_mutex_init (&writer->flushing);
  writer->bounds = WRITER_BOUNDS;
  if (!begin_steps (writer, avoid, error))
    return NULL;
  return g_steal_pointer (&writer);
}

StoreWriter *
store_writer_begin (Store *store, GError **error)
{
  return store_writer_begin_avoiding (store, NULL, error);
}

gboolean
store_writer_enforce_quota (StoreWriter *writer, const char *guest, GError **error)
{
  ERROR_PREFIX (error, "beginning to write to the store %s", store_location (writer->store));
  g_autoptr (QuotaRoom) room = quota_room_new (writer->store, guest, error);

  if (room == NULL || !quota_room_allows (room, 0, error))
    return FALSE;
  pipeline_limit (writer->pipeline, g_steal_pointer (&room));
  return TRUE;
}

void
store_writer_set_bounds (StoreWriter *writer, WriterBounds bounds)
{
  writer->bounds = bounds;
}

const WriterBounds *
store_writer_bounds (StoreWriter *writer)
{
  return &writer->bounds;
}

Store *
store_writer_store (StoreWriter *writer)
{
  return writer->store;
}

Pipeline *
store_writer_pipeline (StoreWriter *writer)
{
  return writer->pipeline;
}

/* Removes what only this writer knows of. Once a table named it, others may refer to it: then it is
 * gc's to remove. */
static void
remove_own_packs (StoreWriter *writer)
{
  const BackendOps *ops = writer->store->backend->ops;
  g_autoptr (GPtrArray) packs = pipeline_packs (writer->pipeline);

  for (guint i = 0; i < packs->len; i++)
    ops->remove (writer->store->backend, packs->pdata[i], NULL);
}

void
store_writer_free (StoreWriter *writer)
{
  if (writer == NULL)
    return;
  if (writer->pipeline != NULL) {
    pipeline_stop (writer->pipeline);
    if (!writer->published)
      remove_own_packs (writer);
    pipeline_free (writer->pipeline);
  }
  announcement_take_back (writer->store, writer->announcement);
  g_clear_pointer (&writer->skip, g_hash_table_unref);
  g_clear_pointer (&writer->safe_bases, g_hash_table_unref);
  g_mutex_clear (&writer->lock);
  g_mutex_clear (&writer->flushing);
  store_unref (writer->store);
  g_free (writer);
}

void
store_writer_stats (StoreWriter *writer, StoreWriterStats *stats)
{
  PipelineStats counts;

  pipeline_stats (writer->pipeline, &counts);
  g_mutex_lock (&writer->lock);
  *stats = (StoreWriterStats){ .new_bytes = counts.new_bytes,
                               .stored_bytes = counts.stored_bytes + writer->index_bytes +
                                               writer->manifest_bytes,
                               .index_bytes = writer->index_bytes,
                               .metadata_bytes = counts.metadata_bytes,
                               .delta_pages = counts.delta_pages };
  g_mutex_unlock (&writer->lock);
}

void
store_writer_set_delta (StoreWriter *writer, StoreDeltaMode mode)
{
  pipeline_set_delta (writer->pipeline, mode);
}

/* Publishes a table of what the packs hold that were sealed now. */
static gboolean
publish (StoreWriter *writer, IndexContents *contents, GError **error)
{
  Store *store = writer->store;
  guint64 size = 0;

  /* An error does not say that the table is not there (a network file system that timed out). Packs
   * that it may name are gc's to remove; only a full store is sure to have taken nothing. */
  g_autoptr (GError) cause = NULL;
  if (!index_publish (store->index, contents, &size, NULL, &cause)) {
    writer->published = !g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  writer->published = TRUE;
  g_mutex_lock (&writer->lock);
  writer->index_bytes += size;
  g_mutex_unlock (&writer->lock);
  if (!store_sync (store, error) || !fault_visit (FAULT_INDEX_WRITTEN, error))
    return FALSE;
  g_autoptr (IndexView) view = index_reload (store->index, error);
  if (view == NULL)
    return FALSE;
  pipeline_use_view (writer->pipeline, view);
  pipeline_forget_packs (writer->pipeline);
  writer->published = FALSE;
  return TRUE;
}

/* An IndexMayRemove. */
static gboolean
nobody_walks (gpointer user_data)
{
  StoreWriter *writer = user_data;
  gboolean any = TRUE;

  return announcements_any_walker (writer->store, writer->announcement, &any, NULL) && !any;
}

/* Keeps the number of index tables small. Only if no pack was condemned when this transaction was
 * announced: then no gc takes packs out of the index while it lasts. */
static void
merge_tables (StoreWriter *writer, GCancellable *cancellable)
{
  guint64 size = 0;

  if (writer->some_condemned)
    return;
  g_autoptr (IndexView) view = index_view (writer->store->index, NULL);
  if (view != NULL)
    index_merge (writer->store->index, view, nobody_walks, writer, &size, cancellable, NULL);
  g_mutex_lock (&writer->lock);
  writer->index_bytes += size;
  g_mutex_unlock (&writer->lock);
}

/* With the flushing lock. */
static gboolean
flush (StoreWriter *writer, GCancellable *cancellable, GError **error)
{
  g_autoptr (IndexContents) contents = NULL;

  if (writer->failed) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "an earlier flush failed");
    return FALSE;
  }
  if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
      !pipeline_seal (writer->pipeline, &contents, error))
    return FALSE;
  if (contents->packs->len == 0)
    return TRUE;
  /* What was sealed is not sealed again: without a table of it there is no checkpoint. */
  writer->failed = !store_sync (writer->store, error) || !fault_visit (FAULT_PACKS_SYNCED, error) ||
                   g_cancellable_set_error_if_cancelled (cancellable, error) ||
                   !publish (writer, contents, error);
  return !writer->failed;
}

gboolean
store_writer_flush (StoreWriter *writer, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "writing to the store %s", store_location (writer->store));
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&writer->flushing);

  return flush (writer, cancellable, error);
}

gboolean
store_writer_bound (StoreWriter *writer, GError **error)
{
  if (pipeline_unsealed (writer->pipeline) < writer->bounds.chunks)
    return TRUE;
  ERROR_PREFIX (error, "writing to the store %s", store_location (writer->store));
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&writer->flushing);
  /* Another thread may have done it. */
  if (pipeline_unsealed (writer->pipeline) < writer->bounds.chunks)
    return TRUE;
  if (!flush (writer, NULL, error))
    return FALSE;
  merge_tables (writer, NULL);
  return TRUE;
}

/* Puts a manifest. The one that is there already may be damaged: then it goes first, since success
 * says that the checkpoint can be read. */
static gboolean
put_whole (Store *store, GBytes *bytes, const ChunkName *hash, const char *object,
           gboolean *existed, GError **error)
{
  g_autofree char *id = chunk_name_to_hex (hash);
  g_autoptr (GError) cause = NULL;

  if (!store_put (store, object, bytes, existed, error))
    return FALSE;
  if (!*existed)
    return TRUE;
  g_autoptr (Manifest) there = store_manifest_load (store, id, &cause);
  if (there != NULL)
    return TRUE;
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) ||
      g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND))
    return store_remove (store, object, error) && store_put (store, object, bytes, existed, error);
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* Puts the manifest; after FALSE it is not there. */
static gboolean
put_manifest (StoreWriter *writer, GBytes *bytes, const ChunkName *hash, const char *object,
              GError **error)
{
  gboolean existed = FALSE;

  if (!put_whole (writer->store, bytes, hash, object, &existed, error))
    return FALSE;
  if (store_sync (writer->store, error))
    return TRUE;
  if (!existed)
    writer->store->backend->ops->remove (writer->store->backend, object, NULL);
  return FALSE;
}

void
store_writer_on_commit (StoreWriter *writer, void (*func) (gpointer user_data), gpointer user_data)
{
  writer->on_commit = func;
  writer->on_commit_data = user_data;
}

gboolean
store_writer_commit (StoreWriter *writer, Manifest *manifest, GCancellable *cancellable,
                     GError **error)
{
  g_autoptr (GBytes) bytes = store_text_pad (writer->store, manifest_to_bytes (manifest), NULL);
  ChunkName hash;

  if (!store_writer_flush (writer, cancellable, error))
    return FALSE;
  ERROR_PREFIX (error, "committing a checkpoint to the store %s", store_location (writer->store));
  /* What could not be read back must not be written: nobody could delete it by name. */
  g_autoptr (Manifest) readable = manifest_from_bytes (bytes, error);
  if (readable == NULL || g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  chunk_name_of (&writer->store->key, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                 &hash);
  g_autofree char *object = object_name ("manifests", &hash);
  if (!put_manifest (writer, bytes, &hash, object, error))
    return FALSE;
  g_free (manifest->id);
  manifest->id = chunk_name_to_hex (&hash);
  g_mutex_lock (&writer->lock);
  writer->manifest_bytes += g_bytes_get_size (bytes);
  g_mutex_unlock (&writer->lock);
  if (writer->on_commit != NULL)
    writer->on_commit (writer->on_commit_data);
  /* The checkpoint exists, whatever happens to what is left to do. */
  merge_tables (writer, cancellable);
  if (fault_visit (FAULT_MANIFEST_WRITTEN, NULL))
    announcement_take_back (writer->store, g_steal_pointer (&writer->announcement));
  else
    g_clear_pointer (&writer->announcement, g_free);
  return TRUE;
}

/* TRUE if @name is in a pack that is not condemned; for a delta, its base must be so too. */
static gboolean
chunk_is_secure (StoreWriter *writer, const IndexView *view, const ChunkName *name)
{
  ChunkLocation location, base;
  Delta delta;

  if (!index_view_find (view, name, writer->skip, FALSE, &location))
    return FALSE;
  if (location.frame.codec != FRAME_DELTA ||
      index_view_find_full (view, name, writer->skip, FALSE, &base))
    return TRUE;
  return store_delta_load (writer->store, &location, &delta, NULL) &&
         index_view_find_full (view, &delta.base, writer->skip, FALSE, &base);
}

/* Makes sure of one chunk of a base: one that is only in condemned packs is stored again. */
static gboolean
secure_chunk (StoreWriter *writer, const ChunkName *name, GError **error)
{
  g_autoptr (IndexView) view = index_view (writer->store->index, error);
  g_autoptr (GError) cause = NULL;
  ChunkName again;

  if (view == NULL)
    return FALSE;
  if (chunk_is_secure (writer, view, name))
    return TRUE;
  /* A table was replaced meanwhile. */
  g_autoptr (IndexView) now =
      index_view_failed (view) ? index_reload (writer->store->index, error) : index_view_ref (view);
  if (now == NULL)
    return FALSE;
  if (chunk_is_secure (writer, now, name))
    return TRUE;
  g_autoptr (GBytes) bytes = store_chunk_read (writer->store, name, &cause);
  if (bytes != NULL) {
    /* Only pages have a page's length. */
    PackKind kind = g_bytes_get_size (bytes) == PAGE_SIZE_BYTES ? PACK_DATA : PACK_METADATA;
    return pipeline_add (writer->pipeline, kind, bytes, &again, error);
  }
  g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND,
               "the checkpoint to build on is gone or damaged, take a full one: %s",
               cause->message);
  return FALSE;
}

/* Walking a base. */
typedef struct {
  StoreWriter *writer;
  GError *lost; /* (nullable) a page cannot be read, perhaps only one that a newer run replaces */
} BaseWalk;

static gboolean
visit_base_node (const ChunkName *name, gboolean *descend, gpointer user_data, GError **error)
{
  return secure_chunk (((BaseWalk *)user_data)->writer, name, error);
}

static gboolean
visit_base_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  BaseWalk *walk = user_data;
  g_autoptr (GError) cause = NULL;

  if (secure_chunk (walk->writer, name, &cause))
    return TRUE;
  if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  if (walk->lost == NULL)
    walk->lost = g_steal_pointer (&cause);
  return TRUE;
}

static gboolean
is_usable (const ChunkName *name, gboolean *usable, gpointer user_data, GError **error)
{
  g_autoptr (GError) cause = NULL;

  *usable = secure_chunk (((BaseWalk *)user_data)->writer, name, &cause);
  if (*usable || g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
refuse_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  BaseWalk *walk = user_data;
  g_propagate_error (error, g_steal_pointer (&walk->lost));
  return FALSE;
}

static gboolean
refuse_range (guint64 first, guint64 count, gpointer user_data, GError **error)
{
  return refuse_page (first, NULL, user_data, error);
}

/* Makes sure of all that the base refers to. What newer runs replace nobody wants: that may be
 * lost. */
static gboolean
secure_base (StoreWriter *writer, const PageMap *base, GError **error)
{
  BaseWalk walk = { .writer = writer };
  const MapVisitor visitor = { visit_base_node, visit_base_page, &walk };
  const MapHurtVisitor wanted = { is_usable, refuse_page, refuse_range, NULL, &walk };
  gboolean good = map_walk (writer->store, base, &visitor, NULL, error) &&
                  (walk.lost == NULL || map_hurt (writer->store, base, &wanted, NULL, error));

  g_clear_error (&walk.lost);
  return good;
}

gboolean
store_writer_check_base (StoreWriter *writer, const PageMap *base, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&writer->lock);

  if (chunk_name_is_zero (&base->root))
    return TRUE;
  /* Of the checkpoints that exist now, that is, after the announcement. */
  if (writer->safe_bases == NULL)
    writer->safe_bases = store_manifest_roots (writer->store, error);
  if (writer->safe_bases == NULL)
    return FALSE;
  if (!writer->some_skipped && g_hash_table_contains (writer->safe_bases, &base->root))
    return TRUE;
  return secure_base (writer, base, error);
}
