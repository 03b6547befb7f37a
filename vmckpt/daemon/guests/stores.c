/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stores.h"

#include <vmckpt/util/error.h>

#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_OPEN 32
#define MAX_ACCEPTED 64
#define FINGERPRINT_BYTES 32

/* A key that was found right: what it hashes to in this process, and which one it is. */
typedef struct {
  guint8 fingerprint[FINGERPRINT_BYTES];
  char *key_id;
} AcceptedKey;

/* The place of a store's format object when it was opened: another one is another store. A file
 * system may give a new object the number of the one that was removed, so the time counts too. */
typedef struct {
  Store *store;
  dev_t device;
  ino_t inode;
  struct timespec written;
  GPtrArray *accepted; /* of AcceptedKey */
  gint64 used_us;      /* monotonic time of the last request */
  gboolean claimed;    /* when stores_close_idle() was last told, a guest had a claim there */
} OpenStore;

struct _Stores {
  GMutex lock;
  GHashTable *by_path; /* (lock) path → OpenStore */
  GHashTable *sealed;  /* (lock) path → id of the encrypted store that was last open there */
  Secret *hash_key;    /* of fingerprints; random, so that they say nothing outside */
};

static void
accepted_key_free (AcceptedKey *key)
{
  g_free (key->key_id);
  g_free (key);
}

static void
open_store_free (OpenStore *open)
{
  store_unref (open->store);
  g_ptr_array_unref (open->accepted);
  g_free (open);
}

Stores *
stores_new (void)
{
  Stores *stores = g_new0 (Stores, 1);

  g_mutex_init (&stores->lock);
  stores->by_path =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)open_store_free);
  stores->sealed = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  stores->hash_key = secret_new (FINGERPRINT_BYTES);
  randombytes_buf (stores->hash_key->bytes, stores->hash_key->len);
  return stores;
}

void
stores_free (Stores *stores)
{
  if (stores == NULL)
    return;
  g_hash_table_unref (stores->by_path);
  g_hash_table_unref (stores->sealed);
  secret_free (stores->hash_key);
  g_mutex_clear (&stores->lock);
  g_free (stores);
}

/* ---- Keys that were found right ---- */

static void
fingerprint_of (Stores *stores, const KeyMaterial *key, guint8 *fingerprint)
{
  crypto_generichash_state state;
  guint8 kind = (guint8)key->kind;

  crypto_generichash_init (&state, stores->hash_key->bytes, stores->hash_key->len,
                           FINGERPRINT_BYTES);
  crypto_generichash_update (&state, &kind, 1);
  crypto_generichash_update (&state, key->secret->bytes, key->secret->len);
  crypto_generichash_final (&state, fingerprint, FINGERPRINT_BYTES);
  sodium_memzero (&state, sizeof state);
}

/* The entry of @path if it is still @store's. With the lock held. */
static OpenStore *
entry_of (Stores *stores, const char *path, Store *store)
{
  OpenStore *open = g_hash_table_lookup (stores->by_path, path);
  return open != NULL && open->store == store ? open : NULL;
}

/* Which key of @store this is, if it was found right before; NULL otherwise. */
static char *
recall_key (Stores *stores, const char *path, Store *store, const KeyMaterial *key)
{
  guint8 fingerprint[FINGERPRINT_BYTES];

  fingerprint_of (stores, key, fingerprint);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  const OpenStore *open = entry_of (stores, path, store);
  for (guint i = 0; open != NULL && i < open->accepted->len; i++) {
    const AcceptedKey *accepted = open->accepted->pdata[i];
    if (sodium_memcmp (accepted->fingerprint, fingerprint, FINGERPRINT_BYTES) == 0)
      return g_strdup (accepted->key_id);
  }
  return NULL;
}

static void
remember_key (Stores *stores, const char *path, Store *store, const KeyMaterial *key,
              const char *key_id)
{
  AcceptedKey *accepted = g_new0 (AcceptedKey, 1);

  fingerprint_of (stores, key, accepted->fingerprint);
  accepted->key_id = g_strdup (key_id);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  OpenStore *open = entry_of (stores, path, store);
  if (open == NULL) {
    accepted_key_free (accepted);
    return;
  }
  if (open->accepted->len >= MAX_ACCEPTED)
    g_ptr_array_set_size (open->accepted, 0);
  g_ptr_array_add (open->accepted, accepted);
}

static void
forget_key (Stores *stores, const char *path, Store *store, const char *key_id)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  OpenStore *open = entry_of (stores, path, store);

  for (guint i = open != NULL ? open->accepted->len : 0; i-- > 0;)
    if (g_str_equal (((AcceptedKey *)open->accepted->pdata[i])->key_id, key_id))
      g_ptr_array_remove_index_fast (open->accepted, i);
}

/* Whether @key opens @store, which is open already; its id, or NULL with @error. */
static char *
admit (Stores *stores, const char *path, Store *store, const KeyMaterial *key, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!store_is_encrypted (store) || key == NULL)
    return store_key_find (store, key, error);
  g_autofree char *known = recall_key (stores, path, store, key);
  if (known != NULL && store_key_exists (store, known, &cause))
    return g_steal_pointer (&known);
  if (known != NULL && !g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (known != NULL)
    forget_key (stores, path, store, known);
  char *found = store_key_find (store, key, error);
  if (found != NULL)
    remember_key (stores, path, store, key, found);
  return found;
}

/* ---- Open stores ---- */

static gboolean
is_same_place (const OpenStore *open, const struct stat *now)
{
  return open->device == now->st_dev && open->inode == now->st_ino &&
         open->written.tv_sec == now->st_mtim.tv_sec &&
         open->written.tv_nsec == now->st_mtim.tv_nsec;
}

/* The open store, if it is still the one that lies at @path. */
static Store *
lookup (Stores *stores, const char *path, const struct stat *now)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  OpenStore *open = g_hash_table_lookup (stores->by_path, path);

  if (open == NULL)
    return NULL;
  if (is_same_place (open, now)) {
    open->used_us = g_get_monotonic_time();
    return store_ref (open->store);
  }
  g_hash_table_remove (stores->by_path, path);
  return NULL;
}

/* What is not there, or is there and no store, is answered with what to do about it. */
static Store *
open_store (const char *path, const KeyMaterial *key, char **key_id, GError **error)
{
  g_autoptr (GError) cause = NULL;
  Backend *backend = backend_directory_open (path, FALSE, &cause);
  Store *store = backend != NULL ? store_open_with_key (backend, key, key_id, &cause) : NULL;

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

/* What it costs to close a store: one that is encrypted needs its key again, and until somebody
 * gives it, the claims of guests there cannot be given up. */
static int
closing_cost (const OpenStore *open)
{
  return store_is_encrypted (open->store) ? 1 + open->claimed : 0;
}

/* Makes room for another: of the stores that cost least to close, the one that was not asked for
 * the longest goes. Whoever uses it has a reference. With the lock held. */
static void
drop_oldest (Stores *stores)
{
  const OpenStore *oldest = NULL;
  const char *oldest_path = NULL;
  GHashTableIter iter;
  gpointer path, value;

  g_hash_table_iter_init (&iter, stores->by_path);
  while (g_hash_table_iter_next (&iter, &path, &value)) {
    const OpenStore *open = value;
    int more = oldest != NULL ? closing_cost (open) - closing_cost (oldest) : -1;
    if (more < 0 || (more == 0 && open->used_us < oldest->used_us)) {
      oldest = open;
      oldest_path = path;
    }
  }
  if (oldest_path != NULL)
    g_hash_table_remove (stores->by_path, oldest_path);
}

static void
keep_open (Stores *stores, const char *path, Store *store, const struct stat *place)
{
  OpenStore *open = g_new0 (OpenStore, 1);

  *open =
      (OpenStore){ .store = store_ref (store),
                   .device = place->st_dev,
                   .inode = place->st_ino,
                   .written = place->st_mtim,
                   .accepted = g_ptr_array_new_with_free_func ((GDestroyNotify)accepted_key_free),
                   .used_us = g_get_monotonic_time() };
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  if (!g_hash_table_contains (stores->by_path, path) &&
      g_hash_table_size (stores->by_path) >= MAX_OPEN)
    drop_oldest (stores);
  if (store_is_encrypted (store))
    g_hash_table_replace (stores->sealed, g_strdup (path), g_strdup (store_id (store)));
  g_hash_table_replace (stores->by_path, g_strdup (path), open);
}

Store *
stores_get (Stores *stores, const char *named, const KeyMaterial *key, char **key_id,
            GError **error)
{
  g_autofree char *path = g_canonicalize_filename (named, NULL);
  ERROR_PREFIX (error, "store %s", path);
  g_autofree char *format = g_build_filename (path, "format", NULL);
  g_autofree char *id = NULL;
  struct stat now = { 0 };
  g_autoptr (Store) store = NULL;

  if (stat (format, &now) == 0)
    store = lookup (stores, path, &now);
  if (store != NULL) {
    id = admit (stores, path, store, key, error);
    if (id == NULL)
      return NULL;
  } else {
    /* Opened without the lock: a store that hangs must not hold up the others. */
    store = open_store (path, key, &id, error);
    if (store == NULL)
      return NULL;
    keep_open (stores, path, store, &now);
    if (id != NULL)
      remember_key (stores, path, store, key, id);
  }
  if (key_id != NULL)
    *key_id = store_is_encrypted (store) ? g_steal_pointer (&id) : NULL;
  return g_steal_pointer (&store);
}

/* FALSE if @store is not the encrypted one that was open at @path before. */
static gboolean
check_not_exchanged (Stores *stores, const char *path, Store *store, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  const char *former = g_hash_table_lookup (stores->sealed, path);

  if (former == NULL || g_str_equal (former, store_id (store)))
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG,
               "store %s: the encrypted store %s was there before, and now another is: nothing of "
               "the former is written to it",
               path, former);
  return FALSE;
}

Store *
stores_get_own (Stores *stores, const char *named, GError **error)
{
  g_autofree char *path = g_canonicalize_filename (named, NULL);
  g_autofree char *format = g_build_filename (path, "format", NULL);
  struct stat now;
  g_autoptr (Store) store = stat (format, &now) == 0 ? lookup (stores, path, &now) : NULL;

  if (store == NULL)
    store = stores_get (stores, path, NULL, NULL, error);
  if (store == NULL || !check_not_exchanged (stores, path, store, error))
    return NULL;
  return g_steal_pointer (&store);
}

void
stores_close_idle (Stores *stores, gint64 idle_us, GHashTable *in_use)
{
  gint64 now = g_get_monotonic_time();
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stores->lock);
  GHashTableIter iter;
  gpointer path, value;

  g_hash_table_iter_init (&iter, stores->by_path);
  while (g_hash_table_iter_next (&iter, &path, &value)) {
    OpenStore *open = value;
    open->claimed = g_hash_table_contains (in_use, path);
    if (store_is_encrypted (open->store) && now - open->used_us >= idle_us && !open->claimed)
      g_hash_table_iter_remove (&iter);
  }
}

gboolean
stores_same_place (Store *one, Store *other)
{
  struct stat place, other_place;

  return one == other || (stat (store_location (one), &place) == 0 &&
                          stat (store_location (other), &other_place) == 0 &&
                          place.st_dev == other_place.st_dev && place.st_ino == other_place.st_ino);
}
