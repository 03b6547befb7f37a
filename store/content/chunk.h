/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chunks: pieces of content (a guest's page, a node of a page map) named by their keyed hash. */
#pragma once

#include <vmckpt/store/page-map.h>

/* No chunk is longer. Pages have PAGE_SIZE_BYTES; nodes of page maps have any other length. */
#define CHUNK_MAX_BYTES (256 * 1024)

/* The store's hash key: two stores name the same content differently. */
typedef struct {
  guint8 bytes[32];
} HashKey;

/* Names @len bytes: BLAKE2b-256 with the store's key. Thread-safe. */
void chunk_name_of (const HashKey *key, const void *data, gsize len, ChunkName *name);

/* TRUE for the name that stands for content that is all zeros. */
gboolean chunk_name_is_zero (const ChunkName *name);

/* For GHashTable and for sorting; names are uniformly distributed, so any of their bits will do. */
guint chunk_name_hash (gconstpointer name);
gboolean chunk_name_equal (gconstpointer a, gconstpointer b);
int chunk_name_compare (gconstpointer a, gconstpointer b);

/* Lower-case hexadecimal, newly allocated. */
char *chunk_name_to_hex (const ChunkName *name);

/* An object's name from its directory ("packs", "index", "manifests", "tags") and its hash: packs
 * are spread over 256 directories. Newly allocated. */
char *object_name (const char *directory, const ChunkName *hash);

/**
 * object_name_parse:
 * @name: an object's name, as a backend lists it
 * @directory: what it must be in
 * @hash: (out)
 *
 * Returns: FALSE if that is not the name of an object of this kind.
 */
gboolean object_name_parse (const char *name, const char *directory, ChunkName *hash);
