/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "buffer-pool.h"

struct _BufferPool {
  int refs; /* (atomic) one for each buffer that is in use */
  gsize size;
  guint keep;
  GMutex lock;
  GPtrArray *unused; /* (lock) */
};

BufferPool *
buffer_pool_new (gsize size, guint keep)
{
  BufferPool *pool = g_new0 (BufferPool, 1);

  pool->refs = 1;
  pool->size = size;
  pool->keep = keep;
  g_mutex_init (&pool->lock);
  pool->unused = g_ptr_array_new_with_free_func (g_free);
  return pool;
}

void
buffer_pool_unref (BufferPool *pool)
{
  if (pool == NULL || !g_atomic_int_dec_and_test (&pool->refs))
    return;
  g_ptr_array_unref (pool->unused);
  g_mutex_clear (&pool->lock);
  g_free (pool);
}

guint8 *
buffer_pool_take (BufferPool *pool)
{
  guint8 *buffer = NULL;

  g_atomic_int_inc (&pool->refs);
  g_mutex_lock (&pool->lock);
  if (pool->unused->len > 0)
    buffer = g_ptr_array_steal_index_fast (pool->unused, pool->unused->len - 1);
  g_mutex_unlock (&pool->lock);
  return buffer != NULL ? buffer : g_malloc (pool->size);
}

void
buffer_pool_give (BufferPool *pool, guint8 *buffer)
{
  if (buffer == NULL)
    return;
  g_mutex_lock (&pool->lock);
  if (pool->unused->len < pool->keep) {
    g_ptr_array_add (pool->unused, buffer);
    buffer = NULL;
  }
  g_mutex_unlock (&pool->lock);
  g_free (buffer);
  buffer_pool_unref (pool);
}

void
buffer_pool_trim (BufferPool *pool)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&pool->lock);

  if (pool->unused->len > 0)
    g_ptr_array_set_size (pool->unused, 0);
}

GByteArray *
buffer_pool_take_array (BufferPool *pool)
{
  GByteArray *array = g_byte_array_new_take (buffer_pool_take (pool), pool->size);

  return g_byte_array_set_size (array, 0); /* which keeps the room */
}

void
buffer_pool_give_array (BufferPool *pool, GByteArray *array)
{
  if (array != NULL)
    buffer_pool_give (pool, g_byte_array_free (array, FALSE));
}
