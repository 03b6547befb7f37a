/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of a sealed object (docs/store-format.md, "Sealed objects"): a header with a random
 * salt, then blocks of 4096 bytes of content, each encrypted and authenticated with a key that only
 * this object has. The last block is marked, and stands for the object's name and length too.
 */
#pragma once

#include <gio/gio.h>

#define SEAL_KEY_BYTES 32
#define SEAL_HEADER_BYTES 48
#define SEAL_BLOCK_BYTES 4096
#define SEAL_TAG_BYTES 16
#define SEAL_STORED_BLOCK_BYTES (SEAL_BLOCK_BYTES + SEAL_TAG_BYTES)

/* What all objects of a store are sealed with. Kept in guarded memory by whoever has it. */
typedef struct {
  guint8 bytes[SEAL_KEY_BYTES];
} SealKey;

typedef struct {
  guint8 bytes[SEAL_HEADER_BYTES];
} SealHeader;

/* Bytes of content and of the object that holds it; seal_content_size() is FALSE for a size that no
 * sealed object has. */
guint64 seal_stored_size (guint64 content);
gboolean seal_content_size (guint64 stored, guint64 *content);

/* A new object's header, with a random salt. */
void seal_header_new (SealHeader *header);

/* FALSE with STORE_ERROR_DAMAGED or _VERSION if these bytes begin no sealed object. */
gboolean seal_header_check (const SealHeader *header, GError **error);

/* One object's key, worked out from the store's and the header. Wipe it after use. */
typedef struct {
  guint8 bytes[SEAL_KEY_BYTES];
} ObjectKey;

void object_key_derive (const SealKey *key, const SealHeader *header, ObjectKey *object_key);
void object_key_clear (ObjectKey *object_key);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ObjectKey, object_key_clear)

/* What the last block stands for, besides its content. */
typedef struct {
  const char *name;
  guint64 size; /* of the content */
} SealEnd;

/**
 * seal_block:
 * @number: of the block in the object, from 0
 * @end: (nullable): not NULL for the last block
 * @out: (out caller-allocates): @len + SEAL_TAG_BYTES bytes
 *
 * Seals @len bytes: SEAL_BLOCK_BYTES, or less in the last block.
 */
void seal_block (const ObjectKey *key, guint64 number, const guint8 *content, gsize len,
                 const SealEnd *end, guint8 *out);

/* Opens a block of @len stored bytes, tag included; FALSE if it is not what was sealed. */
gboolean seal_block_open (const ObjectKey *key, guint64 number, const guint8 *stored, gsize len,
                          const SealEnd *end, guint8 *out);
