/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two passes over all tables. The first counts how much of each pack is needed at all, which gives
 * the order in which packs get to keep chunks; the second goes through all tables side by side, by
 * name, and has the first pack of that order keep each.
 */
#include "mark-private.h"

#include "index-scan.h"

static PackUse *
pack_use_of (GHashTable *uses, const IndexPack *pack)
{
  PackUse *use = g_hash_table_lookup (uses, &pack->name);

  if (use == NULL) {
    use = g_new0 (PackUse, 1);
    use->name = pack->name;
    use->size = pack->size;
    g_hash_table_insert (uses, &use->name, use);
  }
  return use;
}

/* Notes for each table which frame is in which pack, and adds the packs to @uses. */
static gboolean
load_packs (Mark *mark, GHashTable *uses, GError **error)
{
  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    g_autoptr (IndexScan) packs = index_scan_packs (marked->table);
    g_autoptr (IndexScan) frames = index_scan_frames (marked->table);
    IndexFrame frame;
    IndexPack pack;
    g_free (marked->uses);
    g_free (marked->pack_of);
    marked->uses = g_new0 (PackUse *, (gsize)index_table_packs (marked->table) + 1);
    marked->pack_of = g_new (guint32, (gsize)index_table_frames (marked->table) + 1);
    for (guint j = 0; index_scan_pack (packs, &pack); j++)
      marked->uses[j] = pack_use_of (uses, &pack);
    for (guint j = 0; index_scan_frame (frames, &frame); j++)
      marked->pack_of[j] = frame.pack;
    if (!index_table_check (marked->table, error))
      return FALSE;
  }
  return TRUE;
}

static void
drop_packs (Mark *mark)
{
  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    g_clear_pointer (&marked->uses, g_free);
    g_clear_pointer (&marked->pack_of, g_free);
  }
}

/* First pass: how much of each pack is needed at all, counting copies in each. */
static gboolean
count_potential (Mark *mark, GError **error)
{
  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    g_autoptr (IndexScan) scan = index_scan_entries (marked->table);
    IndexEntry entry;
    for (guint j = 0; index_scan_entry (scan, &entry); j++) {
      PackUse *use = marked->uses[marked->pack_of[entry.frame]];
      use->chunks++;
      use->chunk_bytes += entry.len;
      if (mark_bit_get (marked->needed, j) || mark_bit_get (marked->based, j))
        use->needed_bytes += entry.len;
    }
    if (!index_table_check (marked->table, error))
      return FALSE;
  }
  return TRUE;
}

/* The order in which packs get to keep chunks. */
typedef struct {
  const Mark *mark;
  GHashTable *late, *latest; /* (nullable) */
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

/* Numbers the packs from the most to the least used. */
static void
rank_packs (Ranking *ranking, GHashTable *uses)
{
  g_autoptr (GPtrArray) packs = g_ptr_array_new();
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, uses);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_ptr_array_add (packs, value);
  g_ptr_array_sort_with_data (packs, compare_uses, ranking);
  for (guint i = 0; i < packs->len; i++) {
    PackUse *use = packs->pdata[i];
    use->rank = i;
    use->needed_bytes = 0;
  }
}

/* A table being read in order beside the others. */
typedef struct {
  MarkedTable *marked;
  IndexScan *scan;
  IndexEntry entry;
  guint at;
  gboolean more;
} Walk;

static void
clear_walk (gpointer data)
{
  index_scan_free (((Walk *)data)->scan);
}

static void
step (Walk *walk)
{
  walk->at++;
  walk->more = index_scan_entry (walk->scan, &walk->entry);
}

static GArray *
begin_walks (Mark *mark)
{
  GArray *walks = g_array_new (FALSE, TRUE, sizeof (Walk));

  g_array_set_clear_func (walks, clear_walk);
  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    Walk walk = { .marked = marked, .scan = index_scan_entries (marked->table) };
    walk.more = index_scan_entry (walk.scan, &walk.entry);
    g_array_append_val (walks, walk);
  }
  return walks;
}

/* The name that comes next in any table; FALSE at the end of all. */
static gboolean
next_name (GArray *walks, ChunkName *name)
{
  gboolean any = FALSE;

  for (guint i = 0; i < walks->len; i++) {
    const Walk *walk = &g_array_index (walks, Walk, i);
    if (walk->more && (!any || chunk_name_compare (&walk->entry.name, name) < 0))
      *name = walk->entry.name;
    any = any || walk->more;
  }
  return any;
}

/* The copy that is to be kept, so far. */
typedef struct {
  MarkedTable *marked;
  PackUse *use;
  guint at, len;
} Keeper;

static void
propose (Keeper *keeper, const Walk *walk, PackUse *use)
{
  /* Of two entries for one place (a pack that two tables name) the first table's counts. */
  if (keeper->use == NULL || use->rank < keeper->use->rank)
    *keeper = (Keeper){ walk->marked, use, walk->at, walk->entry.len };
}

static void
keep (const Keeper *keeper)
{
  if (keeper->use == NULL || mark_bit_get (keeper->marked->kept, keeper->at))
    return;
  mark_bit_set (keeper->marked->kept, keeper->at);
  keeper->use->needed++;
  keeper->use->needed_bytes += keeper->len;
}

/* Passes all copies of @name: of those that are needed, the pack of the lowest rank keeps it; and
 * of those that deltas are changes to. */
static void
settle_name (GArray *walks, const ChunkName *name)
{
  Keeper needed = { 0 }, based = { 0 };

  for (guint i = 0; i < walks->len; i++) {
    Walk *walk = &g_array_index (walks, Walk, i);
    for (; walk->more && chunk_name_equal (&walk->entry.name, name); step (walk)) {
      PackUse *use = walk->marked->uses[walk->marked->pack_of[walk->entry.frame]];
      if (mark_bit_get (walk->marked->needed, walk->at))
        propose (&needed, walk, use);
      if (mark_bit_get (walk->marked->based, walk->at))
        propose (&based, walk, use);
    }
  }
  keep (&needed);
  keep (&based);
}

/* Second pass, over all tables side by side: each needed chunk is kept once; twice,
 * if as a delta and, for others, in full. */
static gboolean
settle (Mark *mark, GError **error)
{
  g_autoptr (GArray) walks = begin_walks (mark);
  ChunkName name;

  for (guint i = 0; i < mark->tables->len; i++) {
    MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    g_free (marked->kept);
    marked->kept = g_malloc0 (index_table_entries (marked->table) / 8 + 1);
  }
  while (next_name (walks, &name))
    settle_name (walks, &name);
  return mark_check (mark, error);
}

GHashTable *
pack_use_settle (Mark *mark, GHashTable *late, GHashTable *latest, GError **error)
{
  g_autoptr (GHashTable) uses =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, NULL, g_free);
  Ranking ranking = { mark, late, latest };
  gboolean good = load_packs (mark, uses, error) && count_potential (mark, error);

  if (good) {
    rank_packs (&ranking, uses);
    good = settle (mark, error);
  }
  drop_packs (mark);
  return good ? g_steal_pointer (&uses) : NULL;
}

/* Bits of the frames of a table that are in one of @packs. (transfer full) */
static guint8 *
frames_of (const IndexTable *table, GHashTable *packs)
{
  g_autofree guint8 *wanted = g_malloc0 (index_table_packs (table) / 8 + 1);
  guint8 *frames = g_malloc0 (index_table_frames (table) / 8 + 1);
  g_autoptr (IndexScan) pack_scan = index_scan_packs (table);
  g_autoptr (IndexScan) frame_scan = index_scan_frames (table);
  IndexFrame frame;
  IndexPack pack;

  for (guint i = 0; index_scan_pack (pack_scan, &pack); i++)
    if (g_hash_table_contains (packs, &pack.name))
      mark_bit_set (wanted, i);
  for (guint i = 0; index_scan_frame (frame_scan, &frame); i++)
    if (mark_bit_get (wanted, frame.pack))
      mark_bit_set (frames, i);
  return frames;
}

void
pack_use_foreach_kept (const Mark *mark, GHashTable *packs, PackUseFunc func, gpointer user_data)
{
  for (guint i = 0; i < mark->tables->len; i++) {
    const MarkedTable *marked = &g_array_index (mark->tables, MarkedTable, i);
    g_autofree guint8 *frames = frames_of (marked->table, packs);
    g_autoptr (IndexScan) scan = index_scan_entries (marked->table);
    ChunkLocation location;
    IndexEntry entry;
    ChunkName name;
    for (guint j = 0; index_scan_entry (scan, &entry); j++)
      if (mark_bit_get (frames, entry.frame) && mark_bit_get (marked->kept, j) &&
          index_table_entry (marked->table, j, &name, &location, NULL))
        func (&name, &location, user_data);
  }
}
