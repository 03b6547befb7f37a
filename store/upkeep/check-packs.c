/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packs, and whether the index says the same as their footers. */
#include "check-private.h"
#include "pack-list.h"
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

gboolean
check_gone_rightly (Check *check, const ChunkName *pack)
{
  g_autofree char *object = object_name ("packs", pack);
  guint64 size;

  if (!g_hash_table_contains (check->condemned, pack) &&
      g_hash_table_contains (check->indexed, pack))
    return FALSE;
  return !check->store->backend->ops->stat (check->store->backend, object, &size, NULL);
}

/* What every pack in the index must be: there, of that size, with the right footer. */
static gboolean
check_indexed_pack (Check *check, const IndexTable *table, const IndexPack *record, GError **error)
{
  Store *store = check->store;
  const guint64 *size = g_hash_table_lookup (check->listed, &record->name);
  g_autoptr (GError) cause = NULL;

  if (check_gone_rightly (check, &record->name))
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
  if (check_gone_rightly (check, &record->name))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* Packs on their way to the threads that look at them. */
typedef struct {
  const IndexTable *table;
  IndexPack record;
} PackTask;

typedef struct {
  Check *check;
  GError *error; /* (check->lock) (nullable) the first one */
} Footers;

/* A WorkFunc. */
static void
check_task (gpointer item, gpointer user_data)
{
  g_autofree PackTask *task = item;
  Footers *footers = user_data;
  Check *check = footers->check;
  g_autoptr (GError) error = NULL;

  g_mutex_lock (&check->lock);
  gboolean stop = footers->error != NULL;
  g_mutex_unlock (&check->lock);
  if (stop || g_cancellable_is_cancelled (check->cancellable) ||
      check_indexed_pack (check, task->table, &task->record, &error))
    return;
  g_mutex_lock (&check->lock);
  if (footers->error == NULL)
    footers->error = g_steal_pointer (&error);
  g_mutex_unlock (&check->lock);
}

/* All packs that the tables name. */
static gboolean
check_tables (Check *check, GError **error)
{
  Footers footers = { .check = check };
  g_autoptr (WorkQueue) queue = work_queue_new (READERS_MAX, check_task, &footers, error);

  if (queue == NULL)
    return FALSE;
  for (guint i = 0; i < check->view->tables->len; i++) {
    const IndexTable *table = check->view->tables->pdata[i];
    for (guint j = 0; j < index_table_packs (table); j++) {
      PackTask *task = g_new0 (PackTask, 1);
      task->table = table;
      index_table_pack (table, j, &task->record);
      work_queue_push (queue, task);
    }
  }
  work_queue_free (g_steal_pointer (&queue));
  if (footers.error != NULL) {
    g_propagate_error (error, footers.error);
    return FALSE;
  }
  return !g_cancellable_set_error_if_cancelled (check->cancellable, error);
}

gboolean
check_packs (Check *check, GError **error)
{
  /* In this order: what a table names was there before the table. */
  check->view = index_recover (check->store->index, error);
  check->listed = check->view != NULL ? pack_list_load (check->store, error) : NULL;
  if (check->listed == NULL)
    return FALSE;
  index_view_list_packs (check->view, check->indexed);
  for (guint i = 0; i < check->view->damaged->len; i++)
    check_note (check, check->view->damaged->pdata[i],
                "is damaged (reading goes by way of the packs; gc replaces it)");
  return check_tables (check, error);
}
