/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stores that requests name, opened once and kept while they are used. A store whose place has
 * changed (unmounted, made anew) is opened again.
 */
#pragma once

#include <vmckpt/store/store.h>

typedef struct _Stores Stores;

Stores *stores_new (void);
void stores_free (Stores *stores);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Stores, stores_free)

/**
 * stores_get:
 * @path: absolute directory
 *
 * Any thread; may block on the file system.
 *
 * Returns: (transfer full): the store; STORE_ERROR_NOT_A_STORE, _UNREACHABLE, ….
 */
Store *stores_get (Stores *stores, const char *path, GError **error);
