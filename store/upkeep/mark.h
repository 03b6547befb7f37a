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
 * mark_all(). */
GHashTable *mark_gone_packs (const Mark *mark);

/* FALSE with @error if an index table could not be read, or was replaced, since mark_all(): nothing
 * that was said counts. Mark anew. */
gboolean mark_check (const Mark *mark, GError **error);
