/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What processes that are gone have left: announcements, temporary files, half of a condemned list.
 */
#include "announce.h"
#include "gc-private.h"

#include <string.h>

GHashTable *
gc_live_writers (Store *store, const char *own, guint *other_gc, GError **error)
{
  g_autoptr (GPtrArray) all = announcements_list (store, error);
  g_autoptr (GHashTable) live = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  *other_gc = 0;
  if (all == NULL)
    return NULL;
  for (guint i = 0; i < all->len; i++) {
    const Announcement *announcement = all->pdata[i];
    if (g_strcmp0 (announcement->object, own) == 0 || owner_is_stale (&announcement->owner))
      continue;
    if (announcement->kind == ANNOUNCE_GC)
      (*other_gc)++;
    else
      g_hash_table_add (live, g_strdup (announcement->object));
  }
  return g_steal_pointer (&live);
}

static gboolean
clean_announcements (Store *store, GError **error)
{
  g_autoptr (GPtrArray) all = announcements_list (store, error);

  for (guint i = 0; all != NULL && i < all->len; i++) {
    const Announcement *announcement = all->pdata[i];
    if (owner_is_stale (&announcement->owner) && !store_remove (store, announcement->object, error))
      return FALSE;
  }
  return all != NULL;
}

static gboolean
collect_stale (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  g_autofree char *file = g_path_get_basename (name);
  g_auto (Owner) owner = { 0 };

  /* "OWNER.SERIAL.RANDOM" */
  for (int i = 0; i < 2; i++) {
    char *dot = strrchr (file, '.');
    if (dot == NULL)
      return TRUE;
    *dot = 0;
  }
  if (owner_from_file_name (&owner, file, mtime_us) && owner_is_stale (&owner))
    g_ptr_array_add (user_data, g_strdup (name));
  return TRUE;
}

static gboolean
clean_temporary_files (Store *store, GError **error)
{
  g_autoptr (GPtrArray) stale = g_ptr_array_new_with_free_func (g_free);

  if (!store_list (store, "tmp/", collect_stale, stale, error))
    return FALSE;
  for (guint i = 0; i < stale->len; i++)
    if (!store_remove (store, stale->pdata[i], error))
      return FALSE;
  return TRUE;
}

gboolean
gc_clean (Store *store, GError **error)
{
  return clean_announcements (store, error) && clean_temporary_files (store, error) &&
         condemned_remove_stray (store, error);
}
