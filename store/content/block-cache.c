/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block-cache.h"

#include <string.h>

#define WAYS 8

/* Which block is in a place. */
typedef struct {
  guint64 number; /* 0: none */
  guint64 block;
  guint64 used; /* when: the cache's clock */
} Place;

struct _BlockCache {
  GMutex lock;
  gsize sets;
  Place *places;   /* (lock) sets × WAYS */
  guint8 **blocks; /* (lock) per set: its blocks, NULL until the first is kept */
  guint64 clock;   /* (lock) */
  guint64 next;    /* (lock) number */
  BlockCacheStats stats;
};

BlockCache *
block_cache_new (gsize bytes)
{
  BlockCache *cache = g_new0 (BlockCache, 1);

  cache->sets = MAX (bytes / CACHE_BLOCK_BYTES / WAYS, 1);
  cache->places = g_new0 (Place, cache->sets * WAYS);
  cache->blocks = g_new0 (guint8 *, cache->sets);
  cache->stats.max_bytes = cache->sets * WAYS * CACHE_BLOCK_BYTES;
  g_mutex_init (&cache->lock);
  return cache;
}

void
block_cache_free (BlockCache *cache)
{
  if (cache == NULL)
    return;
  for (gsize i = 0; i < cache->sets; i++)
    g_free (cache->blocks[i]);
  g_free (cache->places);
  g_free (cache->blocks);
  g_mutex_clear (&cache->lock);
  g_free (cache);
}

guint64
block_cache_number (BlockCache *cache)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);
  return ++cache->next;
}

static gsize
first_place (const BlockCache *cache, guint64 number, guint64 block)
{
  guint64 hash = (number << 40 ^ block) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  return (hash >> 20) % cache->sets * WAYS;
}

static guint8 *
place_content (BlockCache *cache, gsize place)
{
  return cache->blocks[place / WAYS] + place % WAYS * CACHE_BLOCK_BYTES;
}

/* Copies a part of a block that is kept; FALSE if it is not. */
static gboolean
copy_kept (BlockCache *cache, guint64 number, guint64 block, gsize from, void *to, gsize len)
{
  gsize first = first_place (cache, number, block);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);

  cache->stats.lookups++;
  for (gsize i = first; i < first + WAYS; i++) {
    if (cache->places[i].number != number || cache->places[i].block != block)
      continue;
    cache->places[i].used = ++cache->clock;
    memcpy (to, place_content (cache, i) + from, len);
    return TRUE;
  }
  return FALSE;
}

static void
keep (BlockCache *cache, guint64 number, guint64 block, const guint8 *data, gsize len)
{
  gsize first = first_place (cache, number, block), oldest = first;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);

  for (gsize i = first; i < first + WAYS; i++) {
    if (cache->places[i].number == number && cache->places[i].block == block)
      return; /* another thread was faster */
    if (cache->places[i].used < cache->places[oldest].used)
      oldest = i;
  }
  if (cache->places[oldest].number == 0)
    cache->stats.kept_bytes += CACHE_BLOCK_BYTES;
  cache->places[oldest] = (Place){ number, block, ++cache->clock };
  if (cache->blocks[first / WAYS] == NULL)
    cache->blocks[first / WAYS] = g_malloc (WAYS * CACHE_BLOCK_BYTES);
  memcpy (place_content (cache, oldest), data, len);
}

/* Reads from @block to @last, and keeps it. */
static GBytes *
fetch (BlockCache *cache, Backend *backend, const char *object, guint64 number, guint64 size,
       guint64 block, guint64 last, GError **error)
{
  guint64 offset = block * CACHE_BLOCK_BYTES;
  gsize len = MIN ((last + 1) * CACHE_BLOCK_BYTES, size) - offset;
  GBytes *bytes = backend->ops->get (backend, object, offset, len, error);

  if (bytes == NULL)
    return NULL;
  const guint8 *data = g_bytes_get_data (bytes, NULL);
  for (gsize at = 0; at < len; at += CACHE_BLOCK_BYTES)
    keep (cache, number, block++, data + at, MIN (len - at, CACHE_BLOCK_BYTES));
  g_mutex_lock (&cache->lock);
  cache->stats.reads++;
  cache->stats.read_bytes += len;
  g_mutex_unlock (&cache->lock);
  return bytes;
}

gboolean
block_cache_read (BlockCache *cache, Backend *backend, const char *object, guint64 number,
                  guint64 size, guint ahead, guint64 offset, void *to, gsize len, GError **error)
{
  guint64 last = (offset + MAX (len, 1) - 1) / CACHE_BLOCK_BYTES;
  guint8 *out = to;

  while (len > 0) {
    guint64 block = offset / CACHE_BLOCK_BYTES;
    gsize from = offset % CACHE_BLOCK_BYTES, some = MIN (len, CACHE_BLOCK_BYTES - from);
    if (!copy_kept (cache, number, block, from, out, some)) {
      /* All that is left in one go; of a small object what lies around it too. */
      guint64 start = block - block % MAX (ahead, 1);
      guint64 end = MIN (MAX (last, start + MAX (ahead, 1) - 1), (size - 1) / CACHE_BLOCK_BYTES);
      g_autoptr (GBytes) bytes = fetch (cache, backend, object, number, size, start, end, error);
      if (bytes == NULL)
        return FALSE;
      memcpy (out,
              (const guint8 *)g_bytes_get_data (bytes, NULL) + (offset - start * CACHE_BLOCK_BYTES),
              len);
      return TRUE;
    }
    out += some;
    offset += some;
    len -= some;
  }
  return TRUE;
}

void
block_cache_stats (BlockCache *cache, BlockCacheStats *stats)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);
  *stats = cache->stats;
}
