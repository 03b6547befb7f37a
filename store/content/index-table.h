/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Index tables: where chunks are, as one immutable sorted object that is searched in place. Nothing
 * of it is copied into memory but the blocks that a bounded cache keeps; a lookup touches one
 * bucket.
 */
#pragma once

#include "index-source.h"
#include "pack.h"

/* Where a chunk is. */
typedef struct {
  ChunkName pack;
  guint64 pack_size;
  FrameInfo frame;
  guint32 offset, len; /* in the decompressed frame */
} ChunkLocation;

/* For sorting in the order in which packs are best read: by pack, frame, and place in it. */
int chunk_location_compare (const ChunkLocation *a, const ChunkLocation *b);

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
 * A table in memory. Checks head, pack list and fan-out; entries are checked when they are used,
 * and what they lead to is verified by name.
 *
 * Returns: NULL with @error: STORE_ERROR_DAMAGED, STORE_ERROR_VERSION.
 */
IndexTable *index_table_new (const char *object, GBytes *bytes, const HashKey *key, GError **error);

/**
 * index_table_open:
 * @medium: copied; what it refers to must outlive the table
 * @size: of the object
 *
 * The same for a table that stays on the medium and is read through the cache: nothing of it is
 * copied. One of up to INDEX_WHOLE_BYTES is also compared with its name.
 *
 * Returns: NULL with @error: as above, or the backend's.
 */
IndexTable *index_table_open (const IndexMedium *medium, const char *object, guint64 size,
                              GError **error);
#define INDEX_WHOLE_BYTES (1024 * 1024)

IndexTable *index_table_ref (IndexTable *table);
void index_table_unref (IndexTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexTable, index_table_unref)

const char *index_table_object (const IndexTable *table);
guint64 index_table_size (const IndexTable *table);
guint index_table_packs (const IndexTable *table);
guint index_table_frames (const IndexTable *table);
guint index_table_entries (const IndexTable *table);

/*
 * Reading a table can fail at any time: the medium fails, the object is cut short, or it was
 * removed since somebody replaced it. The call then returns "not there", and the table remembers:
 * whoever must not take the one for the other asks afterwards. Nothing is read from it any more.
 */
IndexFailure index_table_failure (const IndexTable *table);

/* FALSE with STORE_ERROR_DAMAGED if reading it has failed. */
gboolean index_table_check (const IndexTable *table, GError **error);

/* Place of @name among the entries, or -1; copies in other packs follow it. */
gint64 index_table_find (const IndexTable *table, const ChunkName *name);

/* The @i-th entry's name and place; @pack: (out) (optional): the pack's number. FALSE if the table
 * is damaged there; @name is then set if it can be read, otherwise all zeros. */
gboolean index_table_entry (const IndexTable *table, guint i, ChunkName *name,
                            ChunkLocation *location, guint *pack);

/* The @i-th pack; all zeros if it cannot be read. */
void index_table_pack (const IndexTable *table, guint i, IndexPack *pack);

/* Reads all of it, past the cache, and compares it with @hash; FALSE if it differs: then it counts
 * as broken. */
gboolean index_table_verify (const IndexTable *table, const ChunkName *hash);
