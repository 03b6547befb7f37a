/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one random key of an encrypted store, and what is derived from it. */
#pragma once

#include <json-glib/json-glib.h>
#include <vmckpt/util/secret.h>

#include "chunk.h"
#include "seal.h"

#define MASTER_KEY_BYTES 32
/* The member that text authenticated with the master key ends with. */
#define MAC_MEMBER "mac"
#define MAC_BYTES 32

typedef Secret MasterKey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MasterKey, secret_free)

MasterKey *master_key_new_random (void);

/* The key of names, in guarded memory: a HashKey. */
Secret *master_key_derive_hash_key (const MasterKey *master);
/* The key of objects: a SealKey. */
Secret *master_key_derive_seal_key (const MasterKey *master);

/**
 * master_key_write_text:
 * @name: the object's name, which is authenticated too
 * @object: its JSON; gets the member "mac", as its last
 *
 * Returns: (transfer full): a text object, as text_object_write() with the key that everybody
 * knows, whose content nobody can change who does not have @master.
 */
GBytes *master_key_write_text (const MasterKey *master, const char *name, const char *magic,
                               JsonObject *object);

/* FALSE with STORE_ERROR_DAMAGED if a text object was not written with @master under this name. */
gboolean master_key_check_text (const MasterKey *master, const char *name, GBytes *bytes,
                                GError **error);
