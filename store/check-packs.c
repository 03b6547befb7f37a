/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packs, and whether the index says the same as their footers. */
#include "check-private.h"
#include "gc-private.h"
#include "work-queue.h"

#include <string.h>

#define READERS_MAX 4

/* TRUE if @table has this chunk of this pack, at the same place. */
static gboolean
table_has (const IndexTable *table, const ChunkName *pack, const FrameInfo *frame,
           const PackChunk *chunk)
{
  gint64 at = index_table_find (table, &chunk->name);
  ChunkName name = chunk->name;

  for (; at >= 0 && at < index_table_entries (table); at++) {
    ChunkLocation place;
    gboolean sane = index_table_entry (table, at, &name, &place, NULL);
    if (!chunk_name_equal (&name, &chunk->name))
      return FALSE;
    if (sane && chunk_name_equal (&place.pack, pack) && place.frame.offset == frame->offset &&
        place.frame.stored_len == frame->stored_len && place.frame.raw_len == frame->raw_len &&
        place.frame.codec == frame->codec && place.offset == chunk->offset &&
        place.len == chunk->len)
      return TRUE;
  }
  return FALSE;
}

/* FALSE if the table says something else about this pack than its footer. */
static gboolean
agrees (const IndexTable *table, const IndexPack *record, const PackFooter *footer)
{
  const PackChunk *chunk = footer->chunks;

  if (record->size != footer->pack_size || record->chunks != footer->n_chunks ||
      record->kind != footer->kind)
    return FALSE;
  for (guint i = 0; i < footer->n_frames; i++)
    for (guint j = 0; j < footer->frames[i].chunks; j++, chunk++)
      if (!table_has (table, &record->name, &footer->frames[i], chunk))
        return FALSE;
  return TRUE;
}

/* What every pack in the index must be: there, of that size, with the right footer. */
/* TRUE if the pack is gone, and may be. */
static gboolean
gone_rightly (Check *check, const ChunkName *pack)
{
  g_autofree char *object = object_name ("packs", pack);
  gboolean mine = !g_hash_table_contains (check->condemned, pack);
  guint64 size;

  for (guint i = 0; mine && i < check->view->tables->len; i++)
    if (index_table_has_pack (check->view->tables->pdata[i], pack))
      return FALSE;
  return !check->store->backend->ops->stat (check->store->backend, object, &size, NULL);
}

static gboolean
check_indexed_pack (Check *check, const IndexTable *table, const IndexPack *record, GError **error)
{
  Store *store = check->store;
  const guint64 *size = g_hash_table_lookup (check->listed, &record->name);
  g_autoptr (GError) cause = NULL;

  if (gone_rightly (check, &record->name))
    return TRUE;
  if (size == NULL) {
    check_note_pack (check, &record->name, "is missing");
    return TRUE;
  }
  if (*size != record->size) {
    g_autofree char *problem = g_strdup_printf (
        "has %" G_GUINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT, *size, record->size);
    check_note_pack (check, &record->name, problem);
    return TRUE;
  }
  g_autoptr (PackFooter) footer =
      pack_footer_load (store->backend, &store->key, &record->name, &cause);
  if (footer != NULL) {
    if (!agrees (table, record, footer))
      check_note (check, index_table_object (table), "does not agree with the packs' footers");
    return TRUE;
  }
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) ||
      g_error_matches (cause, STORE_ERROR, STORE_ERROR_VERSION)) {
    check_note_pack (check, &record->name, cause->message);
    return TRUE;
  }
  if (gone_rightly (check, &record->name))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
check_table (Check *check, const IndexTable *table, GError **error)
{
  for (guint i = 0; i < index_table_packs (table); i++) {
    IndexPack record;
    index_table_pack (table, i, &record);
    if (g_cancellable_set_error_if_cancelled (check->cancellable, error) ||
        !check_indexed_pack (check, table, &record, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- Every chunk ---- */

typedef struct {
  Check *check;
  guint64 done, total; /* (check->lock) bytes of packs */
  GPtrArray *errors;   /* (check->lock) of GError: what kept us from reading */
} ReadAll;

/* Verifies the chunks of one frame; FALSE if any is wrong. */
static gboolean
check_frame (Check *check, const ChunkName *pack, const PackFooter *footer, const FrameInfo *info,
             const PackChunk *chunks, GError **error)
{
  ChunkLocation location = { .pack = *pack, .pack_size = footer->pack_size, .frame = *info };
  g_autoptr (GBytes) frame = store_frame_read (check->store, &location, FALSE, error);
  gboolean good = frame != NULL;

  if (frame == NULL && gone_rightly (check, pack)) {
    g_clear_error (error);
    return TRUE;
  }
  for (guint i = 0; i < info->chunks; i++) {
    location.offset = chunks[i].offset;
    location.len = chunks[i].len;
    g_autoptr (GBytes) chunk = frame != NULL
                                   ? store_chunk_from_frame (check->store, &chunks[i].name,
                                                             &location, frame, good ? error : NULL)
                                   : NULL;
    if (chunk != NULL)
      continue;
    good = FALSE;
    g_mutex_lock (&check->lock);
    name_set_add (check->bad_chunks, &chunks[i].name);
    g_mutex_unlock (&check->lock);
  }
  return good;
}

/* Notes what is wrong with a pack that was being read. */
static void
note_read_error (ReadAll *all, const ChunkName *pack, GError *error)
{
  g_autofree char *object = object_name ("packs", pack);

  if (g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    check_note (all->check, object, "holds data that is not what its footer says");
    return;
  }
  /* An unreadable medium is damage too; a store that is gone is not. */
  if (error->domain == G_IO_ERROR && error->code != G_IO_ERROR_CANCELLED) {
    check_note (all->check, object, error->message);
    return;
  }
  g_mutex_lock (&all->check->lock);
  g_ptr_array_add (all->errors, g_error_copy (error));
  g_mutex_unlock (&all->check->lock);
}

/* A WorkFunc: reads one pack. */
static void
read_pack (gpointer data, gpointer user_data)
{
  const ChunkName *pack = data;
  ReadAll *all = user_data;
  Check *check = all->check;

  if (g_cancellable_is_cancelled (check->cancellable))
    return;
  g_autoptr (PackFooter) footer =
      pack_footer_load (check->store->backend, &check->store->key, pack, NULL);
  if (footer == NULL)
    return; /* noted before, or the pack of a writer that gave up */
  const PackChunk *chunks = footer->chunks;
  for (guint i = 0; i < footer->n_frames; chunks += footer->frames[i].chunks, i++) {
    g_autoptr (GError) error = NULL;
    if (!check_frame (check, pack, footer, &footer->frames[i], chunks, &error))
      note_read_error (all, pack, error);
  }
  g_mutex_lock (&check->lock);
  all->done += footer->pack_size;
  progress_report (check->progress, PHASE_READ, all->done, all->total);
  g_mutex_unlock (&check->lock);
}

static gboolean
read_all_packs (Check *check, GError **error)
{
  g_autoptr (GPtrArray) errors = g_ptr_array_new_with_free_func ((GDestroyNotify)g_error_free);
  ReadAll all = { .check = check, .errors = errors };
  GHashTableIter iter;
  gpointer pack, size;

  g_hash_table_iter_init (&iter, check->listed);
  while (g_hash_table_iter_next (&iter, NULL, &size))
    all.total += *(guint64 *)size;
  g_autoptr (WorkQueue) queue = work_queue_new (READERS_MAX, read_pack, &all, error);
  if (queue == NULL)
    return FALSE;
  g_hash_table_iter_init (&iter, check->listed);
  while (g_hash_table_iter_next (&iter, &pack, NULL))
    if (!g_hash_table_contains (check->bad_packs, pack))
      work_queue_push (queue, pack);
  work_queue_free (g_steal_pointer (&queue));
  if (errors->len > 0) {
    g_propagate_error (error, g_error_copy (errors->pdata[0]));
    return FALSE;
  }
  return !g_cancellable_set_error_if_cancelled (check->cancellable, error);
}

gboolean
check_packs (Check *check, gboolean read_data, GError **error)
{
  /* In this order: what a table names was there before the table. */
  check->view = index_recover (check->store->index, error);
  check->listed = check->view != NULL ? gc_list_packs (check->store, error) : NULL;
  if (check->listed == NULL)
    return FALSE;
  for (guint i = 0; i < check->view->damaged->len; i++)
    check_note (check, check->view->damaged->pdata[i],
                "is damaged (reading goes by way of the packs; gc replaces it)");
  for (guint i = 0; i < check->view->tables->len; i++)
    if (!check_table (check, check->view->tables->pdata[i], error))
      return FALSE;
  return !read_data || read_all_packs (check, error);
}
