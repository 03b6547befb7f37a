/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "map-walk.h"

typedef struct {
  Store *store;
  const MapVisitor *visitor;
  GCancellable *cancellable;
  guint64 pages;
} Walk;

static gboolean
enter_node (const Walk *walk, const ChunkName *name, gboolean *descend, GError **error)
{
  *descend = TRUE;
  return !g_cancellable_set_error_if_cancelled (walk->cancellable, error) &&
         walk->visitor->node (name, descend, walk->visitor->user_data, error);
}

static gboolean
walk_tree (const Walk *walk, const ChunkName *name, guint level, guint64 index, GError **error)
{
  ChunkName names[NODE_FANOUT];
  gboolean descend;

  if (!enter_node (walk, name, &descend, error))
    return FALSE;
  if (!descend)
    return TRUE;
  if (!map_read_tree_node (walk->store, name, level, names, error))
    return FALSE;
  for (guint i = 0; i < NODE_FANOUT; i++) {
    guint64 below = (index << NODE_FANOUT_BITS) + i;
    if (chunk_name_is_zero (&names[i]))
      continue;
    if (below << (level * NODE_FANOUT_BITS) >= walk->pages) {
      g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                           "a page map has something beyond its end");
      return FALSE;
    }
    if (!(level > 0 ? walk_tree (walk, &names[i], level - 1, below, error)
                    : walk->visitor->page (below, &names[i], walk->visitor->user_data, error)))
      return FALSE;
  }
  return TRUE;
}

static gboolean
walk_run (const Walk *walk, const ChunkName *name, guint level, guint64 *next, GError **error)
{
  g_autofree RunEntry *entries = g_new (RunEntry, RUN_NODE_ENTRIES);
  gboolean descend;
  guint count;

  if (!enter_node (walk, name, &descend, error))
    return FALSE;
  if (!descend)
    return TRUE;
  if (!map_read_run_node (walk->store, name, level, entries, &count, error))
    return FALSE;
  for (guint i = 0; i < count; i++) {
    if (entries[i].page < *next || entries[i].page >= walk->pages) {
      g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                           "the nodes of a run in a page map do not fit together");
      return FALSE;
    }
    *next = level > 0 ? entries[i].page : entries[i].page + 1;
    if (level > 0 ? !walk_run (walk, &entries[i].name, level - 1, next, error)
                  : !chunk_name_is_zero (&entries[i].name) &&
                        !walk->visitor->page (entries[i].page, &entries[i].name,
                                              walk->visitor->user_data, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
map_walk (Store *store, const PageMap *map, const MapVisitor *visitor, GCancellable *cancellable,
          GError **error)
{
  Walk walk = { store, visitor, cancellable, map_pages (map->length) };
  gboolean descend;
  MapRoot root;

  if (chunk_name_is_zero (&map->root))
    return TRUE;
  if (!enter_node (&walk, &map->root, &descend, error))
    return FALSE;
  if (!descend)
    return TRUE;
  if (!map_read_root (store, map, &root, error))
    return FALSE;
  if (!chunk_name_is_zero (&root.tree) &&
      !walk_tree (&walk, &root.tree, root.tree_levels - 1, 0, error))
    return FALSE;
  for (guint i = 0; i < root.n_runs; i++) {
    guint64 next = 0;
    if (!walk_run (&walk, &root.runs[i].name, root.runs[i].level, &next, error))
      return FALSE;
  }
  return TRUE;
}
