/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Index tables: where chunks are, as one immutable sorted object that is searched in place. Nothing
 * of it is copied into memory; a lookup touches one bucket.
 */
#pragma once

#include "pack.h"

/* Where a chunk is. */
typedef struct {
  ChunkName pack;
  guint64 pack_size;
  FrameInfo frame;
  guint32 offset, len; /* in the decompressed frame */
} ChunkLocation;

/* ---- Building ---- */

typedef struct {
  ChunkName name;
  guint64 size;
  guint32 chunks;
  PackKind kind;
} IndexPack;

typedef struct {
  guint32 pack; /* place in the list of packs */
  FrameInfo frame;
} IndexFrame;

typedef struct {
  ChunkName name;
  guint32 frame; /* place in the list of frames */
  guint32 offset, len;
} IndexEntry;

typedef struct {
  GArray *packs;   /* of IndexPack */
  GArray *frames;  /* of IndexFrame */
  GArray *entries; /* of IndexEntry */
} IndexContents;

IndexContents *index_contents_new (void);
void index_contents_free (IndexContents *contents);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexContents, index_contents_free)

/* Adds everything that a pack's footer says. */
void index_contents_add_footer (IndexContents *contents, const ChunkName *pack,
                                const PackFooter *footer);

/* Sorts the entries and writes the table; @hash: (out): names the object. */
GBytes *index_contents_to_bytes (IndexContents *contents, const HashKey *key, ChunkName *hash);

/* ---- Reading ---- */

typedef struct _IndexTable IndexTable;

/**
 * index_table_new:
 * @object: its name in the store, or a word for messages
 *
 * Checks head, pack list and fan-out; entries are checked when they are used, and what they lead to
 * is verified by name.
 *
 * Returns: NULL with @error: STORE_ERROR_DAMAGED, STORE_ERROR_VERSION.
 */
IndexTable *index_table_new (const char *object, GBytes *bytes, const HashKey *key, GError **error);
IndexTable *index_table_ref (IndexTable *table);
void index_table_unref (IndexTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexTable, index_table_unref)

const char *index_table_object (const IndexTable *table);
gsize index_table_size (const IndexTable *table);
guint index_table_packs (const IndexTable *table);
guint index_table_entries (const IndexTable *table);

/* Place of @name among the entries, or -1; copies in other packs follow it. */
gint64 index_table_find (const IndexTable *table, const ChunkName *name);

/* The @i-th entry's name and place. FALSE if the table is damaged there. */
gboolean index_table_entry (const IndexTable *table, guint i, ChunkName *name,
                            ChunkLocation *location, guint *pack);

void index_table_pack (const IndexTable *table, guint i, IndexPack *pack);

gboolean index_table_has_pack (const IndexTable *table, const ChunkName *pack);

/* Appends all of the table that is not in a pack for which @skip (nullable, a set of ChunkName)
 * says so. FALSE if the table is damaged. */
gboolean index_table_append_to (const IndexTable *table, IndexContents *contents, GHashTable *skip);

/* Reads all of it and compares it with @hash; FALSE if it differs. */
gboolean index_table_verify (const IndexTable *table, const HashKey *key, const ChunkName *hash);
