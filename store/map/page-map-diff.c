/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Comparing two maps leaf by leaf. A leaf is looked into only if the trees differ there or a run
 * that the two maps do not share has something in it; the runs that they do share (the oldest ones)
 * say the same in both.
 */
#include "map-names.h"

typedef struct {
  MapNames *a, *b;
  guint64 leaves;
  guint8 *candidates; /* bitmap of leaves */
} MapDiff;

static void
map_diff_clear (MapDiff *diff)
{
  map_names_free (diff->a);
  map_names_free (diff->b);
  g_free (diff->candidates);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (MapDiff, map_diff_clear)

static void
mark_entry (const RunEntry *entry, gpointer user_data)
{
  MapDiff *diff = user_data;
  guint64 leaf = entry->page >> NODE_FANOUT_BITS;

  if (leaf < diff->leaves)
    diff->candidates[leaf / 8] |= 1 << leaf % 8;
}

/* How many runs, oldest first, are the same in both. */
static guint
shared_runs (const MapRoot *a, const MapRoot *b)
{
  guint shared = 0;

  while (shared < a->n_runs && shared < b->n_runs &&
         chunk_name_equal (&a->runs[shared].name, &b->runs[shared].name))
    shared++;
  return shared;
}

static gboolean
mark_runs (MapDiff *diff, MapNames *names, guint first, GError **error)
{
  const MapRoot *root = map_names_root (names);

  for (guint i = first; i < root->n_runs; i++)
    if (!map_names_foreach_in_run (names, &root->runs[i], mark_entry, diff, error))
      return FALSE;
  return TRUE;
}

/* The name of a leaf in the tree alone. */
static gboolean
leaf_name (MapNames *names, guint64 leaf, ChunkName *name, GError **error)
{
  return map_names_tree_node (names, 0, leaf, name, error);
}

/* *differ: whether the leaf must be compared. */
static gboolean
is_candidate (MapDiff *diff, guint64 leaf, gboolean same_tree, gboolean *differ, GError **error)
{
  ChunkName a, b;

  *differ = diff->candidates[leaf / 8] >> leaf % 8 & 1;
  if (*differ || same_tree)
    return TRUE;
  if (!leaf_name (diff->a, leaf, &a, error) || !leaf_name (diff->b, leaf, &b, error))
    return FALSE;
  *differ = !chunk_name_equal (&a, &b);
  return TRUE;
}

/* Calls @func for the pages that differ in one leaf; *stop when it says so. */
static gboolean
compare_leaf (MapDiff *diff, guint64 leaf, PageDiffFunc func, gpointer user_data, gboolean *stop,
              GError **error)
{
  const ChunkName *a = map_names_leaf (diff->a, leaf, error);
  const ChunkName *b = a != NULL ? map_names_leaf (diff->b, leaf, error) : NULL;

  if (b == NULL)
    return FALSE;
  for (guint i = 0; i < NODE_FANOUT && !*stop; i++)
    if (!chunk_name_equal (&a[i], &b[i]))
      *stop = !func ((leaf << NODE_FANOUT_BITS) + i, &a[i], &b[i], user_data);
  return TRUE;
}

gboolean
page_map_diff (Store *store, const PageMap *a, const PageMap *b, PageDiffFunc func,
               gpointer user_data, GError **error)
{
  g_auto (MapDiff) diff = { 0 };
  gboolean stop = FALSE;

  if (a->length == b->length && chunk_name_equal (&a->root, &b->root))
    return TRUE;
  diff.leaves = (map_pages (MAX (a->length, b->length)) + NODE_FANOUT - 1) >> NODE_FANOUT_BITS;
  diff.candidates = g_malloc0 (diff.leaves / 8 + 1);
  diff.a = map_names_new (store, a, error);
  diff.b = diff.a != NULL ? map_names_new (store, b, error) : NULL;
  if (diff.b == NULL)
    return FALSE;
  const MapRoot *root_a = map_names_root (diff.a), *root_b = map_names_root (diff.b);
  gboolean same_tree = a->length == b->length && chunk_name_equal (&root_a->tree, &root_b->tree);
  guint shared = shared_runs (root_a, root_b);
  if (!mark_runs (&diff, diff.a, shared, error) || !mark_runs (&diff, diff.b, shared, error))
    return FALSE;
  /* A page beyond the end of one map is zero there, whatever a shared leaf has. */
  if (a->length != b->length && a->length > 0 && b->length > 0)
    mark_entry (&(RunEntry){ .page = map_pages (MIN (a->length, b->length)) - 1 }, &diff);
  for (guint64 leaf = 0; leaf < diff.leaves && !stop; leaf++) {
    gboolean differ;
    if (!is_candidate (&diff, leaf, same_tree, &differ, error))
      return FALSE;
    if (differ && !compare_leaf (&diff, leaf, func, user_data, &stop, error))
      return FALSE;
  }
  return TRUE;
}
