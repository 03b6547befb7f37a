/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mark-private.h"

#include "index-scan.h"
#include "map-walk.h"
#include "pack-list.h"
#include "pack-set.h"

/* One entry for a chunk. */
typedef struct {
  guint table; /* place in mark->tables */
  guint at;    /* in the table */
  ChunkLocation location;
  enum { COPY_USELESS, COPY_LOST, COPY_UNPUBLISHED, COPY_CONDEMNED, COPY_GOOD } use;
  ChunkName base; /* of a delta that is of use */
} Copy;

static void
clear_marked (gpointer data)
{
  MarkedTable *marked = data;
  g_free (marked->needed);
  g_free (marked->based);
  g_free (marked->kept);
  g_free (marked->pack_of);
  g_free (marked->uses);
}

static void
add_table (Mark *mark, IndexTable *table)
{
  MarkedTable marked = { .table = table };
  marked.needed = g_malloc0 (index_table_entries (table) / 8 + 1);
  marked.based = g_malloc0 (index_table_entries (table) / 8 + 1);
  g_array_append_val (mark->tables, marked);
}

Mark *
mark_new (Store *store, GHashTable *condemned)
{
  Mark *mark = g_new0 (Mark, 1);

  mark->store = store_ref (store);
  mark->tables = g_array_new (FALSE, FALSE, sizeof (MarkedTable));
  mark->checkpoints = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  mark->missing = pack_set_new();
  mark->gone = pack_set_new();
  mark->unpublished = pack_set_new();
  mark->condemned = pack_set_new();
  if (condemned != NULL)
    pack_set_add_all (mark->condemned, condemned);
  mark->copies = g_array_new (FALSE, FALSE, sizeof (Copy));
  mark->bases = g_array_new (FALSE, FALSE, sizeof (Copy));
  g_array_set_clear_func (mark->tables, clear_marked);
  return mark;
}

/* Notes the packs of @table whose object is not there, or has another size than the index says.
 * Each is looked at, since a listing made before may miss a pack that was put meanwhile. */
static gboolean
find_missing (Mark *mark, const IndexTable *table, GError **error)
{
  g_autoptr (IndexScan) scan = index_scan_packs (table);
  IndexPack pack;

  while (index_scan_pack (scan, &pack)) {
    g_autoptr (GError) cause = NULL;
    guint64 size = 0;
    g_autofree char *object = object_name ("packs", &pack.name);
    if (!mark->store->backend->ops->stat (mark->store->backend, object, &size, &cause) &&
        !g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    if (size != pack.size)
      pack_set_add (mark->missing, &pack.name);
    if (cause != NULL)
      pack_set_add (mark->gone, &pack.name);
  }
  return index_table_check (table, error);
}

static void
note_unpublished (Mark *mark, const IndexTable *recovered)
{
  g_autoptr (IndexScan) scan = index_scan_packs (recovered);
  IndexPack pack;

  while (index_scan_pack (scan, &pack))
    pack_set_add (mark->unpublished, &pack.name);
}

/* TRUE if each pack of @listed is in a table, was readable itself, or is given up. */
static gboolean
knows_all (const Mark *mark, GHashTable *listed)
{
  for (guint i = 0; i < mark->tables->len; i++) {
    const IndexTable *table = g_array_index (mark->tables, MarkedTable, i).table;
    for (guint j = 0; j < index_table_packs (table); j++) {
      IndexPack pack;
      index_table_pack (table, j, &pack);
      g_hash_table_remove (listed, &pack.name);
    }
  }
  GHashTableIter iter;
  gpointer pack;
  g_hash_table_iter_init (&iter, listed);
  while (g_hash_table_iter_next (&iter, &pack, NULL))
    if (!g_hash_table_contains (mark->condemned, pack))
      return FALSE;
  return TRUE;
}

/* Takes the index as it is now, recovered if a table is damaged. */
static gboolean
load_index (Mark *mark, GError **error)
{
  g_autoptr (GHashTable) listed = pack_list_load (mark->store, error);

  mark->view = listed != NULL ? index_recover (mark->store->index, error) : NULL;
  if (mark->view == NULL)
    return FALSE;
  for (guint i = 0; i < mark->view->tables->len; i++) {
    add_table (mark, mark->view->tables->pdata[i]);
    if (!find_missing (mark, mark->view->tables->pdata[i], error))
      return FALSE;
  }
  if (mark->view->recovered != NULL) {
    add_table (mark, mark->view->recovered);
    note_unpublished (mark, mark->view->recovered);
  }
  mark->all_known = knows_all (mark, listed);
  return TRUE;
}

void
mark_free (Mark *mark)
{
  g_array_unref (mark->tables);
  g_hash_table_unref (mark->checkpoints);
  g_hash_table_unref (mark->missing);
  g_hash_table_unref (mark->gone);
  g_hash_table_unref (mark->unpublished);
  g_hash_table_unref (mark->condemned);
  g_array_unref (mark->copies);
  g_array_unref (mark->bases);
  index_view_unref (mark->view);
  store_unref (mark->store);
  g_free (mark);
}

GHashTable *
mark_checkpoints (const Mark *mark)
{
  return mark->checkpoints;
}

GHashTable *
mark_gone_packs (const Mark *mark)
{
  return mark->gone;
}

/* What a copy in this pack is worth. */
static guint
use_of (const Mark *mark, const ChunkName *pack)
{
  if (g_hash_table_contains (mark->missing, pack))
    return COPY_LOST;
  if (g_hash_table_contains (mark->unpublished, pack))
    return COPY_UNPUBLISHED;
  return g_hash_table_contains (mark->condemned, pack) ? COPY_CONDEMNED : COPY_GOOD;
}

/* Collects the entries for @name; with @full, only those that are no deltas. */
static void
find_copies (Mark *mark, const ChunkName *name, gboolean full, GArray *copies)
{
  g_array_set_size (copies, 0);
  for (guint i = 0; i < mark->tables->len; i++) {
    const IndexTable *table = g_array_index (mark->tables, MarkedTable, i).table;
    gint64 at = index_table_find (table, name);
    for (; at >= 0 && at < index_table_entries (table); at++) {
      Copy copy = { .table = i, .at = at };
      ChunkName other;
      gboolean sane = index_table_entry (table, at, &other, &copy.location, NULL);
      if (!chunk_name_equal (&other, name))
        break;
      if (!sane || (full && copy.location.frame.codec == FRAME_DELTA))
        continue;
      copy.use = use_of (mark, &copy.location.pack);
      g_array_append_val (copies, copy);
    }
  }
}

/* Finds out what use a copy is that is a delta: no more than its base. FALSE with @error if that
 * could not be found out. */
static gboolean
judge_delta (Mark *mark, Copy *copy, GError **error)
{
  const guint own = copy->use;
  Delta delta;

  copy->use = COPY_USELESS;
  if (!store_delta_load (mark->store, &copy->location, &delta, error))
    return FALSE;
  copy->base = delta.base;
  find_copies (mark, &delta.base, TRUE, mark->bases);
  for (guint i = 0; i < mark->bases->len; i++)
    copy->use = MAX (copy->use, g_array_index (mark->bases, Copy, i).use);
  copy->use = MIN (copy->use, own);
  return TRUE;
}

/* The base of a delta that is needed. */
static void
mark_base (Mark *mark, const ChunkName *name)
{
  find_copies (mark, name, TRUE, mark->bases);
  for (guint i = 0; i < mark->bases->len; i++) {
    const Copy *copy = &g_array_index (mark->bases, Copy, i);
    mark_bit_set (g_array_index (mark->tables, MarkedTable, copy->table).based, copy->at);
  }
}

static gboolean
set_missing (const ChunkName *name, guint copies, GError **error)
{
  g_autofree char *hex = chunk_name_to_hex (name);

  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               copies == 0 ? "chunk %s is missing: no pack in the store has it"
                           : "chunk %s is a delta whose base is missing",
               hex);
  return FALSE;
}

/* Judges all copies. A delta that is damaged, or whose pack is gone, is of no use; but its pack may
 * be put back, and what it is a change to must be there then. So gc must not go on (*@unreadable is
 * set) unless there is a copy that is sure, or the pack is condemned: then it is given up. FALSE
 * with @error if a copy could not be read that may be all right. */
static gboolean
judge_copies (Mark *mark, GError **unreadable, GError **error)
{
  guint best = COPY_USELESS;

  for (guint i = 0; i < mark->copies->len; i++) {
    Copy *copy = &g_array_index (mark->copies, Copy, i);
    g_autoptr (GError) cause = NULL;
    if (copy->location.frame.codec == FRAME_DELTA && !judge_delta (mark, copy, &cause)) {
      if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
        g_propagate_error (error, g_steal_pointer (&cause));
        return FALSE;
      }
      if (*unreadable == NULL && !g_hash_table_contains (mark->condemned, &copy->location.pack))
        *unreadable = g_steal_pointer (&cause);
    }
    best = MAX (best, copy->use);
  }
  if (best == COPY_GOOD)
    g_clear_error (unreadable);
  return TRUE;
}

static gboolean
is_marked (const Mark *mark, const Copy *copy)
{
  return mark_bit_get (g_array_index (mark->tables, MarkedTable, copy->table).needed, copy->at);
}

/* Sets the bits of those of mark->copies that are of the best use there is. FALSE: none is. */
static gboolean
mark_best (Mark *mark)
{
  guint best = COPY_USELESS;

  for (guint i = 0; i < mark->copies->len; i++)
    best = MAX (best, g_array_index (mark->copies, Copy, i).use);
  for (guint i = 0; i < mark->copies->len && best != COPY_USELESS; i++) {
    const Copy *copy = &g_array_index (mark->copies, Copy, i);
    if (copy->use != best)
      continue;
    mark_bit_set (g_array_index (mark->tables, MarkedTable, copy->table).needed, copy->at);
    if (copy->location.frame.codec == FRAME_DELTA)
      mark_base (mark, &copy->base);
  }
  return best != COPY_USELESS;
}

/* Marks the copies of a chunk that are to count. *fresh: it was not marked before; *lost: it is
 * known that there is none. */
static gboolean
mark_chunk (Mark *mark, const ChunkName *name, gboolean *fresh, gboolean *lost, GError **error)
{
  g_autoptr (GError) unreadable = NULL;

  *fresh = *lost = FALSE;
  find_copies (mark, name, FALSE, mark->copies);
  for (guint i = 0; i < mark->copies->len; i++)
    if (is_marked (mark, &g_array_index (mark->copies, Copy, i)))
      return TRUE;
  if (!judge_copies (mark, &unreadable, error))
    return FALSE;
  if (unreadable != NULL) {
    g_propagate_prefixed_error (error, g_steal_pointer (&unreadable),
                                "a delta, and what it is a change to is not known; "
                                "`vmckpt store repair` gives it up: ");
    return FALSE;
  }
  *fresh = mark_best (mark);
  *lost = !*fresh;
  return *fresh || set_missing (name, mark->copies->len, error);
}

static gboolean
visit_node (const ChunkName *name, gboolean *descend, gpointer user_data, GError **error)
{
  gboolean lost;
  return mark_chunk (user_data, name, descend, &lost, error);
}

static gboolean
visit_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  const Mark *mark = user_data;
  g_autoptr (GError) cause = NULL;
  gboolean fresh, lost;

  if (mark_chunk (user_data, name, &fresh, &lost, &cause))
    return TRUE;
  /* A page that is lost for good hurts the checkpoint, but what else that needs is known, as long
   * as there is no pack that might have the page. */
  if (mark->all_known && lost)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
mark_manifest (Mark *mark, const Manifest *manifest, GCancellable *cancellable, GError **error)
{
  const MapVisitor visitor = { visit_node, visit_page, mark };

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    if (!map_walk (mark->store, &part->map, &visitor, cancellable, error)) {
      g_prefix_error (error, "checkpoint %.16s (run `vmckpt store check`): ", manifest->id);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
mark_all (Mark *mark, const Progress *progress, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) manifests = store_manifest_list (mark->store, NULL, &damaged, error);

  if (manifests == NULL)
    return FALSE;
  if (damaged->len > 0) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                 "the manifest of checkpoint %.16s cannot be read, so what it needs is not known; "
                 "remove that checkpoint first",
                 (const char *)damaged->pdata[0]);
    return FALSE;
  }
  /* Not before: what a manifest names was in the index before the manifest was put. */
  if (!load_index (mark, error))
    return FALSE;
  guint64 done = 0, total = 0;
  for (guint i = 0; i < manifests->len; i++)
    total += manifest_described_bytes (manifests->pdata[i]);
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    if (!mark_manifest (mark, manifest, cancellable, error))
      return FALSE;
    g_hash_table_add (mark->checkpoints, g_strdup (manifest->id));
    done += manifest_described_bytes (manifest);
    progress_report (progress, PHASE_READ, done, total);
  }
  /* What was not found in a table that could not be read says nothing. */
  return mark_check (mark, error);
}

gboolean
mark_check (const Mark *mark, GError **error)
{
  for (guint i = 0; i < mark->tables->len; i++)
    if (!index_table_check (g_array_index (mark->tables, MarkedTable, i).table, error))
      return FALSE;
  return TRUE;
}
