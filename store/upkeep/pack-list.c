/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pack-list.h"

static gboolean
collect_pack (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  ChunkName hash;

  if (object_name_parse (name, "packs", &hash))
    g_hash_table_insert (user_data, g_memdup2 (&hash, sizeof hash), g_memdup2 (&size, sizeof size));
  return TRUE;
}

GHashTable *
pack_list_load (Store *store, GError **error)
{
  g_autoptr (GHashTable) packs =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, g_free);

  if (!store_list (store, "packs/", collect_pack, packs, error))
    return NULL;
  return g_steal_pointer (&packs);
}
