/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs from the newest to the oldest, then the tree. A page is settled by the first that has it; a
 * node that is lost leaves what it may have had, and is not settled yet, unknown.
 */
#include "map-hurt.h"

typedef struct {
  Store *store;
  const MapHurtVisitor *visitor;
  GCancellable *cancellable;
  guint64 pages;
  guint8 *settled; /* bitmap */
} Hurt;

static gboolean
is_settled (const Hurt *hurt, guint64 page)
{
  return hurt->settled[page / 8] >> page % 8 & 1;
}

/* Settles what is left of these pages as unknown. */
static gboolean
lose_range (Hurt *hurt, guint64 first, guint64 end, GError **error)
{
  end = MIN (end, hurt->pages);
  for (guint64 page = first; page < end; page++) {
    guint64 begin = page;
    for (; page < end && !is_settled (hurt, page); page++)
      hurt->settled[page / 8] |= 1 << page % 8;
    if (page > begin &&
        !hurt->visitor->unknown (begin, page - begin, hurt->visitor->user_data, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
settle_page (Hurt *hurt, guint64 page, const ChunkName *name, GError **error)
{
  gboolean usable = TRUE;

  if (page >= hurt->pages || is_settled (hurt, page))
    return TRUE;
  hurt->settled[page / 8] |= 1 << page % 8;
  if (chunk_name_is_zero (name))
    return TRUE;
  if (!hurt->visitor->usable (name, &usable, hurt->visitor->user_data, error))
    return FALSE;
  return usable || hurt->visitor->lost (page, name, hurt->visitor->user_data, error);
}

/* After a node could not be read: goes on without it if it is damaged. */
static gboolean
pass_node (Hurt *hurt, GError *cause, guint64 first, guint64 end, GError **error)
{
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    g_error_free (cause);
    if (hurt->visitor->broken != NULL)
      hurt->visitor->broken (hurt->visitor->user_data);
    return lose_range (hurt, first, end, error);
  }
  g_propagate_error (error, cause);
  return FALSE;
}

/* A node of a run; what it has lies between @first and @end. */
static gboolean
visit_run (Hurt *hurt, const ChunkName *name, guint level, guint64 first, guint64 end,
           GError **error)
{
  g_autofree RunEntry *entries = g_new (RunEntry, RUN_NODE_ENTRIES);
  GError *cause = NULL;
  guint count;

  if (g_cancellable_set_error_if_cancelled (hurt->cancellable, error))
    return FALSE;
  if (!map_read_run_node (hurt->store, name, level, entries, &count, &cause))
    return pass_node (hurt, cause, first, end, error);
  for (guint i = 0; i < count; i++) {
    guint64 next = i + 1 < count ? entries[i + 1].page : end;
    if (!(level > 0 ? visit_run (hurt, &entries[i].name, level - 1, entries[i].page, next, error)
                    : settle_page (hurt, entries[i].page, &entries[i].name, error)))
      return FALSE;
  }
  return TRUE;
}

static gboolean
visit_tree (Hurt *hurt, const ChunkName *name, guint level, guint64 index, GError **error)
{
  ChunkName names[NODE_FANOUT];
  guint bits = (level + 1) * NODE_FANOUT_BITS;
  GError *cause = NULL;

  if (g_cancellable_set_error_if_cancelled (hurt->cancellable, error))
    return FALSE;
  if (!map_read_tree_node (hurt->store, name, level, names, &cause))
    return pass_node (hurt, cause, index << bits, (index + 1) << bits, error);
  for (guint i = 0; i < NODE_FANOUT; i++) {
    guint64 below = (index << NODE_FANOUT_BITS) + i;
    if (chunk_name_is_zero (&names[i]))
      continue;
    if (!(level > 0 ? visit_tree (hurt, &names[i], level - 1, below, error)
                    : settle_page (hurt, below, &names[i], error)))
      return FALSE;
  }
  return TRUE;
}

gboolean
map_hurt (Store *store, const PageMap *map, const MapHurtVisitor *visitor,
          GCancellable *cancellable, GError **error)
{
  guint64 pages = map_pages (map->length);
  g_autofree guint8 *settled = g_malloc0 (pages / 8 + 1);
  Hurt hurt = { store, visitor, cancellable, pages, settled };
  GError *cause = NULL;
  MapRoot root;

  if (chunk_name_is_zero (&map->root))
    return TRUE;
  if (!map_read_root (store, map, &root, &cause))
    return pass_node (&hurt, cause, 0, pages, error);
  for (guint i = root.n_runs; i-- > 0;)
    if (!visit_run (&hurt, &root.runs[i].name, root.runs[i].level, 0, pages, error))
      return FALSE;
  return chunk_name_is_zero (&root.tree) ||
         visit_tree (&hurt, &root.tree, root.tree_levels - 1, 0, error);
}
