/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a writer may rely on instead of storing it: chunks that the index knows, in packs that are
 * there. Each pack that is relied on is looked at once, since the index does not know what was
 * lost; a delta counts only with its base.
 *
 * Any thread. Its lock is held while the index is searched and while the medium is asked for a
 * pack; nothing else is locked under it.
 */
#pragma once

#include "index.h"
#include "store-private.h"

typedef struct _StoredChunks StoredChunks;

/* @view: what is searched; @skip: (nullable): set of packs that do not count. A reference is taken
 * of the former, the latter is copied. Newly allocated. */
StoredChunks *stored_chunks_new (Store *store, IndexView *view, GHashTable *skip);

/* Frees @stored; NULL is ignored. */
void stored_chunks_free (StoredChunks *stored);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoredChunks, stored_chunks_free)

/* From now on @view is searched; a reference is taken. */
void stored_chunks_use_view (StoredChunks *stored, IndexView *view);

/* TRUE if a pack that may be relied on has the chunk; @full: in full, not as a delta. What cannot
 * be read counts as not there: it is stored again, which is never wrong. */
gboolean stored_chunks_find (StoredChunks *stored, const ChunkName *name, gboolean full,
                             ChunkLocation *location);
