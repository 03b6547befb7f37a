/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes of page maps, as bytes and as structures (docs/store-format.md, "Page maps"):
 *
 *   root  length, tree levels, tree root, runs oldest first
 *   tree  256 names: of pages (level 0) or of tree nodes one level below
 *   run   sorted (page, name) pairs: overrides (level 0), or of run nodes one level below
 */
#pragma once

#include "chunk.h"

#define NODE_FANOUT 256
#define NODE_FANOUT_BITS 8
/* Entries of a run's node: one node is read to find one page of a run. */
#define RUN_NODE_ENTRIES 2048
/* 256^5 pages are 4 PiB. */
#define TREE_LEVELS_MAX 5
#define RUN_LEVELS_MAX 5
#define RUNS_MAX 256
#define MAP_LENGTH_MAX (G_GUINT64_CONSTANT (1) << 52)

/* One override, or in upper levels: the first page of a node below, and that node. */
typedef struct {
  guint64 page;
  ChunkName name;
} RunEntry;

typedef struct {
  ChunkName name; /* of its top node */
  guint64 count;  /* overrides in all */
  guint32 leaves; /* leaves of the tree that these are in: what folding them would rewrite */
  guint32 level;  /* of its top node */
} RunRef;

typedef struct {
  guint64 length;
  guint8 tree_levels; /* what map_tree_levels (length) says */
  ChunkName tree;     /* all zeros: no page but those in runs */
  guint n_runs;
  RunRef runs[RUNS_MAX];
} MapRoot;

/* Pages that @length bytes have, and levels that a tree over them has (0 for none, 1: one leaf). */
guint64 map_pages (guint64 length);
guint map_tree_levels (guint64 length);
/* Pages under one node of @level, as a power of two. */
#define NODE_SPAN_BITS(level) (NODE_FANOUT_BITS * ((level) + 1))

/* To bytes; no node is PAGE_SIZE_BYTES long, so no guest's page can pass for one. */
GBytes *map_root_to_bytes (const MapRoot *root);
GBytes *tree_node_to_bytes (guint level, const ChunkName names[NODE_FANOUT]);
GBytes *run_node_to_bytes (guint level, const RunEntry *entries, guint count);

/* And back, with everything checked; FALSE (NULL) with STORE_ERROR_DAMAGED. */
gboolean map_root_parse (GBytes *bytes, MapRoot *root, GError **error);
gboolean tree_node_parse (GBytes *bytes, guint level, ChunkName names[NODE_FANOUT], GError **error);
/* @entries: (out caller-allocates): RUN_NODE_ENTRIES of them. */
gboolean run_node_parse (GBytes *bytes, guint level, RunEntry *entries, guint *count,
                         GError **error);
