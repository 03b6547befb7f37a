/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index: all index tables of a store. A view is what they were at one moment; it never changes,
 * so threads search it without a lock. The index is only ever a help: packs alone can rebuild it.
 */
#pragma once

#include "index-table.h"

/* More tables than this are merged by the next writer that may (or by gc). */
#define INDEX_TABLES_MAX 16

typedef struct {
  int refs;              /* (atomic) */
  GPtrArray *tables;     /* of IndexTable, newest first */
  IndexTable *recovered; /* (nullable): from footers of packs that no table names; for reading only:
                            such a pack may belong to a writer that gives up */
  GPtrArray *damaged;    /* of char*: tables that cannot be used */
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
 * index_merge:
 * @view: the tables to choose from
 *
 * If there are too many tables, replaces the small ones by one: written and synced first, then they
 * are removed. The caller must know that no gc is taking packs out of the index
 * (docs/store-format.md, "Writing").
 */
gboolean index_merge (Index *index, const IndexView *view, GError **error);
