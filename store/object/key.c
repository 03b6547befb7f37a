/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keys come and go while others use the store, without a lock. One is added by putting its object.
 * Removing one must not leave a store that nothing opens, also if two do it at once: who removes a
 * key first marks it as going, durably, and then lists all keys. Only if another is there that is
 * not going, the key goes. Of two who do this at once, each sees the other's mark, or one does;
 * at worst both give up. A mark that was left behind by a kill does no harm: the key still opens
 * the store, and removing it again finishes what was begun.
 */
#include <vmckpt/store/key.h>

#include "key-private.h"
#include "key-ring.h"
#include "store-private.h"
#include "text-object.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <string.h>

#define MARK_MAGIC "vmckpt-key-going"
#define PREFIX_MIN_CHARS 4

static const HashKey no_key;

void
store_key_free (StoreKey *key)
{
  g_free (key->id);
  g_free (key->label);
  g_free (key);
}

char *
store_key_find (Store *store, const KeyMaterial *material, GError **error)
{
  g_autofree char *key_id = NULL;

  if (!key_expected (store_is_encrypted (store), material, error))
    return NULL;
  if (!store_is_encrypted (store))
    return g_strdup ("");
  g_autoptr (MasterKey) master = key_unlock (store->backend, store->id, material, &key_id, error);
  if (master == NULL || secret_equal (master, store->master))
    return master != NULL ? g_steal_pointer (&key_id) : NULL;
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, KEY_PREFIX "%s holds another store's key",
               key_id);
  return NULL;
}

gboolean
store_key_exists (Store *store, const char *key_id, GError **error)
{
  g_autofree char *name = key_object_name (key_id);
  guint64 size;

  return store->backend->ops->stat (store->backend, name, &size, error);
}

/* ---- Looking ---- */

static gboolean
require_encrypted (Store *store, GError **error)
{
  if (store_is_encrypted (store))
    return TRUE;
  g_set_error_literal (
      error, STORE_ERROR, STORE_ERROR_NOT_FOUND,
      "the store is not encrypted, so it has no keys; 'vmckpt store init --encrypt' "
      "makes one that is");
  return FALSE;
}

static int
compare_keys (gconstpointer a, gconstpointer b)
{
  const StoreKey *one = *(StoreKey **)a, *other = *(StoreKey **)b;

  if (one->damaged != other->damaged)
    return one->damaged ? 1 : -1;
  if (one->created_us != other->created_us)
    return one->created_us < other->created_us ? -1 : 1;
  return strcmp (one->id, other->id);
}

/* NULL without @error if it is gone, or another store's. */
static StoreKey *
describe (Store *store, const char *key_id, GError **error)
{
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) cause = NULL;
  g_autofree char *name = key_object_name (key_id);
  g_autoptr (KeyObject) object = key_load (store->backend, key_id, &bytes, &cause);

  if (cause != NULL && !key_is_damage (cause)) {
    if (!g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
      g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (object != NULL && !g_str_equal (object->store_id, store->id))
    return NULL;
  StoreKey *key = g_new0 (StoreKey, 1);
  key->id = g_strdup (key_id);
  key->damaged = object == NULL || !master_key_check_text (store->master, name, bytes, NULL);
  if (object != NULL) {
    key->kind = object->kind;
    key->label = g_strdup (object->label);
    key->created_us = object->created_us;
  }
  return key;
}

GPtrArray *
store_key_list (Store *store, GError **error)
{
  ERROR_PREFIX (error, "listing the keys of %s", store_location (store));
  g_auto (KeyNames) names = { 0 };
  g_autoptr (GPtrArray) keys = g_ptr_array_new_with_free_func ((GDestroyNotify)store_key_free);
  g_autoptr (GError) cause = NULL;

  if (!require_encrypted (store, error) || !key_names_list (store->backend, &names, error))
    return NULL;
  /* The same ones that are tried when the store is opened. */
  for (guint i = 0; i < MIN (names.ids->len, KEYS_MAX) && cause == NULL; i++) {
    StoreKey *key = describe (store, names.ids->pdata[i], &cause);
    if (key != NULL)
      g_ptr_array_add (keys, key);
  }
  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  g_ptr_array_sort (keys, compare_keys);
  return g_steal_pointer (&keys);
}

gboolean
keys_check (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (GPtrArray) keys = store_is_encrypted (store) ? store_key_list (store, error) : NULL;

  for (guint i = 0; keys != NULL && i < keys->len; i++) {
    const StoreKey *key = keys->pdata[i];
    if (key->damaged)
      g_ptr_array_add (damaged, key_object_name (key->id));
  }
  return keys != NULL || !store_is_encrypted (store);
}

/* ---- Changing ---- */

/* The mark that a key is going. */
static char *
mark_of (const char *key_id)
{
  return g_strconcat (KEY_PREFIX, key_id, KEY_MARK_SUFFIX, NULL);
}

char *
store_key_add (Store *store, const KeyMaterial *material, const char *label, GError **error)
{
  ERROR_PREFIX (error, "adding a key to %s", store_location (store));
  g_auto (KeyNames) names = { 0 };

  if (!require_encrypted (store, error) || !key_names_list (store->backend, &names, error))
    return NULL;
  if (names.ids->len < KEYS_MAX)
    return key_put (store->backend, store->id, store->master, material, label, error);
  g_set_error (error, STORE_ERROR, STORE_ERROR_IN_USE,
               "there are %u keys already, as many as there can be: remove one", names.ids->len);
  return NULL;
}

/* The key whose id begins with @prefix; borrowed from @keys. */
static const StoreKey *
find_key (GPtrArray *keys, const char *prefix, GError **error)
{
  const StoreKey *found = NULL;

  for (guint i = 0; strlen (prefix) >= PREFIX_MIN_CHARS && i < keys->len; i++) {
    const StoreKey *key = keys->pdata[i];
    if (!g_str_has_prefix (key->id, prefix))
      continue;
    if (found != NULL) {
      g_set_error (error, STORE_ERROR, STORE_ERROR_AMBIGUOUS,
                   "'%.40s' is the beginning of several keys' ids", prefix);
      return NULL;
    }
    found = key;
  }
  if (found == NULL)
    g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND,
                 "there is no key '%.40s' (ids, or 4 characters or more that begin one)", prefix);
  return found;
}

/* TRUE if a key other than @key_id opens the store and is not going. */
static gboolean
another_stays (Store *store, const char *key_id, gboolean *stays, GError **error)
{
  g_autoptr (GPtrArray) keys = store_key_list (store, error);
  g_auto (KeyNames) names = { 0 };

  *stays = FALSE;
  if (keys == NULL || !key_names_list (store->backend, &names, error))
    return FALSE;
  for (guint i = 0; i < keys->len; i++) {
    const StoreKey *key = keys->pdata[i];
    if (!key->damaged && !g_str_equal (key->id, key_id) &&
        !g_hash_table_contains (names.going, key->id))
      *stays = TRUE;
  }
  return TRUE;
}

/* The key is marked: removes it if another stays. */
static gboolean
remove_marked (Store *store, const char *key_id, GError **error)
{
  g_autofree char *name = key_object_name (key_id);
  gboolean stays;

  if (!another_stays (store, key_id, &stays, error))
    return FALSE;
  if (stays)
    return store_remove (store, name, error) && store_sync (store, error);
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_IN_USE,
                       "it is the last one that opens the store (or others are being removed just "
                       "now): add another first");
  return FALSE;
}

static gboolean
remove_key (Store *store, const char *key_id, GError **error)
{
  Backend *backend = store->backend;
  g_autofree char *mark = mark_of (key_id);
  g_autoptr (JsonObject) nothing = json_object_new();
  g_autoptr (GBytes) bytes = text_object_write (MARK_MAGIC, nothing, &no_key);

  if (!key_put_durably (backend, mark, bytes, error))
    return FALSE;
  gboolean removed = fault_visit (FAULT_KEY_MARKED, error) && remove_marked (store, key_id, error);
  /* The key itself is gone, or stays; a mark that is left is finished by the next attempt. */
  backend->ops->remove (backend, mark, NULL);
  backend->ops->sync (backend, NULL);
  return removed;
}

char *
store_key_remove (Store *store, const char *key, GError **error)
{
  ERROR_PREFIX (error, "removing the key %.40s of %s", key, store_location (store));
  g_autoptr (GPtrArray) keys = store_key_list (store, error);
  const StoreKey *found = keys != NULL ? find_key (keys, key, error) : NULL;

  return found != NULL && remove_key (store, found->id, error) ? g_strdup (found->id) : NULL;
}

char *
store_key_change (Store *store, const char *key_id, const KeyMaterial *material, GError **error)
{
  ERROR_PREFIX (error, "changing the key %.40s of %s", key_id, store_location (store));
  g_autoptr (GPtrArray) keys = store_key_list (store, error);
  const StoreKey *former = keys != NULL ? find_key (keys, key_id, error) : NULL;
  g_autofree char *fresh = former != NULL ? key_put (store->backend, store->id, store->master,
                                                     material, former->label, error)
                                          : NULL;

  if (fresh == NULL)
    return NULL;
  if (fault_visit (FAULT_KEY_ADDED, error) && remove_key (store, former->id, error))
    return g_steal_pointer (&fresh);
  g_prefix_error (error, "the new key opens the store, but the old one still does too: ");
  return NULL;
}
