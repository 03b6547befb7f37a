/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The key objects of a store on its backend, where no store is open yet: it is made with the first,
 * and opened by one of them. The backend is not sealed.
 */
#pragma once

#include <vmckpt/store/key.h>

#include "key-object.h"
#include "master-key.h"

/* So many keys a store may have, and so many are looked at. */
#define KEYS_MAX 32
/* Of the object that says that a key is about to be removed. */
#define KEY_MARK_SUFFIX ".going"

typedef struct {
  GPtrArray *ids;    /* of keys, sorted */
  GHashTable *going; /* ids that are marked */
} KeyNames;

/* @names: (out): what is there; to be cleared also after a failure. */
gboolean key_names_list (Backend *backend, KeyNames *names, GError **error);

/* Frees what it holds. */
void key_names_clear (KeyNames *names);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (KeyNames, key_names_clear)

/* The name of a key's object; newly allocated. */
char *key_object_name (const char *key_id);

/* A key's object; @bytes: (out) (transfer full) (nullable): its bytes. NULL with @error. */
KeyObject *key_load (Backend *backend, const char *key_id, GBytes **bytes, GError **error);

/* Whether that error says that the object itself is not what it should be. */
gboolean key_is_damage (const GError *error);

/* FALSE with STORE_ERROR_KEY_NEEDED or _WRONG if whether a key was given does not fit the store. */
gboolean key_expected (gboolean encrypted, const KeyMaterial *material, GError **error);

/**
 * key_unlock:
 * @key_id: (out): the key that @material opened
 *
 * Tries @material on all keys of its kind.
 *
 * Returns: (transfer full): the master key; NULL with STORE_ERROR_KEY_WRONG, _DAMAGED, ….
 */
MasterKey *key_unlock (Backend *backend, const char *store_id, const KeyMaterial *material,
                       char **key_id, GError **error);

/* Puts an object and makes it durable; takes it away again if that fails. */
gboolean key_put_durably (Backend *backend, const char *name, GBytes *bytes, GError **error);

/* Puts a key object and syncs; returns the new key's id. */
char *key_put (Backend *backend, const char *store_id, const MasterKey *master,
               const KeyMaterial *material, const char *label, GError **error);

/* Removes a key object that nobody relies on yet. */
void key_drop (Backend *backend, const char *key_id);
