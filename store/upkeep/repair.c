/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of a repair:
 *
 *   announce as gc → check all → index: new tables, sync, then damaged ones go
 *   → new packs: what is salvaged and fetched → sync → their index table → sync
 *   → whole checkpoints from the other store → condemn the damaged packs
 *
 * From then on writers do not rely on these packs and gc keeps the new copies rather than theirs;
 * it deletes them in its ordinary way. Killed anywhere, a damaged pack is still there, and named by
 * the index, unless all that it held is durable elsewhere.
 */
#include "repair-private.h"

#include "announce.h"
#include "gc-private.h"
#include "hint-private.h"
#include "tag.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <string.h>

void
store_repair_free (StoreRepair *repair)
{
  if (repair == NULL)
    return;
  g_clear_pointer (&repair->findings, g_ptr_array_unref);
  g_clear_pointer (&repair->hurt, g_ptr_array_unref);
  g_free (repair);
}

static void
repair_clear (Repair *repair)
{
  check_clear (&repair->check);
  g_clear_pointer (&repair->damaged, g_hash_table_unref);
  g_clear_pointer (&repair->missing, g_hash_table_unref);
  g_clear_pointer (&repair->unknown, g_hash_table_unref);
  g_clear_pointer (&repair->avoid, g_hash_table_unref);
  g_clear_pointer (&repair->fetched, name_set_free);
  store_repair_free (repair->report);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Repair, repair_clear)

/* Damaged packs are those that are there and not all right, missing ones those that are not. */
static void
sort_packs (Repair *repair)
{
  GHashTableIter iter;
  gpointer pack;

  pack_set_add_all (repair->damaged, repair->check.hurt_packs);
  g_hash_table_iter_init (&iter, repair->check.bad_packs);
  while (g_hash_table_iter_next (&iter, &pack, NULL))
    pack_set_add (g_hash_table_contains (repair->check.listed, pack) ? repair->damaged
                                                                     : repair->missing,
                  pack);
  /* gc is at these already. */
  g_hash_table_iter_init (&iter, repair->check.condemned);
  while (g_hash_table_iter_next (&iter, &pack, NULL))
    g_hash_table_remove (repair->damaged, pack);
}

/* Which of the packs that no table names may be published: without a live writer all that are not
 * condemned, as nobody else's they are garbage at worst; otherwise those that checkpoints need. */
static gboolean
publishable (Repair *repair, GHashTable *packs, GError **error)
{
  const IndexTable *recovered = repair->check.view->recovered;
  guint other_gc;
  g_autoptr (GHashTable) live =
      gc_live_writers (repair->store, repair->check.announcement, &other_gc, error);

  if (live == NULL)
    return FALSE;
  pack_set_add_all (packs, repair->check.unindexed);
  for (guint i = 0; recovered != NULL && i < index_table_packs (recovered); i++) {
    IndexPack pack;
    index_table_pack (recovered, i, &pack);
    /* What was not there when the packs were listed may be of a writer that came later. */
    if (g_hash_table_size (live) == 0 && g_hash_table_contains (repair->check.listed, &pack.name) &&
        !g_hash_table_contains (repair->check.condemned, &pack.name))
      pack_set_add (packs, &pack.name);
  }
  repair->report->indexed_packs = g_hash_table_size (packs);
  return TRUE;
}

/* The index as it should be: nothing damaged, nothing lost, nothing that is not there. */
static gboolean
mend_index (Repair *repair, GError **error)
{
  g_autoptr (GHashTable) packs = pack_set_new();

  if (!publishable (repair, packs, error))
    return FALSE;
  repair->report->index_tables = repair->check.view->damaged->len;
  repair->report->missing_packs = g_hash_table_size (repair->missing);
  if (repair->report->index_tables + g_hash_table_size (packs) +
          g_hash_table_size (repair->missing) ==
      0)
    return TRUE;
  if (!gc_unindex (repair->store, repair->missing, packs, error) ||
      !fault_visit (FAULT_REPAIR_INDEXED, error))
    return FALSE;
  /* The tables that check read are gone. */
  g_autoptr (IndexView) now = index_recover (repair->store->index, error);
  if (now == NULL)
    return FALSE;
  index_view_unref (repair->check.view);
  repair->check.view = g_steal_pointer (&now);
  return TRUE;
}

/* Packs that no table names and that cannot say themselves what is in them. */
static void
find_unknown (Repair *repair)
{
  g_autoptr (GHashTable) indexed = pack_set_new();
  GHashTableIter iter;
  gpointer pack;

  index_view_list_packs (repair->check.view, indexed);
  g_hash_table_iter_init (&iter, repair->check.listed);
  while (g_hash_table_iter_next (&iter, &pack, NULL)) {
    g_autoptr (GError) cause = NULL;
    if (g_hash_table_contains (indexed, pack) ||
        g_hash_table_contains (repair->check.condemned, pack))
      continue;
    g_autoptr (PackFooter) footer G_GNUC_UNUSED =
        pack_footer_load (repair->store->backend, &repair->store->key, pack, &cause);
    if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
      pack_set_add (repair->unknown, pack);
  }
}

/* Fills new packs with what can be had. */
static gboolean
restock (Repair *repair, GError **error)
{
  pack_set_add_all (repair->avoid, repair->damaged);
  pack_set_add_all (repair->avoid, repair->missing);
  g_autoptr (StoreWriter) writer =
      store_writer_begin_avoiding (repair->store, repair->avoid, error);
  return writer != NULL && repair_salvage (repair, writer, error) &&
         repair_hurt (repair, writer, error) &&
         store_writer_flush (writer, repair->cancellable, error) &&
         fault_visit (FAULT_REPAIR_SALVAGED, error);
}

/* What nobody knows of is missed by nobody if no checkpoint is hurt. */
static void
judge_unknown (Repair *repair)
{
  for (guint i = 0; i < repair->report->hurt->len; i++) {
    const StoreHurt *hurt = repair->report->hurt->pdata[i];
    if (!hurt->healed && hurt->replaced_by == NULL) {
      repair->report->unreadable_packs = g_hash_table_size (repair->unknown);
      return;
    }
  }
  pack_set_move (repair->damaged, repair->unknown, NULL);
}

/* Leaves the damaged packs to gc. */
static gboolean
condemn_damaged (Repair *repair, GError **error)
{
  g_autoptr (GPtrArray) some = g_ptr_array_new();
  GHashTableIter iter;
  gpointer pack;

  repair->report->damaged_packs = g_hash_table_size (repair->damaged);
  g_hash_table_iter_init (&iter, repair->damaged);
  for (gboolean more = TRUE; more;) {
    more = g_hash_table_iter_next (&iter, &pack, NULL);
    if (more)
      g_ptr_array_add (some, pack);
    if (some->len < (more ? CONDEMNED_PACKS_MAX : 1))
      continue;
    g_autofree char *object = condemned_put (repair->store, some, error);
    if (object == NULL || !fault_visit (FAULT_REPAIR_CONDEMNED, error))
      return FALSE;
    g_ptr_array_set_size (some, 0);
  }
  return TRUE;
}

/* As gc begins: two at once could each rely on what the other is about to delete; and who walks the
 * index would take tables that are replaced under it for lost. */
static gboolean
announce (Repair *repair, GError **error)
{
  guint other_gc;
  gboolean walkers;

  repair->check.announcement = announcement_put (repair->store, ANNOUNCE_GC, error);
  if (repair->check.announcement == NULL)
    return FALSE;
  g_autoptr (GHashTable) live =
      gc_live_writers (repair->store, repair->check.announcement, &other_gc, error);
  if (live == NULL ||
      !announcements_any_walker (repair->store, repair->check.announcement, &walkers, error))
    return FALSE;
  if (other_gc == 0 && !walkers)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_IN_USE,
               "%s is at work on this store; try again when it is done",
               other_gc > 0 ? "gc or another repair" : "check or stats");
  return FALSE;
}

/* Lists that cannot be read: what they condemned counts again, until this repair or the next gc
 * condemns it anew. Only a gc deletes it, and none is at work. */
static gboolean
drop_damaged_lists (Repair *repair, GError **error)
{
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) lists = condemned_list (repair->store, &damaged, error);

  if (lists == NULL)
    return FALSE;
  for (guint i = 0; i < damaged->len; i++)
    if (!condemned_remove (repair->store, damaged->pdata[i], error))
      return FALSE;
  return damaged->len == 0 || store_sync (repair->store, error);
}

static gboolean
run (Repair *repair, gboolean dry_run, GError **error)
{
  repair->check.read_data = TRUE;
  if ((!dry_run && !announce (repair, error)) || !check_run (&repair->check, error))
    return FALSE;
  repair->report->findings = check_findings (&repair->check);
  sort_packs (repair);
  if (dry_run) {
    repair->report->damaged_packs = g_hash_table_size (repair->damaged);
    repair->report->missing_packs = g_hash_table_size (repair->missing);
    repair->report->index_tables = repair->check.view->damaged->len;
    return repair_hurt (repair, NULL, error);
  }
  if (!drop_damaged_lists (repair, error) || !mend_index (repair, error))
    return FALSE;
  find_unknown (repair);
  if (repair->report->findings->len > 0) {
    if (!restock (repair, error) || !repair_replace (repair, error))
      return FALSE;
  } else if (!repair_hurt (repair, NULL, error)) {
    return FALSE;
  }
  judge_unknown (repair);
  return condemn_damaged (repair, error) && tags_remove_stray (repair->store, error) &&
         hints_remove_stray (repair->store, error);
}

StoreRepair *
store_repair (Store *store, Store *from, gboolean dry_run, const Progress *progress,
              GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "repairing the store %s", store_location (store));
  g_auto (Repair) repair = { .store = store,
                             .from = from,
                             .progress = progress,
                             .cancellable = cancellable,
                             .damaged = pack_set_new(),
                             .missing = pack_set_new(),
                             .unknown = pack_set_new(),
                             .avoid = pack_set_new(),
                             .fetched = name_set_new(),
                             .report = g_new0 (StoreRepair, 1) };

  check_init (&repair.check, store, progress, cancellable);
  if (from == store) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                         "a store cannot be repaired from itself");
    return NULL;
  }
  if (!run (&repair, dry_run, error))
    return NULL;
  return g_steal_pointer (&repair.report);
}
