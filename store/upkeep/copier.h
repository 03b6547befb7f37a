/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copying one checkpoint at a time from a store into another, knowing what was copied before. */
#pragma once

#include <vmckpt/store/copy.h>

#include "store-private.h"

typedef struct _Copier Copier;

/**
 * copier_new:
 * @avoid: (nullable): set of ChunkName: packs of @to that count as having nothing
 * @ignore: (nullable): set of char*: ids in @to that count as not being there
 */
Copier *copier_new (Store *from, Store *to, GHashTable *avoid, GHashTable *ignore, GError **error);
void copier_free (Copier *copier);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Copier, copier_free)

/* The checkpoint of @to that is @manifest of @from, or NULL. Borrowed. */
const Manifest *copier_find (Copier *copier, const Manifest *manifest);

/**
 * copier_copy:
 * @copied: (inout): id and counts are set
 *
 * Copies @manifest, which @to has not got, with its tags.
 */
gboolean copier_copy (Copier *copier, const Manifest *manifest, StoreCopied *copied,
                      const Progress *progress, GCancellable *cancellable, GError **error);

/* Gives @target in @to the hint that @manifest has in @from, if it lacks one, and the tags that it
 * lacks. */
gboolean copier_copy_extras (Copier *copier, const Manifest *manifest, const Manifest *target,
                             GError **error);
