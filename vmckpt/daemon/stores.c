/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stores.h"

#include <vmckpt/util/error.h>

#include <sys/stat.h>

#define MAX_OPEN 32

/* The place of a store's format object when it was opened: another one is another store. */
typedef struct {
  Store *store;
  dev_t device;
  ino_t inode;
} OpenStore;

struct _Stores {
  GMutex lock;
  GHashTable *by_path; /* path → OpenStore */
};

static void
open_store_free (OpenStore *open)
{
  store_unref (open->store);
  g_free (open);
}

Stores *
stores_new (void)
{
  Stores *stores = g_new0 (Stores, 1);
  g_mutex_init (&stores->lock);
  stores->by_path =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)open_store_free);
  return stores;
}

void
stores_free (Stores *stores)
{
  if (stores == NULL)
    return;
  g_hash_table_unref (stores->by_path);
  g_mutex_clear (&stores->lock);
  g_free (stores);
}

/* The open store, if it is still the one that lies at @path. */
static Store *
lookup (Stores *stores, const char *path, const struct stat *now)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&stores->lock);
  OpenStore *open = g_hash_table_lookup (stores->by_path, path);

  if (open == NULL)
    return NULL;
  if (open->device == now->st_dev && open->inode == now->st_ino)
    return store_ref (open->store);
  g_hash_table_remove (stores->by_path, path);
  return NULL;
}

/* What is not there, or is there and no store, is answered with what to do about it. */
static Store *
open_store (const char *path, GError **error)
{
  g_autoptr (GError) cause = NULL;
  Backend *backend = backend_directory_open (path, FALSE, &cause);
  Store *store = backend != NULL ? store_open (backend, &cause) : NULL;

  if (store != NULL)
    return store;
  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
      g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_A_STORE))
    g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_A_STORE,
                 "%s (is it mounted? 'vmckpt store init' makes a new one)", cause->message);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

Store *
stores_get (Stores *stores, const char *named, GError **error)
{
  g_autofree char *path = g_canonicalize_filename (named, NULL);
  ERROR_PREFIX (error, "store %s", path);
  g_autofree char *format = g_build_filename (path, "format", NULL);
  struct stat now = { 0 };
  g_autoptr (Store) store = NULL;

  if (stat (format, &now) == 0)
    store = lookup (stores, path, &now);
  if (store != NULL)
    return g_steal_pointer (&store);
  /* Opened without the lock: a store that hangs must not hold up the others. */
  store = open_store (path, error);
  if (store == NULL)
    return NULL;
  OpenStore *open = g_new0 (OpenStore, 1);
  *open = (OpenStore){ store_ref (store), now.st_dev, now.st_ino };
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&stores->lock);
  if (g_hash_table_size (stores->by_path) >= MAX_OPEN)
    g_hash_table_remove_all (
        stores->by_path); /* those in use live on; the others are opened anew */
  g_hash_table_replace (stores->by_path, g_strdup (path), open);
  return g_steal_pointer (&store);
}
