/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Blocks of objects that are read here and there, kept in bounded memory: 8 places per set, of
 * which the one that was not used for longest is given up. Any thread.
 */
#pragma once

#include <vmckpt/store/backend.h>

#define CACHE_BLOCK_BYTES 4096

typedef struct _BlockCache BlockCache;

/* @bytes: how much content is kept, a multiple of 8 blocks. Memory is taken as it is filled. */
BlockCache *block_cache_new (gsize bytes);
void block_cache_free (BlockCache *cache);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockCache, block_cache_free)

/* A number for an object whose blocks are to be kept; never given twice, never 0. */
guint64 block_cache_number (BlockCache *cache);

/**
 * block_cache_read:
 * @number: the object's
 * @size: the object's size
 * @ahead: blocks to read at least when one is missing
 * @to: (out caller-allocates): @len bytes
 *
 * Reads @len bytes at @offset, which must be within the object.
 *
 * Returns: FALSE with the backend's error.
 */
gboolean block_cache_read (BlockCache *cache, Backend *backend, const char *object, guint64 number,
                           guint64 size, guint ahead, guint64 offset, void *to, gsize len,
                           GError **error);

typedef struct {
  guint64 lookups, reads, read_bytes; /* blocks asked for; what the backend was asked for */
  guint64 kept_bytes, max_bytes;      /* content kept now; what it may be */
} BlockCacheStats;

void block_cache_stats (BlockCache *cache, BlockCacheStats *stats);
