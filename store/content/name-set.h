/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of chunk names, kept inline: about 50 bytes a name. Not for the name that is all zeros. */
#pragma once

#include "chunk.h"

typedef struct _NameSet NameSet;

NameSet *name_set_new (void);
void name_set_free (NameSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NameSet, name_set_free)

/* TRUE if @name was not in it before. */
gboolean name_set_add (NameSet *set, const ChunkName *name);
gboolean name_set_contains (const NameSet *set, const ChunkName *name);
gsize name_set_size (const NameSet *set);
void name_set_clear (NameSet *set);
