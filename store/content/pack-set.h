/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets of packs: hash tables whose keys are ChunkName, owned. */
#pragma once

#include "chunk.h"

GHashTable *pack_set_new (void);
void pack_set_add (GHashTable *set, const ChunkName *pack);
void pack_set_add_all (GHashTable *set, GHashTable *more);

/* Moves what is in @from, and in @only (nullable: whatever it is), over to @to. */
void pack_set_move (GHashTable *to, GHashTable *from, GHashTable *only);
