/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A new tree is built from the top down: a subtree in which nothing changed keeps its former name
 * and is not even read. A leaf in which something changed is the former leaf, runs applied, plus
 * the changes.
 */
#include "map-build.h"

#include <string.h>

/* A leaf as it is stored, and what each override may cost: in a fold now, or as 36 bytes in a run
 * and the rest in a later fold. That keeps a map's metadata below 64 bytes per page written. */
#define LEAF_STORED_BYTES (8 + NODE_FANOUT * CHUNK_NAME_BYTES)
#define OVERRIDE_BUDGET_BYTES 60
#define RUN_ENTRY_BYTES 36

typedef struct {
  Pipeline *pipeline;
  MapNames *base; /* (nullable) */
  guint64 pages;
  guint levels;
  guint64 nodes[TREE_LEVELS_MAX];   /* how many there are at each level */
  guint8 *touched[TREE_LEVELS_MAX]; /* bitmaps: a leaf below this node is to be written */
  GArray *changes;
  guint next; /* of changes */
} TreeBuild;

static void
tree_build_clear (TreeBuild *build)
{
  for (guint level = 0; level < TREE_LEVELS_MAX; level++)
    g_clear_pointer (&build->touched[level], g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TreeBuild, tree_build_clear)

static void
tree_build_init (TreeBuild *build, guint64 length)
{
  guint64 nodes = map_pages (length);

  build->pages = nodes;
  build->levels = map_tree_levels (length);
  for (guint level = 0; level < build->levels; level++) {
    nodes = (nodes + NODE_FANOUT - 1) >> NODE_FANOUT_BITS;
    build->nodes[level] = nodes;
    build->touched[level] = g_malloc0 (nodes / 8 + 1);
  }
}

static void
touch_leaf (TreeBuild *build, guint64 leaf)
{
  for (guint level = 0; level < build->levels && leaf < build->nodes[level]; level++) {
    build->touched[level][leaf / 8] |= 1 << leaf % 8;
    leaf >>= NODE_FANOUT_BITS;
  }
}

static gboolean
is_touched (const TreeBuild *build, guint level, guint64 index)
{
  return build->touched[level][index / 8] >> index % 8 & 1;
}

static void
touch_entry (const RunEntry *entry, gpointer user_data)
{
  touch_leaf (user_data, entry->page >> NODE_FANOUT_BITS);
}

/* Finds out which leaves cannot be taken over. */
static gboolean
touch_all (TreeBuild *build, GError **error)
{
  for (guint i = 0; i < build->changes->len; i++)
    touch_entry (&g_array_index (build->changes, RunEntry, i), build);
  if (build->base == NULL)
    return TRUE;
  const MapRoot *root = map_names_root (build->base);
  for (guint i = 0; i < root->n_runs; i++)
    if (!map_names_foreach_in_run (build->base, &root->runs[i], touch_entry, build, error))
      return FALSE;
  /* A shorter map must forget what was beyond its end. */
  if (map_pages (root->length) > build->pages && build->pages > 0)
    touch_leaf (build, build->nodes[0] - 1);
  return TRUE;
}

/* The names of a leaf to be written. */
static gboolean
fill_leaf (TreeBuild *build, guint64 index, ChunkName names[NODE_FANOUT], GError **error)
{
  guint64 first = index << NODE_FANOUT_BITS;

  memset (names, 0, NODE_FANOUT * sizeof *names);
  if (build->base != NULL) {
    const ChunkName *former = map_names_leaf (build->base, index, error);
    if (former == NULL)
      return FALSE;
    for (guint i = 0; i < NODE_FANOUT && first + i < build->pages; i++)
      names[i] = former[i];
  }
  for (; build->next < build->changes->len; build->next++) {
    const RunEntry *change = &g_array_index (build->changes, RunEntry, build->next);
    if (change->page >= first + NODE_FANOUT)
      break;
    names[change->page - first] = change->name;
  }
  return TRUE;
}

static gboolean build_node (TreeBuild *build, guint level, guint64 index, ChunkName *name,
                            GError **error);

static gboolean
fill_inner (TreeBuild *build, guint level, guint64 index, ChunkName names[NODE_FANOUT],
            GError **error)
{
  memset (names, 0, NODE_FANOUT * sizeof *names);
  for (guint i = 0; i < NODE_FANOUT; i++) {
    guint64 child = (index << NODE_FANOUT_BITS) + i;
    if (child >= build->nodes[level - 1])
      break;
    if (!build_node (build, level - 1, child, &names[i], error))
      return FALSE;
  }
  return TRUE;
}

/* Yields the name of a node, written if need be; all zeros if there is nothing in it. */
static gboolean
build_node (TreeBuild *build, guint level, guint64 index, ChunkName *name, GError **error)
{
  ChunkName names[NODE_FANOUT];

  memset (name, 0, sizeof *name);
  if (!is_touched (build, level, index)) {
    if (build->base == NULL)
      return TRUE;
    guint former_levels = map_names_root (build->base)->tree_levels;
    if (level < former_levels)
      return map_names_tree_node (build->base, level, index, name, error);
    /* Higher than the former tree: that is its first descendant, all else is new. */
    if (index != 0 || former_levels == 0)
      return TRUE;
  }
  if (!(level == 0 ? fill_leaf (build, index, names, error)
                   : fill_inner (build, level, index, names, error)))
    return FALSE;
  for (guint i = 0; i < NODE_FANOUT; i++) {
    if (chunk_name_is_zero (&names[i]))
      continue;
    g_autoptr (GBytes) bytes = tree_node_to_bytes (level, names);
    return pipeline_add (build->pipeline, PACK_METADATA, bytes, name, error);
  }
  return TRUE;
}

static gboolean
build_tree (Pipeline *pipeline, MapNames *base, GArray *changes, MapRoot *root, GError **error)
{
  g_auto (TreeBuild) build = { .pipeline = pipeline, .base = base, .changes = changes };

  root->n_runs = 0;
  tree_build_init (&build, root->length);
  if (build.levels == 0)
    return TRUE;
  return touch_all (&build, error) && build_node (&build, build.levels - 1, 0, &root->tree, error);
}

/* Writes one level of a run; @above: (out): a RunEntry per node. */
static gboolean
write_run_level (Pipeline *pipeline, guint level, GArray *entries, GArray *above, GError **error)
{
  for (guint at = 0; at < entries->len;) {
    const RunEntry *first = &g_array_index (entries, RunEntry, at);
    RunEntry node = { .page = first->page };
    guint count = 0;
    while (count < RUN_NODE_ENTRIES && at + count < entries->len &&
           (level > 0 || first[count].page - first->page <= G_MAXUINT32))
      count++;
    g_autoptr (GBytes) bytes = run_node_to_bytes (level, first, count);
    if (!pipeline_add (pipeline, PACK_METADATA, bytes, &node.name, error))
      return FALSE;
    g_array_append_val (above, node);
    at += count;
  }
  return TRUE;
}

static gboolean
add_run (Pipeline *pipeline, GArray *changes, guint32 leaves, MapRoot *root, GError **error)
{
  RunRef *run = &root->runs[root->n_runs++];
  g_autoptr (GArray) entries = g_array_ref (changes);

  run->count = changes->len;
  run->leaves = leaves;
  for (guint level = 0; level < RUN_LEVELS_MAX; level++) {
    GArray *above = g_array_new (FALSE, FALSE, sizeof (RunEntry));
    gboolean good = write_run_level (pipeline, level, entries, above, error);
    g_array_unref (entries);
    entries = above;
    if (!good)
      return FALSE;
    if (entries->len == 1) {
      run->level = level;
      run->name = g_array_index (entries, RunEntry, 0).name;
      return TRUE;
    }
  }
  g_assert_not_reached(); /* 2048^5 entries */
}

static guint32
count_leaves (GArray *changes)
{
  guint32 leaves = 0;
  guint64 before = G_MAXUINT64;

  for (guint i = 0; i < changes->len; i++) {
    guint64 leaf = g_array_index (changes, RunEntry, i).page >> NODE_FANOUT_BITS;
    leaves += leaf != before;
    before = leaf;
  }
  return leaves;
}

/* TRUE if the leaves that would be rewritten are paid for by the overrides that then go. */
static gboolean
fold_pays (const MapRoot *former, GArray *changes, guint32 new_leaves)
{
  guint64 all_leaves = (map_pages (former->length) + NODE_FANOUT - 1) / NODE_FANOUT;
  guint64 leaves = new_leaves;
  guint64 budget = (guint64)changes->len * OVERRIDE_BUDGET_BYTES;

  for (guint i = 0; i < former->n_runs; i++) {
    leaves += former->runs[i].leaves;
    budget += former->runs[i].count * (OVERRIDE_BUDGET_BYTES - RUN_ENTRY_BYTES);
  }
  leaves = MIN (leaves, all_leaves);
  /* The nodes above the leaves: a 256th, and the path to the top. */
  guint64 nodes = leaves + leaves / NODE_FANOUT + former->tree_levels;
  return nodes * LEAF_STORED_BYTES <= budget;
}

gboolean
map_build (Pipeline *pipeline, MapNames *base, GArray *changes, PageMap *map, GError **error)
{
  const MapRoot *former = base != NULL ? map_names_root (base) : NULL;
  MapRoot root = { .length = map->length, .tree_levels = map_tree_levels (map->length) };
  guint32 new_leaves = count_leaves (changes);
  gboolean same_length = former != NULL && former->length == map->length;
  gboolean empty = former != NULL && chunk_name_is_zero (&former->tree) && former->n_runs == 0;

  if (same_length && !empty && former->n_runs < RUNS_MAX &&
      !fold_pays (former, changes, new_leaves)) {
    root = *former;
    if (changes->len > 0 && !add_run (pipeline, changes, new_leaves, &root, error))
      return FALSE;
  } else if (!build_tree (pipeline, base, changes, &root, error)) {
    return FALSE;
  }
  memset (&map->root, 0, sizeof map->root);
  if (root.n_runs == 0 && chunk_name_is_zero (&root.tree))
    return TRUE;
  g_autoptr (GBytes) bytes = map_root_to_bytes (&root);
  return pipeline_add (pipeline, PACK_METADATA, bytes, &map->root, error);
}
