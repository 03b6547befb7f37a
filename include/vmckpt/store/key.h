/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Encrypted stores and their keys (docs/store-format.md, "Keys"). One random master key seals all
 * objects and names all content; each password or key file unwraps it. Any thread.
 */
#pragma once

#include <vmckpt/store/store.h>
#include <vmckpt/util/key-material.h>

/* What is known of a key without having it. */
typedef struct {
  char *id; /* a uuid */
  KeyKind kind;
  char *label; /* (nullable): what it was called when it was added */
  gint64 created_us;
  gboolean damaged; /* it cannot be understood, or was changed: it opens nothing */
} StoreKey;

/* Frees @key. */
void store_key_free (StoreKey *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreKey, store_key_free)

/**
 * store_init_encrypted:
 * @material: what will open the store
 * @label: (nullable): what the first key is called, at most 64 bytes
 *
 * Makes a new, empty, encrypted store at @backend, as store_init(). The key is durable before the
 * store exists.
 */
gboolean store_init_encrypted (Backend *backend, const KeyMaterial *material, const char *label,
                               GError **error);

/**
 * store_open_with_key:
 * @backend: (transfer full): also on failure
 * @material: (nullable): what to open it with
 * @key_id: (out) (optional): the key that opened it; NULL for a store that is not encrypted
 *
 * Opens a store. A password takes about a quarter of a second and 128 MiB for each key of that
 * kind.
 *
 * Returns: (transfer full): the store. Errors as store_open(), and STORE_ERROR_KEY_NEEDED if it is
 * encrypted and @material is NULL, STORE_ERROR_KEY_WRONG if no key there is opened by @material, or
 * if the store is not encrypted: who has a key must not write in the clear because somebody put
 * another store in the place of theirs.
 */
Store *store_open_with_key (Backend *backend, const KeyMaterial *material, char **key_id,
                            GError **error);

/* TRUE if all that is put into @store is sealed with a key. Any thread. */
gboolean store_is_encrypted (Store *store);

/**
 * store_key_find:
 * @material: (nullable)
 *
 * Whether @material opens @store, which is open already.
 *
 * Returns: (transfer full): the id of the key that it is, or NULL with @error as
 * store_open_with_key(). For a store without encryption and no @material, an empty text.
 */
char *store_key_find (Store *store, const KeyMaterial *material, GError **error);

/* TRUE if the key is still there, so that whoever had it may go on. */
gboolean store_key_exists (Store *store, const char *key_id, GError **error);

/* All keys, oldest first; damaged ones last; of more than a store can have, those that are tried
 * when it is opened. (transfer full) (element-type StoreKey) */
GPtrArray *store_key_list (Store *store, GError **error);

/**
 * store_key_add:
 * @label: (nullable): at most 64 bytes of UTF-8 without control characters
 *
 * Lets @material open the store too. Durable when it returns.
 *
 * Returns: (transfer full): the new key's id; NULL with @error (STORE_ERROR_IN_USE if there are as
 * many as there can be).
 */
char *store_key_add (Store *store, const KeyMaterial *material, const char *label, GError **error);

/**
 * store_key_remove:
 * @key: its id, or a beginning of 4 characters or more that no other has
 *
 * Takes a key away. The last one cannot be (STORE_ERROR_IN_USE). Who has a copy of the removed
 * object and its password can still open the store: the master key stays what it is.
 *
 * Returns: (transfer full): the id of the key that is gone.
 */
char *store_key_remove (Store *store, const char *key, GError **error);

/**
 * store_key_change:
 * @key_id: the key that is to be replaced
 * @material: by what
 *
 * Adds a key with the old one's label, then removes that. Killed in between, both open the store.
 *
 * Returns: (transfer full): the new key's id.
 */
char *store_key_change (Store *store, const char *key_id, const KeyMaterial *material,
                        GError **error);
