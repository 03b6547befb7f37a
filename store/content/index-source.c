/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-source.h"

#include <vmckpt/store/store.h>

#include <string.h>

/* A table that is small beside the cache is read in greater pieces, since all of it will stay. */
#define AHEAD_BLOCKS 16
#define AHEAD_MAX_BYTES (16 * 1024 * 1024)

IndexSource *
index_source_new_bytes (const char *object, GBytes *bytes)
{
  IndexSource *source = g_new0 (IndexSource, 1);

  source->object = g_strdup (object);
  source->bytes = g_bytes_ref (bytes);
  source->size = g_bytes_get_size (bytes);
  return source;
}

IndexSource *
index_source_new_medium (const char *object, const IndexMedium *medium, guint64 size)
{
  IndexSource *source = g_new0 (IndexSource, 1);

  source->object = g_strdup (object);
  source->medium = *medium;
  source->number = block_cache_number (medium->cache);
  source->size = size;
  return source;
}

void
index_source_free (IndexSource *source)
{
  g_clear_pointer (&source->bytes, g_bytes_unref);
  g_free (source->object);
  g_free (source);
}

IndexFailure
index_source_judge (const GError *error)
{
  if (error->domain == STORE_ERROR)
    return error->code == STORE_ERROR_DAMAGED ? INDEX_BROKEN : INDEX_GONE;
  if (error->domain != G_IO_ERROR)
    return INDEX_GONE;
  /* What is cut short, and what the medium does not give (EIO). */
  return error->code == G_IO_ERROR_FAILED || error->code == G_IO_ERROR_PARTIAL_INPUT ||
                 error->code == G_IO_ERROR_INVALID_DATA
             ? INDEX_BROKEN
             : INDEX_GONE;
}

gboolean
index_source_fail (IndexSource *source, IndexFailure failure)
{
  g_atomic_int_compare_and_exchange (&source->failure, INDEX_GOOD, failure);
  return FALSE;
}

IndexFailure
index_source_failure (const IndexSource *source)
{
  return g_atomic_int_get (&source->failure);
}

gboolean
index_source_read (IndexSource *source, guint64 offset, void *to, gsize len)
{
  g_autoptr (GError) error = NULL;

  if (index_source_failure (source) != INDEX_GOOD)
    return FALSE;
  if (offset > source->size || len > source->size - offset)
    return index_source_fail (source, INDEX_BROKEN);
  if (source->bytes != NULL) {
    memcpy (to, (const guint8 *)g_bytes_get_data (source->bytes, NULL) + offset, len);
    return TRUE;
  }
  return block_cache_read (source->medium.cache, source->medium.backend, source->object,
                           source->number, source->size,
                           source->size <= AHEAD_MAX_BYTES ? AHEAD_BLOCKS : 1, offset, to, len,
                           &error) ||
         index_source_fail (source, index_source_judge (error));
}

const guint8 *
index_source_piece (const IndexSource *source, guint64 offset, gsize len, GBytes **holder,
                    GError **error)
{
  if (source->bytes != NULL)
    *holder = g_bytes_new_from_bytes (source->bytes, offset, len);
  else
    *holder = source->medium.backend->ops->get (source->medium.backend, source->object, offset, len,
                                                error);
  return *holder != NULL ? g_bytes_get_data (*holder, NULL) : NULL;
}
