/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys/UUID: the store's master key, wrapped with a key that a password or a key file gives
 * (docs/store-format.md, "keys/UUID").
 */
#pragma once

#include <vmckpt/util/key-material.h>

#include "master-key.h"

#define KEY_PREFIX "keys/"
/* A key object is far smaller; more is not read. */
#define KEY_OBJECT_MAX_BYTES 16384
/* What opening a store may cost at most, whoever wrote the key object. */
#define KDF_MAX_OPS 10
#define KDF_MAX_MEMORY (G_GUINT64_CONSTANT (1) << 30)
#define KEY_LABEL_MAX 64

/* The work that a password costs whoever tries one (argon2id). */
typedef struct {
  guint64 ops;
  guint64 memory; /* bytes */
} KdfCost;

/* A quarter of a second of one core, 128 MiB. */
extern const KdfCost kdf_cost_default;

typedef struct {
  char *store_id;
  KeyKind kind;
  char *label; /* (nullable) */
  gint64 created_us;
  KdfCost cost; /* of a password */
  guint8 salt[16];
  guint8 nonce[24];
  guint8 wrapped[MASTER_KEY_BYTES + 16];
} KeyObject;

void key_object_free (KeyObject *object);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (KeyObject, key_object_free)

/**
 * key_object_write:
 * @name: what the object will be called, with KEY_PREFIX
 * @cost: for a password
 *
 * Wraps @master so that @material opens it.
 *
 * Returns: (transfer full): the object's bytes; NULL with @error (no memory for argon2id).
 */
GBytes *key_object_write (const char *name, const char *store_id, const MasterKey *master,
                          const KeyMaterial *material, const char *label, const KdfCost *cost,
                          GError **error);

/* Reads an object's bytes, all bounds checked; STORE_ERROR_DAMAGED, _VERSION. */
KeyObject *key_object_read (GBytes *bytes, GError **error);

/**
 * key_object_open:
 *
 * Tries @material. For a password that takes what the object's cost says.
 *
 * Returns: (transfer full) (nullable): the master key; NULL without @error if @material is not this
 * object's key, with @error if there is no memory to find out.
 */
MasterKey *key_object_open (const KeyObject *object, const KeyMaterial *material, GError **error);
