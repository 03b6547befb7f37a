/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stores that requests name, opened once and kept while they are used. A store whose place has
 * changed (unmounted, made anew) is opened again.
 *
 * An encrypted store is handed out only to who shows a key of it, each time: of a key that was
 * found right a keyed hash is remembered, so that the work of a password is done once, and
 * forgotten when the key is removed. Keys of stores that nobody uses leave memory after a while.
 */
#pragma once

#include <vmckpt/store/key.h>

typedef struct _Stores Stores;

Stores *stores_new (void);
void stores_free (Stores *stores);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Stores, stores_free)

/**
 * stores_get:
 * @path: absolute directory
 * @key: (nullable): what the client has to open it with
 * @key_id: (out) (optional): which key that is; NULL if the store is not encrypted
 *
 * Any thread; may block on the file system, and a quarter of a second for a password.
 *
 * Returns: (transfer full): the store; STORE_ERROR_NOT_A_STORE, _UNREACHABLE, _KEY_NEEDED,
 * _KEY_WRONG, ….
 */
Store *stores_get (Stores *stores, const char *path, const KeyMaterial *key, char **key_id,
                   GError **error);

/* The store for what the daemon does on its own account (claims of its guests): as it is open, or
 * opened if that takes no key. One that lies where this daemon had an encrypted one open is refused
 * (STORE_ERROR_KEY_WRONG): what is meant for that is not written in the clear. */
Store *stores_get_own (Stores *stores, const char *path, GError **error);

/* Closes encrypted stores that were not asked for in the last @idle_us microseconds and whose path
 * is not in @in_use (a set of paths). */
void stores_close_idle (Stores *stores, gint64 idle_us, GHashTable *in_use);

/* Whether both lie in the same directory, by whatever names. */
gboolean stores_same_place (Store *one, Store *other);
