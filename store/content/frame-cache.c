/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame-cache.h"

#include <string.h>

typedef struct {
  ChunkName pack;
  guint32 offset;
  GBytes *frame;
  GList link; /* in `order` */
} Cached;

struct _FrameCache {
  GMutex lock;
  gsize max_bytes, bytes;
  GHashTable *frames; /* set of Cached by pack and offset */
  GQueue order;       /* least recently used first */
};

static guint
cached_hash (gconstpointer data)
{
  const Cached *cached = data;
  return chunk_name_hash (&cached->pack) ^ cached->offset;
}

static gboolean
cached_equal (gconstpointer a, gconstpointer b)
{
  const Cached *one = a, *other = b;
  return one->offset == other->offset && chunk_name_equal (&one->pack, &other->pack);
}

static void
cached_free (gpointer data)
{
  Cached *cached = data;
  g_bytes_unref (cached->frame);
  g_free (cached);
}

FrameCache *
frame_cache_new (gsize max_bytes)
{
  FrameCache *cache = g_new0 (FrameCache, 1);
  g_mutex_init (&cache->lock);
  cache->max_bytes = max_bytes;
  cache->frames = g_hash_table_new_full (cached_hash, cached_equal, cached_free, NULL);
  return cache;
}

void
frame_cache_free (FrameCache *cache)
{
  g_hash_table_unref (cache->frames);
  g_mutex_clear (&cache->lock);
  g_free (cache);
}

GBytes *
frame_cache_get (FrameCache *cache, const ChunkLocation *location)
{
  Cached wanted = { .pack = location->pack, .offset = location->frame.offset };

  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);
  Cached *cached = g_hash_table_lookup (cache->frames, &wanted);
  if (cached == NULL)
    return NULL;
  g_queue_unlink (&cache->order, &cached->link);
  g_queue_push_tail_link (&cache->order, &cached->link);
  return g_bytes_ref (cached->frame);
}

/* With the lock. */
static void
drop (FrameCache *cache, Cached *cached)
{
  g_queue_unlink (&cache->order, &cached->link);
  cache->bytes -= g_bytes_get_size (cached->frame);
  g_hash_table_remove (cache->frames, cached);
}

void
frame_cache_clear (FrameCache *cache)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);

  while (cache->order.length > 0)
    drop (cache, cache->order.head->data);
}

void
frame_cache_put (FrameCache *cache, const ChunkLocation *location, GBytes *frame)
{
  Cached *cached = g_new0 (Cached, 1);

  *cached = (Cached){ location->pack, location->frame.offset, g_bytes_ref (frame), { 0 } };
  cached->link.data = cached;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&cache->lock);
  Cached *old = g_hash_table_lookup (cache->frames, cached);
  if (old != NULL)
    drop (cache, old);
  g_hash_table_add (cache->frames, cached);
  g_queue_push_tail_link (&cache->order, &cached->link);
  cache->bytes += g_bytes_get_size (frame);
  while (cache->bytes > cache->max_bytes && cache->order.length > 1)
    drop (cache, cache->order.head->data);
}
