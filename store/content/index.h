/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index: all index tables of a store. A view is what they were at one moment; it never changes,
 * so threads search it without a lock. The index is only ever a help: packs alone can rebuild it.
 */
#pragma once

#include "index-table.h"

/* What all tables of a store together keep in memory: less makes lookups in a store of terabytes
 * slower, more does not make them faster, since their places are random. */
#define INDEX_CACHE_BYTES (32 * 1024 * 1024)

typedef struct {
  int refs;              /* (atomic) */
  GPtrArray *tables;     /* of IndexTable, newest first */
  IndexTable *recovered; /* (nullable): from footers of packs that no table names; for reading only:
                            such a pack may belong to a writer that gives up */
  GPtrArray *damaged;    /* of char*: tables that cannot be used */
  guint64 serial;        /* rises with the time at which the tables were listed */
} IndexView;

IndexView *index_view_ref (IndexView *view);
void index_view_unref (IndexView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexView, index_view_unref)

/**
 * index_view_find:
 * @skip: (nullable): set of ChunkName, packs that do not count
 * @recovered: also look at what was rebuilt from packs
 */
gboolean index_view_find (const IndexView *view, const ChunkName *name, GHashTable *skip,
                          gboolean recovered, ChunkLocation *location);

/* The same for a copy that is stored in full, not as a delta: only that can be the base of one. */
gboolean index_view_find_full (const IndexView *view, const ChunkName *name, GHashTable *skip,
                               gboolean recovered, ChunkLocation *location);

/* Adds the packs that the tables name to @packs (pack-set.h). */
void index_view_list_packs (const IndexView *view, GHashTable *packs);

/* TRUE if a table of it could not be read: what was not found in it may be there all the same.
 * index_reload() helps. */
gboolean index_view_failed (const IndexView *view);

typedef struct _Index Index;

/* @backend and @key stay the caller's and must outlive it. Reads nothing yet. */
Index *index_new (Backend *backend, const HashKey *key);
void index_free (Index *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Index, index_free)

/* What is known of the index, loaded if it was not yet. (transfer full) */
IndexView *index_view (Index *index, GError **error);

/* Lists the tables anew and loads those that are new. (transfer full) */
IndexView *index_reload (Index *index, GError **error);

/* Reloads, verifies every table as a whole, and reads the footers of packs that no good table
 * names. (transfer full) */
IndexView *index_recover (Index *index, GError **error);

/* Writes a table; the caller syncs and reloads. @object: (out) (optional) (transfer full). */
gboolean index_publish (Index *index, IndexContents *contents, guint64 *size, char **object,
                        GError **error);

/**
 * index_rewrite:
 * @table: of a view of this index
 * @skip: (nullable): set of ChunkName: packs that are left out
 * @object: (out) (optional) (transfer full): NULL if nothing is left
 *
 * Puts a table of what is left; the caller syncs, removes the former one and reloads.
 */
gboolean index_rewrite (Index *index, IndexTable *table, GHashTable *skip, char **object,
                        GError **error);

/* FALSE: somebody walks the index, whose tables must stay. */
typedef gboolean (*IndexMayRemove) (gpointer user_data);

/**
 * index_merge:
 * @view: the tables to choose from
 * @may_remove: asked before each merge, and again before tables are removed
 * @size: (out) (optional): bytes written
 *
 * Merges tables as long as index_merge_choose() finds some that should be: the merged one is
 * written and synced, then they are removed. Each is compared with its name first: one that differs
 * is STORE_ERROR_DAMAGED, and the next view counts it among the damaged ones. The caller must know
 * that no gc is taking packs out of the index (docs/store-format.md, "Writing").
 */
gboolean index_merge (Index *index, IndexView *view, IndexMayRemove may_remove, gpointer user_data,
                      guint64 *size, GCancellable *cancellable, GError **error);

/* What was read for lookups, and how much of it is kept. */
void index_cache_stats (Index *index, BlockCacheStats *stats);
