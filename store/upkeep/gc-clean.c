/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What processes that are gone have left: announcements, temporary files, half of a condemned list.
 */
#include "announce.h"
#include "gc-private.h"

#include <string.h>

GHashTable *
gc_live_writers (Store *store, const char *own, guint *other_gc, GError **error)
{
  g_autoptr (GPtrArray) all = announcements_list (store, own, error);
  g_autoptr (GHashTable) live = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  *other_gc = 0;
  if (all == NULL)
    return NULL;
  for (guint i = 0; i < all->len; i++) {
    const Announcement *announcement = all->pdata[i];
    if (g_strcmp0 (announcement->object, own) == 0 || announcement_is_stale (announcement))
      continue;
    if (announcement->kind == ANNOUNCE_GC)
      (*other_gc)++;
    else
      g_hash_table_add (live, g_strdup (announcement->object));
  }
  return g_steal_pointer (&live);
}

/* *now_us: when @own was put, by the store's clock. */
static gboolean
clean_announcements (Store *store, const char *own, gint64 *now_us, GError **error)
{
  g_autoptr (GPtrArray) all = announcements_list (store, own, error);

  *now_us = 0;
  for (guint i = 0; all != NULL && i < all->len; i++) {
    const Announcement *announcement = all->pdata[i];
    if (g_strcmp0 (announcement->object, own) == 0)
      *now_us = announcement->put_us;
    else if (announcement_is_stale (announcement) &&
             !store_remove (store, announcement->object, error))
      return FALSE;
  }
  return all != NULL;
}

typedef struct {
  gint64 now_us;
  GPtrArray *names; /* of char* */
} Stale;

static gboolean
collect_stale (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  Stale *stale = user_data;
  g_autofree char *file = g_path_get_basename (name);
  g_auto (Owner) owner = { 0 };

  /* "OWNER.SERIAL.RANDOM" */
  for (int i = 0; i < 2; i++) {
    char *dot = strrchr (file, '.');
    if (dot == NULL)
      return TRUE;
    *dot = 0;
  }
  if (owner_from_file_name (&owner, file, mtime_us) &&
      owner_is_stale (&owner, stale->now_us - mtime_us))
    g_ptr_array_add (stale->names, g_strdup (name));
  return TRUE;
}

static gboolean
clean_temporary_files (Store *store, gint64 now_us, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  Stale stale = { now_us, names };

  if (!store_list (store, "tmp/", collect_stale, &stale, error))
    return FALSE;
  for (guint i = 0; i < names->len; i++)
    if (!store_remove (store, names->pdata[i], error))
      return FALSE;
  return TRUE;
}

gboolean
gc_clean (Store *store, const char *own, GError **error)
{
  gint64 now_us;

  return clean_announcements (store, own, &now_us, error) &&
         clean_temporary_files (store, now_us, error) && condemned_remove_stray (store, error);
}
