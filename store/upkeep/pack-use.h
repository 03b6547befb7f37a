/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pack keeps what: of several that have a needed chunk, one, so that the others may go. A
 * pack that is gone, or of another size than the index says, is the last to keep one.
 */
#pragma once

#include "mark.h"

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

/**
 * pack_use_settle:
 * @mark: after mark_all()
 * @late: (nullable): set of ChunkName: packs that are to keep a chunk only if no other pack has it
 * @latest: (nullable): packs that are to keep one only if not even those have it
 *
 * Settles which pack keeps each needed chunk: of several that have it, the one that is most used.
 * Reads all tables twice, from end to end; takes 4 bytes per frame meanwhile.
 *
 * Returns: (transfer full): ChunkName → PackUse, for every pack in the index; NULL with @error if a
 * table could not be read to its end.
 */
GHashTable *pack_use_settle (Mark *mark, GHashTable *late, GHashTable *latest, GError **error);

typedef void (*PackUseFunc) (const ChunkName *name, const ChunkLocation *location,
                             gpointer user_data);

/* Calls @func for the needed chunks that pack_use_settle() left to a pack in the set @packs. If it
 * fails (mark_check()), some may be missing. */
void pack_use_foreach_kept (const Mark *mark, GHashTable *packs, PackUseFunc func,
                            gpointer user_data);
