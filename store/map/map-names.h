/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names in a page map: what each page is called, with the runs applied to the tree. Nodes are
 * read when needed and kept, within bounds. One thread at a time.
 */
#pragma once

#include "page-node.h"
#include "store-private.h"

typedef struct _MapNames MapNames;

/* Reads the map's root. */
MapNames *map_names_new (Store *store, const PageMap *map, GError **error);
void map_names_free (MapNames *names);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MapNames, map_names_free)

/* With more overrides than this they are not brought into memory but searched for. Before the first
 * lookup. */
void map_names_limit_overrides (MapNames *names, guint64 max);

const MapRoot *map_names_root (const MapNames *names);

/* The names of the 256 pages of leaf @leaf, zeros beyond the end. Borrowed until the next call. */
const ChunkName *map_names_leaf (MapNames *names, guint64 leaf, GError **error);

/* The name of one page; borrowed likewise. */
const ChunkName *map_names_page (MapNames *names, guint64 page, GError **error);

/**
 * map_names_tree_node:
 *
 * Name of the tree's node that is the @index-th of @level, runs not applied; all zeros outside of
 * the tree. @level must be one that the tree has.
 */
gboolean map_names_tree_node (MapNames *names, guint level, guint64 index, ChunkName *name,
                              GError **error);

/* Called for each override of a run, in ascending order. */
typedef void (*RunEntryFunc) (const RunEntry *entry, gpointer user_data);

gboolean map_names_foreach_in_run (MapNames *names, const RunRef *run, RunEntryFunc func,
                                   gpointer user_data, GError **error);

/* Reads and checks a node of a run or a tree. @entries: RUN_NODE_ENTRIES of them. */
gboolean map_read_tree_node (Store *store, const ChunkName *name, guint level,
                             ChunkName names[NODE_FANOUT], GError **error);
gboolean map_read_run_node (Store *store, const ChunkName *name, guint level, RunEntry *entries,
                            guint *count, GError **error);
gboolean map_read_root (Store *store, const PageMap *map, MapRoot *root, GError **error);
