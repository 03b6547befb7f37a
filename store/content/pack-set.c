/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pack-set.h"

GHashTable *
pack_set_new (void)
{
  return g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);
}

void
pack_set_add (GHashTable *set, const ChunkName *pack)
{
  g_hash_table_add (set, g_memdup2 (pack, sizeof *pack));
}

void
pack_set_add_all (GHashTable *set, GHashTable *more)
{
  GHashTableIter iter;
  gpointer pack;

  g_hash_table_iter_init (&iter, more);
  while (g_hash_table_iter_next (&iter, &pack, NULL))
    pack_set_add (set, pack);
}

void
pack_set_move (GHashTable *to, GHashTable *from, GHashTable *only)
{
  GHashTableIter iter;
  gpointer pack;

  g_hash_table_iter_init (&iter, from);
  while (g_hash_table_iter_next (&iter, &pack, NULL)) {
    if (only != NULL && !g_hash_table_contains (only, pack))
      continue;
    pack_set_add (to, pack);
    g_hash_table_iter_remove (&iter);
  }
}
