/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Emptying damaged packs: what can be read and is what its name says goes into new packs. */
#include "pack-set.h"
#include "repair-private.h"

#include <string.h>

/* So many packs are emptied at a time: bounds the list of what is in them. */
#define PACKS_AT_ONCE 64

typedef struct {
  ChunkName name;
  ChunkLocation location;
} Held;

/* In the order of packs and frames, so that each frame is read once. */
static int
compare_held (gconstpointer a, gconstpointer b)
{
  return chunk_location_compare (&((const Held *)a)->location, &((const Held *)b)->location);
}

static gboolean
table_has_any (const IndexTable *table, GHashTable *packs)
{
  for (guint i = 0; i < index_table_packs (table); i++) {
    IndexPack pack;
    index_table_pack (table, i, &pack);
    if (g_hash_table_contains (packs, &pack.name))
      return TRUE;
  }
  return FALSE;
}

static void
collect_from (const IndexTable *table, GHashTable *packs, GArray *held)
{
  if (!table_has_any (table, packs))
    return;
  for (guint i = 0; i < index_table_entries (table); i++) {
    Held one;
    memset (&one, 0, sizeof one);
    if (index_table_entry (table, i, &one.name, &one.location, NULL) &&
        g_hash_table_contains (packs, &one.location.pack))
      g_array_append_val (held, one);
  }
}

/* What the index, or their own footers, say of the packs. (transfer full) (element-type Held) */
static GArray *
list_held (const IndexView *view, GHashTable *packs)
{
  GArray *held = g_array_new (FALSE, FALSE, sizeof (Held));

  for (guint i = 0; i < view->tables->len; i++)
    collect_from (view->tables->pdata[i], packs, held);
  if (view->recovered != NULL)
    collect_from (view->recovered, packs, held);
  g_array_sort (held, compare_held);
  return held;
}

/* Stores what is good again; what is not is left. */
static gboolean
salvage_held (Repair *repair, StoreWriter *writer, GArray *held, GError **error)
{
  g_autoptr (GBytes) frame = NULL;

  for (guint i = 0; i < held->len; i++) {
    const Held *one = &g_array_index (held, Held, i), *before = one - 1;
    ChunkName name;
    if (g_cancellable_set_error_if_cancelled (repair->cancellable, error))
      return FALSE;
    if (i == 0 || one->location.frame.offset != before->location.frame.offset ||
        !chunk_name_equal (&one->location.pack, &before->location.pack)) {
      g_clear_pointer (&frame, g_bytes_unref);
      frame = store_frame_read (repair->store, &one->location, FALSE, NULL);
    }
    g_autoptr (GBytes) chunk = frame != NULL ? store_chunk_from_frame (repair->store, &one->name,
                                                                       &one->location, frame, NULL)
                                             : NULL;
    if (chunk == NULL)
      continue;
    /* Only pages have a page's length. */
    PackKind kind = g_bytes_get_size (chunk) == PAGE_SIZE_BYTES ? PACK_DATA : PACK_METADATA;
    if (!pipeline_add (store_writer_pipeline (writer), kind, chunk, &name, error))
      return FALSE;
    repair->report->salvaged_chunks++;
  }
  return TRUE;
}

/* Nobody knows what is in the packs of @packs that @held says nothing of. */
static void
leave_unknown (Repair *repair, GHashTable *packs, GArray *held)
{
  for (guint i = 0; i < held->len; i++)
    g_hash_table_remove (packs, &g_array_index (held, Held, i).location.pack);
  pack_set_move (repair->unknown, repair->damaged, packs);
}

gboolean
repair_salvage (Repair *repair, StoreWriter *writer, GError **error)
{
  g_autoptr (GHashTable) todo = pack_set_new();
  guint64 total = g_hash_table_size (repair->damaged);

  pack_set_add_all (todo, repair->damaged);
  while (g_hash_table_size (todo) > 0) {
    g_autoptr (GHashTable) some = pack_set_new();
    GHashTableIter iter;
    gpointer pack;
    g_hash_table_iter_init (&iter, todo);
    while (g_hash_table_size (some) < PACKS_AT_ONCE &&
           g_hash_table_iter_next (&iter, &pack, NULL)) {
      pack_set_add (some, pack);
      g_hash_table_iter_remove (&iter);
    }
    g_autoptr (GArray) held = list_held (repair->check.view, some);
    if (!salvage_held (repair, writer, held, error))
      return FALSE;
    leave_unknown (repair, some, held);
    progress_report (repair->progress, PHASE_STORE, total - g_hash_table_size (todo), total);
  }
  return TRUE;
}
