/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   overrides    all runs' entries, sorted by leaf            (if they are few enough)
 *      ↓
 *   leaf cache   leaf number → 256 names, runs applied        (bounded: one slot per number modulo)
 *      ↑ tree node at level 0, then each run's overrides in it, oldest run first
 *   node cache   node name → parsed node                      (bounded: emptied when full)
 */
#include "map-names.h"

#include <string.h>

#define LEAF_SLOTS 256
#define NODE_CACHE_BYTES (8 * 1024 * 1024)
/* Up to so many overrides are kept in memory, 40 bytes each. With more, a leaf's are searched for
 * in every run. */
#define OVERRIDES_MAX 1000000

typedef struct {
  guint64 leaf;
  ChunkName names[NODE_FANOUT];
} LeafSlot;

/* A parsed node: of a tree (256 names) or of a run (entries). */
typedef struct {
  ChunkName key;
  gboolean of_run;
  guint level;
  guint count; /* of entries */
  union {
    ChunkName names[1];
    RunEntry entries[1];
  } body;
} CachedNode;

/* The overrides of leaf i are entries[starts[i]] … entries[starts[i + 1] - 1], oldest run first. */
typedef struct {
  guint64 leaves;
  guint32 *starts;
  RunEntry *entries;
} Overrides;

struct _MapNames {
  Store *store;
  Overrides overrides; /* entries NULL: not made */
  guint64 max_overrides;
  MapRoot root;
  guint64 pages;
  LeafSlot **slots;
  GHashTable *nodes; /* set of CachedNode, by key */
  gsize node_bytes;
  RunEntry *scratch;
};

static gboolean
explain_node (const ChunkName *name, GError **error)
{
  g_autofree char *hex = chunk_name_to_hex (name);
  g_prefix_error (error, "chunk %s ", hex);
  return FALSE;
}

gboolean
map_read_tree_node (Store *store, const ChunkName *name, guint level, ChunkName names[NODE_FANOUT],
                    GError **error)
{
  g_autoptr (GBytes) bytes = store_chunk_read (store, name, error);

  if (bytes == NULL)
    return FALSE;
  return tree_node_parse (bytes, level, names, error) || explain_node (name, error);
}

gboolean
map_read_run_node (Store *store, const ChunkName *name, guint level, RunEntry *entries,
                   guint *count, GError **error)
{
  g_autoptr (GBytes) bytes = store_chunk_read (store, name, error);

  if (bytes == NULL)
    return FALSE;
  return run_node_parse (bytes, level, entries, count, error) || explain_node (name, error);
}

gboolean
map_read_root (Store *store, const PageMap *map, MapRoot *root, GError **error)
{
  memset (root, 0, sizeof *root);
  root->length = map->length;
  root->tree_levels = map_tree_levels (map->length);
  if (chunk_name_is_zero (&map->root))
    return TRUE;
  g_autoptr (GBytes) bytes = store_chunk_read (store, &map->root, error);
  if (bytes == NULL)
    return FALSE;
  if (!map_root_parse (bytes, root, error))
    return explain_node (&map->root, error);
  if (root->length == map->length)
    return TRUE;
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                       "is a page map of another length than its reference says");
  return explain_node (&map->root, error);
}

MapNames *
map_names_new (Store *store, const PageMap *map, GError **error)
{
  g_autoptr (MapNames) names = g_new0 (MapNames, 1);

  names->store = store_ref (store);
  names->max_overrides = OVERRIDES_MAX;
  names->slots = g_new0 (LeafSlot *, LEAF_SLOTS);
  names->nodes = g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);
  names->scratch = g_new (RunEntry, RUN_NODE_ENTRIES);
  if (map->length > MAP_LENGTH_MAX) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "a page map is too long");
    return NULL;
  }
  if (!map_read_root (store, map, &names->root, error))
    return NULL;
  names->pages = map_pages (map->length);
  return g_steal_pointer (&names);
}

void
map_names_free (MapNames *names)
{
  if (names == NULL)
    return;
  for (guint i = 0; i < LEAF_SLOTS; i++)
    g_free (names->slots[i]);
  g_free (names->slots);
  g_hash_table_unref (names->nodes);
  g_free (names->scratch);
  g_free (names->overrides.starts);
  g_free (names->overrides.entries);
  store_unref (names->store);
  g_free (names);
}

void
map_names_limit_overrides (MapNames *names, guint64 max)
{
  names->max_overrides = max;
}

const MapRoot *
map_names_root (const MapNames *names)
{
  return &names->root;
}

/* What is in the cache; the same bytes referred to as another kind of node are not a hit. */
static const CachedNode *
cached_node (MapNames *names, const ChunkName *name, gboolean of_run, guint level)
{
  const CachedNode *node = g_hash_table_lookup (names->nodes, name);
  return node != NULL && node->of_run == of_run && node->level == level ? node : NULL;
}

/* Puts a parsed node of @len bytes into the cache and returns it there. */
static const CachedNode *
cache_node (MapNames *names, const ChunkName *name, gboolean of_run, guint level, const void *body,
            gsize len, guint count)
{
  CachedNode *node = g_malloc (G_STRUCT_OFFSET (CachedNode, body) + len);

  if (names->node_bytes + len > NODE_CACHE_BYTES) {
    g_hash_table_remove_all (names->nodes);
    names->node_bytes = 0;
  }
  node->key = *name;
  node->of_run = of_run;
  node->level = level;
  node->count = count;
  memcpy (&node->body, body, len);
  g_hash_table_add (names->nodes, node);
  names->node_bytes += len;
  return node;
}

static const CachedNode *
tree_node (MapNames *names, const ChunkName *name, guint level, GError **error)
{
  const CachedNode *node = cached_node (names, name, FALSE, level);
  ChunkName body[NODE_FANOUT];

  if (node != NULL)
    return node;
  if (!map_read_tree_node (names->store, name, level, body, error))
    return NULL;
  return cache_node (names, name, FALSE, level, body, sizeof body, NODE_FANOUT);
}

static const CachedNode *
run_node (MapNames *names, const ChunkName *name, guint level, GError **error)
{
  const CachedNode *node = cached_node (names, name, TRUE, level);
  guint count;

  if (node != NULL)
    return node;
  if (!map_read_run_node (names->store, name, level, names->scratch, &count, error))
    return NULL;
  return cache_node (names, name, TRUE, level, names->scratch, count * sizeof (RunEntry), count);
}

gboolean
map_names_tree_node (MapNames *names, guint level, guint64 index, ChunkName *name, GError **error)
{
  guint top = names->root.tree_levels;

  memset (name, 0, sizeof *name);
  if (level >= top ||
      (level + 1 < top ? index >> (NODE_FANOUT_BITS * (top - 1 - level)) : index) != 0)
    return TRUE;
  *name = names->root.tree;
  for (guint at = top - 1; at > level && !chunk_name_is_zero (name); at--) {
    const CachedNode *node = tree_node (names, name, at, error);
    if (node == NULL)
      return FALSE;
    *name = node->body.names[(index >> (NODE_FANOUT_BITS * (at - 1 - level))) & (NODE_FANOUT - 1)];
  }
  return TRUE;
}

/* The last entry at or before @page, or 0. */
static guint
find_entry (const CachedNode *node, guint64 page)
{
  guint low = 0, high = node->count;

  while (high - low > 1) {
    guint middle = low + (high - low) / 2;
    if (node->body.entries[middle].page <= page)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* Applies the overrides of one leaf that are below the run's node @name. */
static gboolean
apply_run (MapNames *names, ChunkName name, guint level, LeafSlot *slot, GError **error)
{
  guint64 first = slot->leaf << NODE_FANOUT_BITS, end = first + NODE_FANOUT;
  const CachedNode *node = run_node (names, &name, level, error);

  if (node == NULL)
    return FALSE;
  for (guint i = find_entry (node, first); i < node->count; i++) {
    RunEntry entry = node->body.entries[i];
    if (entry.page >= end)
      break;
    if (level == 0) {
      if (entry.page >= first)
        slot->names[entry.page - first] = entry.name;
      continue;
    }
    /* Nodes below may push this one out of the cache. */
    if (!apply_run (names, entry.name, level - 1, slot, error))
      return FALSE;
    node = run_node (names, &name, level, error);
    if (node == NULL)
      return FALSE;
  }
  return TRUE;
}

static void
collect_override (const RunEntry *entry, gpointer user_data)
{
  g_array_append_val ((GArray *)user_data, *entry);
}

/* Sorts what the runs say by leaf (counting, so that the order of the runs stays). */
static void
sort_overrides (Overrides *overrides, const GArray *all, guint64 leaves)
{
  g_autofree guint32 *next = g_new0 (guint32, leaves + 2);

  overrides->leaves = leaves;
  overrides->starts = g_new0 (guint32, leaves + 2);
  overrides->entries = g_new (RunEntry, all->len + 1);
  for (guint i = 0; i < all->len; i++) {
    guint64 leaf = g_array_index (all, RunEntry, i).page >> NODE_FANOUT_BITS;
    next[MIN (leaf, leaves) + 1]++; /* beyond the end: never looked at */
  }
  for (guint64 leaf = 0; leaf <= leaves; leaf++) {
    next[leaf + 1] += next[leaf];
    overrides->starts[leaf] = next[leaf];
  }
  for (guint i = 0; i < all->len; i++) {
    const RunEntry *entry = &g_array_index (all, RunEntry, i);
    overrides->entries[next[MIN (entry->page >> NODE_FANOUT_BITS, leaves)]++] = *entry;
  }
}

/* Brings all overrides into memory, if there are not too many. */
static gboolean
make_overrides (MapNames *names, GError **error)
{
  guint64 leaves = (names->pages + NODE_FANOUT - 1) >> NODE_FANOUT_BITS, count = 0;
  g_autoptr (GArray) all = g_array_new (FALSE, FALSE, sizeof (RunEntry));

  for (guint i = 0; i < names->root.n_runs; i++)
    count += names->root.runs[i].count;
  if (names->overrides.entries != NULL || count == 0 || count > names->max_overrides ||
      leaves > 16 * OVERRIDES_MAX)
    return TRUE;
  for (guint i = 0; i < names->root.n_runs; i++) {
    if (!map_names_foreach_in_run (names, &names->root.runs[i], collect_override, all, error))
      return FALSE;
    if (all->len > OVERRIDES_MAX) {
      g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                           "a run in a page map has more entries than its root says");
      return FALSE;
    }
  }
  sort_overrides (&names->overrides, all, leaves);
  return TRUE;
}

/* Applies the runs to a leaf. */
static gboolean
apply_runs (MapNames *names, LeafSlot *slot, GError **error)
{
  const Overrides *overrides = &names->overrides;

  if (!make_overrides (names, error))
    return FALSE;
  if (overrides->entries != NULL && slot->leaf < overrides->leaves) {
    for (guint i = overrides->starts[slot->leaf]; i < overrides->starts[slot->leaf + 1]; i++)
      slot->names[overrides->entries[i].page & (NODE_FANOUT - 1)] = overrides->entries[i].name;
    return TRUE;
  }
  for (guint i = 0; overrides->entries == NULL && i < names->root.n_runs; i++)
    if (!apply_run (names, names->root.runs[i].name, names->root.runs[i].level, slot, error))
      return FALSE;
  return TRUE;
}

static gboolean
fill_slot (MapNames *names, LeafSlot *slot, GError **error)
{
  ChunkName leaf_name;

  if (!map_names_tree_node (names, 0, slot->leaf, &leaf_name, error))
    return FALSE;
  memset (slot->names, 0, sizeof slot->names);
  if (!chunk_name_is_zero (&leaf_name)) {
    const CachedNode *node = tree_node (names, &leaf_name, 0, error);
    if (node == NULL)
      return FALSE;
    memcpy (slot->names, node->body.names, sizeof slot->names);
  }
  if (!apply_runs (names, slot, error))
    return FALSE;
  /* Beyond the end there is nothing, whatever the nodes say. */
  for (guint i = 0; i < NODE_FANOUT; i++)
    if ((slot->leaf << NODE_FANOUT_BITS) + i >= names->pages)
      memset (&slot->names[i], 0, sizeof slot->names[i]);
  return TRUE;
}

const ChunkName *
map_names_leaf (MapNames *names, guint64 leaf, GError **error)
{
  LeafSlot **slot = &names->slots[leaf % LEAF_SLOTS];

  if (*slot != NULL && (*slot)->leaf == leaf)
    return (*slot)->names;
  if (*slot == NULL)
    *slot = g_new (LeafSlot, 1);
  (*slot)->leaf = leaf;
  if (fill_slot (names, *slot, error))
    return (*slot)->names;
  g_clear_pointer (slot, g_free);
  return NULL;
}

const ChunkName *
map_names_page (MapNames *names, guint64 page, GError **error)
{
  const ChunkName *leaf = map_names_leaf (names, page >> NODE_FANOUT_BITS, error);
  return leaf != NULL ? &leaf[page & (NODE_FANOUT - 1)] : NULL;
}

/* Below one node of a run. */
static gboolean
foreach_below (MapNames *names, const ChunkName *name, guint level, RunEntryFunc func,
               gpointer user_data, GError **error)
{
  g_autofree RunEntry *entries = g_new (RunEntry, RUN_NODE_ENTRIES);
  guint count;

  if (!map_read_run_node (names->store, name, level, entries, &count, error))
    return FALSE;
  for (guint i = 0; i < count; i++) {
    if (level == 0)
      func (&entries[i], user_data);
    else if (!foreach_below (names, &entries[i].name, level - 1, func, user_data, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
map_names_foreach_in_run (MapNames *names, const RunRef *run, RunEntryFunc func, gpointer user_data,
                          GError **error)
{
  return foreach_below (names, &run->name, run->level, func, user_data, error);
}
