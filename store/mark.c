/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mark.h"

#include "gc-private.h"
#include "map-walk.h"
#include "name-set.h"
#include "pack-set.h"

/* One index table and a bit for each of its entries. */
typedef struct {
  IndexTable *table; /* (transfer none) the view's */
  guint8 *needed;    /* bitmap */
  guint8 *kept;      /* (nullable) bitmap: needed, and its pack is the one that keeps it */
} MarkedTable;

struct _Mark {
  Store *store;
  IndexView *view;
  GArray *tables;          /* of MarkedTable */
  GHashTable *checkpoints; /* set of char* */
  GHashTable *missing;     /* set of ChunkName: packs in the index that are not there as it says */
  gboolean all_known;      /* of every pack on the medium it is known what is in it */
  GHashTable *unpublished; /* set of ChunkName: packs that only their own footer names */
};

static void
clear_marked (gpointer data)
{
  MarkedTable *marked = data;
  g_free (marked->needed);
  g_free (marked->kept);
}

static void
add_table (Mark *mark, IndexTable *table)
{
  MarkedTable marked = { .table = table };
  marked.needed = g_malloc0 (index_table_entries (table) / 8 + 1);
  g_array_append_val (mark->tables, marked);
}

Mark *
mark_new (Store *store)
{
  Mark *mark = g_new0 (Mark, 1);

  mark->store = store_ref (store);
  mark->tables = g_array_new (FALSE, FALSE, sizeof (MarkedTable));
  mark->checkpoints = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  mark->missing = pack_set_new();
  mark->unpublished = pack_set_new();
  g_array_set_clear_func (mark->tables, clear_marked);
  return mark;
}

/* Notes the packs of @table whose object is not there, or has another size than the index says.
 * Each is looked at, since a listing made before may miss a pack that was put meanwhile. */
static gboolean
find_missing (Mark *mark, const IndexTable *table, GError **error)
{
  for (guint i = 0; i < index_table_packs (table); i++) {
    g_autoptr (GError) cause = NULL;
    IndexPack pack;
    guint64 size = 0;
    index_table_pack (table, i, &pack);
    g_autofree char *object = object_name ("packs", &pack.name);
    if (!mark->store->backend->ops->stat (mark->store->backend, object, &size, &cause) &&
        !g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    if (size != pack.size)
      pack_set_add (mark->missing, &pack.name);
  }
  return TRUE;
}

static void
note_unpublished (Mark *mark, const IndexTable *recovered)
{
  for (guint i = 0; i < index_table_packs (recovered); i++) {
    IndexPack pack;
    index_table_pack (recovered, i, &pack);
    pack_set_add (mark->unpublished, &pack.name);
  }
}

/* TRUE if each pack of @listed is in a table or was readable itself. */
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
  return g_hash_table_size (listed) == 0;
}

/* Takes the index as it is now, recovered if a table is damaged. */
static gboolean
load_index (Mark *mark, GError **error)
{
  g_autoptr (GHashTable) listed = gc_list_packs (mark->store, error);

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
  g_hash_table_unref (mark->unpublished);
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
mark_missing_packs (const Mark *mark)
{
  return mark->missing;
}

/* Sets the bits of all copies of a chunk. *fresh: it was not marked before. */
static gboolean
mark_chunk (Mark *mark, const ChunkName *name, gboolean *fresh, GError **error)
{
  gboolean found = FALSE;

  *fresh = FALSE;
  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    gint64 at = index_table_find (marked->table, name);
    ChunkName other = *name;
    ChunkLocation location;
    for (; at >= 0 && at < index_table_entries (marked->table); at++) {
      gboolean sane = index_table_entry (marked->table, at, &other, &location, NULL);
      if (!chunk_name_equal (&other, name))
        break;
      found = found || sane;
      *fresh = *fresh || !(marked->needed[at / 8] >> at % 8 & 1);
      marked->needed[at / 8] |= 1 << at % 8;
    }
  }
  if (found)
    return TRUE;
  g_autofree char *hex = chunk_name_to_hex (name);
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "chunk %s is missing: no pack in the store has it", hex);
  return FALSE;
}

static gboolean
visit_node (const ChunkName *name, gboolean *descend, gpointer user_data, GError **error)
{
  return mark_chunk (user_data, name, descend, error);
}

static gboolean
visit_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  const Mark *mark = user_data;
  g_autoptr (GError) cause = NULL;
  gboolean fresh;

  if (mark_chunk (user_data, name, &fresh, &cause))
    return TRUE;
  /* A page that is lost for good hurts the checkpoint, but what else that needs is known, as long
   * as there is no pack that might have the page. */
  if (mark->all_known && g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
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
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    if (!mark_manifest (mark, manifest, cancellable, error))
      return FALSE;
    g_hash_table_add (mark->checkpoints, g_strdup (manifest->id));
    progress_report (progress, PHASE_READ, i + 1, manifests->len);
  }
  return TRUE;
}

static PackUse *
pack_use_of (GHashTable *uses, const ChunkLocation *location)
{
  PackUse *use = g_hash_table_lookup (uses, &location->pack);

  if (use == NULL) {
    use = g_new0 (PackUse, 1);
    use->name = location->pack;
    use->size = location->pack_size;
    g_hash_table_insert (uses, &use->name, use);
  }
  return use;
}

/* Calls for each entry of each table. */
typedef void (*EntryFunc) (MarkedTable *marked, guint i, const ChunkName *name,
                           const ChunkLocation *location, gpointer user_data);

static void
foreach_entry (Mark *mark, EntryFunc func, gpointer user_data)
{
  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    for (guint j = 0; j < index_table_entries (marked->table); j++) {
      ChunkLocation location;
      ChunkName name;
      if (index_table_entry (marked->table, j, &name, &location, NULL))
        func (marked, j, &name, &location, user_data);
    }
  }
}

/* First pass: how much of each pack is needed at all, counting copies in each. */
static void
count_potential (MarkedTable *marked, guint i, const ChunkName *name, const ChunkLocation *location,
                 gpointer user_data)
{
  PackUse *use = pack_use_of (user_data, location);

  use->chunks++;
  use->chunk_bytes += location->len;
  if (marked->needed[i / 8] >> i % 8 & 1)
    use->needed_bytes += location->len;
}

/* The order in which packs get to keep chunks. */
typedef struct {
  const Mark *mark;
  GHashTable *uses;
  GHashTable *late, *latest; /* (nullable) */
  GHashTable *rank;          /* ChunkName → place + 1 */
} Ranking;

/* A pack that is gone keeps nothing. One that no table names may be a writer's, which takes it away
 * again if it gives up: it keeps only what is nowhere else. */
static guint
lateness (const Ranking *ranking, const ChunkName *pack)
{
  if (g_hash_table_contains (ranking->mark->missing, pack))
    return 4;
  if (g_hash_table_contains (ranking->mark->unpublished, pack))
    return 3;
  if (ranking->latest != NULL && g_hash_table_contains (ranking->latest, pack))
    return 2;
  return ranking->late != NULL && g_hash_table_contains (ranking->late, pack);
}

static int
compare_uses (gconstpointer a, gconstpointer b, gpointer user_data)
{
  const PackUse *one = *(PackUse **)a, *other = *(PackUse **)b;
  guint late_one = lateness (user_data, &one->name),
        late_other = lateness (user_data, &other->name);

  if (late_one != late_other)
    return late_one < late_other ? -1 : 1;
  double share_one = (double)one->needed_bytes / MAX (one->chunk_bytes, 1);
  double share_other = (double)other->needed_bytes / MAX (other->chunk_bytes, 1);
  if (share_one != share_other)
    return share_one > share_other ? -1 : 1;
  return chunk_name_compare (&one->name, &other->name);
}

/* Packs from the most to the least used. */
static void
rank_packs (Ranking *ranking)
{
  g_autoptr (GPtrArray) packs = g_ptr_array_new();
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, ranking->uses);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_ptr_array_add (packs, value);
  g_ptr_array_sort_with_data (packs, compare_uses, ranking);
  for (guint i = 0; i < packs->len; i++) {
    PackUse *use = packs->pdata[i];
    g_hash_table_insert (ranking->rank, &use->name, GUINT_TO_POINTER (i + 1));
    use->needed_bytes = 0;
  }
}

typedef struct {
  Mark *mark;
  Ranking *ranking;
} Settling;

static guint
rank_of (const Ranking *ranking, const ChunkName *pack)
{
  return GPOINTER_TO_UINT (g_hash_table_lookup (ranking->rank, pack));
}

/* TRUE if no other copy of @name is in a pack that comes before this entry's. Of two entries for
 * one place (a pack that two tables name) the first table's counts. */
static gboolean
comes_first (Settling *settling, const MarkedTable *mine, guint my_place, const ChunkName *name,
             const ChunkLocation *location)
{
  guint mine_rank = rank_of (settling->ranking, &location->pack);
  gboolean seen_me = FALSE;

  for (guint i = 0; i < settling->mark->tables->len; i++) {
    const MarkedTable *marked = &g_array_index (settling->mark->tables, MarkedTable, i);
    gint64 at = index_table_find (marked->table, name);
    ChunkName other = *name;
    ChunkLocation place;
    for (; at >= 0 && at < index_table_entries (marked->table); at++) {
      gboolean sane = index_table_entry (marked->table, at, &other, &place, NULL);
      if (!chunk_name_equal (&other, name))
        break;
      seen_me = seen_me || (marked == mine && at == my_place);
      guint rank = rank_of (settling->ranking, &place.pack);
      if (sane && (rank < mine_rank || (rank == mine_rank && !seen_me)))
        return FALSE;
    }
  }
  return TRUE;
}

/* Second pass: each needed chunk is kept once. */
static void
settle_entry (MarkedTable *marked, guint i, const ChunkName *name, const ChunkLocation *location,
              gpointer user_data)
{
  Settling *settling = user_data;

  if (!(marked->needed[i / 8] >> i % 8 & 1) || !comes_first (settling, marked, i, name, location))
    return;
  PackUse *use = pack_use_of (settling->ranking->uses, location);
  marked->kept[i / 8] |= 1 << i % 8;
  use->needed++;
  use->needed_bytes += location->len;
}

GHashTable *
mark_pack_use (Mark *mark, GHashTable *late, GHashTable *latest)
{
  GHashTable *uses = g_hash_table_new_full (chunk_name_hash, chunk_name_equal, NULL, g_free);
  g_autoptr (GHashTable) rank = g_hash_table_new (chunk_name_hash, chunk_name_equal);
  Ranking ranking = { mark, uses, late, latest, rank };
  Settling settling = { mark, &ranking };

  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    g_free (marked->kept);
    marked->kept = g_malloc0 (index_table_entries (marked->table) / 8 + 1);
  }
  foreach_entry (mark, count_potential, uses);
  rank_packs (&ranking);
  foreach_entry (mark, settle_entry, &settling);
  return uses;
}

typedef struct {
  GHashTable *packs;
  MarkFunc func;
  gpointer user_data;
} KeptVisit;

static void
visit_kept (MarkedTable *marked, guint i, const ChunkName *name, const ChunkLocation *location,
            gpointer user_data)
{
  const KeptVisit *visit = user_data;

  if (marked->kept != NULL && (marked->kept[i / 8] >> i % 8 & 1) &&
      g_hash_table_contains (visit->packs, &location->pack))
    visit->func (name, location, visit->user_data);
}

void
mark_foreach_kept (Mark *mark, GHashTable *packs, MarkFunc func, gpointer user_data)
{
  KeptVisit visit = { packs, func, user_data };
  foreach_entry (mark, visit_kept, &visit);
}
