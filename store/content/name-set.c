/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "name-set.h"

#include <string.h>

#define INITIAL_SLOTS 1024

/* Open addressing with linear probing; an empty slot is all zeros. Names are hashes already. */
struct _NameSet {
  ChunkName *slots;
  gsize mask; /* slots - 1 */
  gsize used;
};

NameSet *
name_set_new (void)
{
  NameSet *set = g_new0 (NameSet, 1);
  set->mask = INITIAL_SLOTS - 1;
  set->slots = g_new0 (ChunkName, INITIAL_SLOTS);
  return set;
}

void
name_set_free (NameSet *set)
{
  if (set == NULL)
    return;
  g_free (set->slots);
  g_free (set);
}

/* The slot that has @name, or the empty one where it belongs. */
static ChunkName *
find_slot (const NameSet *set, const ChunkName *name)
{
  guint64 hash;

  /* Not the first bytes: tables hold runs of names that share them when they are rebuilt. */
  memcpy (&hash, name->bytes + 8, sizeof hash);
  for (gsize i = hash & set->mask;; i = (i + 1) & set->mask)
    if (chunk_name_is_zero (&set->slots[i]) || chunk_name_equal (&set->slots[i], name))
      return &set->slots[i];
}

static void
grow (NameSet *set)
{
  g_autofree ChunkName *old = set->slots;
  gsize old_slots = set->mask + 1;

  set->mask = old_slots * 2 - 1;
  set->slots = g_new0 (ChunkName, old_slots * 2);
  for (gsize i = 0; i < old_slots; i++)
    if (!chunk_name_is_zero (&old[i]))
      *find_slot (set, &old[i]) = old[i];
}

gboolean
name_set_add (NameSet *set, const ChunkName *name)
{
  ChunkName *slot = find_slot (set, name);

  if (!chunk_name_is_zero (slot))
    return FALSE;
  *slot = *name;
  if (++set->used > (set->mask + 1) / 4 * 3)
    grow (set);
  return TRUE;
}

gboolean
name_set_contains (const NameSet *set, const ChunkName *name)
{
  return !chunk_name_is_zero (find_slot (set, name));
}

gsize
name_set_size (const NameSet *set)
{
  return set->used;
}

void
name_set_clear (NameSet *set)
{
  g_free (set->slots);
  set->mask = INITIAL_SLOTS - 1;
  set->slots = g_new0 (ChunkName, INITIAL_SLOTS);
  set->used = 0;
}
