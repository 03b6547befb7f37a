/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys while a store is made or opened. */
#pragma once

#include <vmckpt/store/key.h>

#include "master-key.h"

/* FALSE with STORE_ERROR_KEY_NEEDED or _WRONG if whether a key was given does not fit the store. */
gboolean key_expected (gboolean encrypted, const KeyMaterial *material, GError **error);

/**
 * key_unlock:
 * @backend: where the key objects are; not sealed
 * @key_id: (out): the key that @material opened
 *
 * Tries @material on all keys of its kind.
 *
 * Returns: (transfer full): the master key; NULL with STORE_ERROR_KEY_WRONG, _DAMAGED, ….
 */
MasterKey *key_unlock (Backend *backend, const char *store_id, const KeyMaterial *material,
                       char **key_id, GError **error);

/* Puts a key object and syncs; returns the new key's id. */
char *key_put (Backend *backend, const char *store_id, const MasterKey *master,
               const KeyMaterial *material, const char *label, GError **error);

/* Adds the names of key objects that open nothing to @damaged. */
gboolean keys_check (Store *store, GPtrArray *damaged, GError **error);

/* Removes a key object that nobody relies on yet. */
void key_drop (Backend *backend, const char *key_id);
