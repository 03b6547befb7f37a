/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deleting packs that nothing needs: first the index stops naming them (new tables are durable
 * before the old ones go), then they go. In between, and after a kill at any point, readers find
 * all that is needed.
 */
#include "gc-private.h"
#include "index-scan.h"

#include <vmckpt/util/fault.h>

#include <string.h>

static gboolean
table_has_any (const IndexTable *table, GHashTable *packs)
{
  g_autoptr (IndexScan) scan = index_scan_packs (table);
  IndexPack pack;

  while (index_scan_pack (scan, &pack))
    if (g_hash_table_contains (packs, &pack.name))
      return TRUE;
  return FALSE;
}

static gboolean
contains_string (GPtrArray *strings, const char *text)
{
  return g_ptr_array_find_with_equal_func (strings, text, g_str_equal, NULL);
}

/* Publishes what is in @table and not in @packs. If that is the very table that is damaged, the
 * damaged object has to go first: it would be taken for already there. Until then the packs tell it
 * all. */
static gboolean
publish_rest (Store *store, IndexTable *table, GHashTable *packs, GPtrArray *damaged,
              GError **error)
{
  g_autofree char *object = NULL;

  if (!index_rewrite (store->index, table, packs, &object, error))
    return FALSE;
  if (object == NULL || !contains_string (damaged, object))
    return TRUE;
  return store_remove (store, object, error) &&
         index_rewrite (store->index, table, packs, NULL, error);
}

/* Publishes a table of the packs that checkpoints need and no table names: one was lost. Others may
 * belong to writers at work and must not be found by anybody yet. */
static gboolean
publish_lost (Store *store, IndexTable *recovered, GHashTable *needed, GPtrArray *damaged,
              GError **error)
{
  g_autoptr (GHashTable) others = pack_set_new();

  g_autoptr (IndexScan) scan = index_scan_packs (recovered);
  IndexPack pack;

  while (index_scan_pack (scan, &pack))
    if (!g_hash_table_contains (needed, &pack.name))
      pack_set_add (others, &pack.name);
  return publish_rest (store, recovered, others, damaged, error);
}

/* Those of the damaged tables that no new one has taken the place of. */
static gboolean
remove_damaged (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (IndexView) now = damaged->len > 0 ? index_recover (store->index, error) : NULL;

  for (guint i = 0; now != NULL && i < damaged->len; i++)
    if (contains_string (now->damaged, damaged->pdata[i]) &&
        !store_remove (store, damaged->pdata[i], error))
      return FALSE;
  return now != NULL || damaged->len == 0;
}

gboolean
gc_unindex (Store *store, GHashTable *packs, GHashTable *needed, GError **error)
{
  g_autoptr (IndexView) view = index_recover (store->index, error);
  g_autoptr (GPtrArray) old = g_ptr_array_new();

  if (view == NULL || (view->recovered != NULL &&
                       !publish_lost (store, view->recovered, needed, view->damaged, error)))
    return FALSE;
  for (guint i = 0; i < view->tables->len; i++) {
    IndexTable *table = view->tables->pdata[i];
    gboolean concerned = table_has_any (table, packs);
    if (!index_table_check (table, error))
      return FALSE;
    if (!concerned)
      continue;
    if (!publish_rest (store, table, packs, view->damaged, error))
      return FALSE;
    g_ptr_array_add (old, (char *)index_table_object (table));
  }
  if (!store_sync (store, error))
    return FALSE;
  for (guint i = 0; i < old->len; i++)
    if (!store_remove (store, old->pdata[i], error))
      return FALSE;
  if (!remove_damaged (store, view->damaged, error))
    return FALSE;
  if (!store_sync (store, error))
    return FALSE;
  g_autoptr (IndexView) now = index_reload (store->index, error);
  return now != NULL;
}

/* Lets the next sync make durable that checkpoints are gone which others removed: one that came
 * back after a power cut would find its packs deleted. */
static gboolean
settle_removals (Store *store, GError **error)
{
  static const ChunkName nothing;
  g_autofree char *object = object_name ("manifests", &nothing);

  return store_remove (store, object, error);
}

gboolean
gc_delete (Store *store, GHashTable *packs, GHashTable *needed, GHashTable *sizes,
           StoreGcReport *report, GError **error)
{
  GHashTableIter iter;
  gpointer pack;

  if (!settle_removals (store, error) || !gc_unindex (store, packs, needed, error) ||
      !fault_visit (FAULT_GC_UNINDEXED, error))
    return FALSE;
  g_hash_table_iter_init (&iter, packs);
  while (g_hash_table_iter_next (&iter, &pack, NULL)) {
    g_autofree char *object = object_name ("packs", pack);
    const guint64 *size = g_hash_table_lookup (sizes, pack);
    if (!store_remove (store, object, error) || !fault_visit (FAULT_GC_DELETING, error))
      return FALSE;
    if (size != NULL) {
      report->deleted_packs++;
      report->freed_bytes += *size;
    }
  }
  return store_sync (store, error);
}
