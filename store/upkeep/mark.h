/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is needed: one bit per index entry, set for every chunk that some checkpoint refers to. A
 * node whose bit is set already was walked already, so shared subtrees are walked once.
 *
 * A delta that is needed makes its base needed, and that in full: a second bit, only for copies
 * that are no deltas themselves. A copy that is a delta whose base is gone counts as no copy.
 *
 * Of several copies of a chunk, those count that are the surest, with the base for a delta: packs
 * that are there, then condemned ones, then those that only their own footer names, then lost ones.
 */
#pragma once

#include <vmckpt/store/manifest.h>

#include "index.h"
#include "store-private.h"

/* A pack as far as the index knows it. */
typedef struct {
  ChunkName name;
  guint64 size;
  guint64 chunks;       /* entries in the tables */
  guint64 needed;       /* of these: needed, and in no pack that was settled before */
  guint64 needed_bytes; /* their uncompressed bytes */
  guint64 chunk_bytes;  /* of all its entries */
  guint rank;           /* place in the order in which packs get to keep chunks */
} PackUse;

typedef struct _Mark Mark;

/* @condemned: (nullable): packs that are about to go: a copy that depends on one of them counts for
 * less than one that does not. */
Mark *mark_new (Store *store, GHashTable *condemned);
void mark_free (Mark *mark);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mark, mark_free)

/**
 * mark_all:
 *
 * Walks all checkpoints there are. Once.
 *
 * Returns: FALSE with STORE_ERROR_DAMAGED if one cannot be walked: what it needs is not known then.
 */
gboolean mark_all (Mark *mark, const Progress *progress, GCancellable *cancellable, GError **error);

/* Ids of the checkpoints walked, as a set of char*; borrowed. */
GHashTable *mark_checkpoints (const Mark *mark);

/* Packs that the index names and that are not on the medium; borrowed set of ChunkName, filled by
 * mark_all(). They are the last to keep a chunk, with those that have another size than the index
 * says. */
GHashTable *mark_gone_packs (const Mark *mark);

/**
 * mark_pack_use:
 * @late: (nullable): set of ChunkName: packs that are to keep a chunk only if no other pack has it
 * @latest: (nullable): packs that are to keep one only if not even those have it
 *
 * Settles which pack keeps each needed chunk: of several that have it, the one that is most used.
 * Reads all tables twice, from end to end; takes 4 bytes per frame meanwhile.
 *
 * Returns: (transfer full): ChunkName → PackUse, for every pack in the index; NULL with @error if a
 * table could not be read to its end.
 */
GHashTable *mark_pack_use (Mark *mark, GHashTable *late, GHashTable *latest, GError **error);

typedef void (*MarkFunc) (const ChunkName *name, const ChunkLocation *location, gpointer user_data);

/* Calls @func for the needed chunks that mark_pack_use() left to a pack in the set @packs. If it
 * fails (mark_check()), some may be missing. */
void mark_foreach_kept (const Mark *mark, GHashTable *packs, MarkFunc func, gpointer user_data);

/* FALSE with @error if an index table could not be read, or was replaced, since mark_all(): nothing
 * that was said counts. Mark anew. */
gboolean mark_check (const Mark *mark, GError **error);
