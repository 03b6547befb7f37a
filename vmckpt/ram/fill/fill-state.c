/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lazy-fill-private.h"

static void
source_clear (gpointer data)
{
  page_map_reader_free (((FillSource *)data)->map);
}

void
fill_source_unref (FillSource *source)
{
  g_atomic_rc_box_release_full (source, source_clear);
}

FillSource *
fill_source_new (Store *store, const PageMap *map, GError **error)
{
  PageMapReader *reader = page_map_reader_new (store, map, error);

  if (reader == NULL)
    return NULL;
  FillSource *source = g_atomic_rc_box_new0 (FillSource);
  source->map = reader;
  return source;
}

FillSource *
fill_get_source (LazyFill *fill)
{
  FILL_LOCK (fill);
  return g_atomic_rc_box_acquire (fill->source);
}

gboolean
fill_read_run (LazyFill *fill, guint64 first, guint count, guint8 *data, gboolean *zero,
               GError **error)
{
  g_autoptr (FillSource) source = fill_get_source (fill);
  return page_map_reader_read_run (source->map, first, count, data, zero, error);
}

gboolean
fill_is_stopping (LazyFill *fill)
{
  return g_atomic_int_get (&fill->stopping);
}

void
fill_note_error (LazyFill *fill, const GError *error)
{
  g_clear_error (&fill->error);
  fill->error = g_error_copy (error);
}

guint
fill_count_retries (LazyFill *fill)
{
  FILL_LOCK (fill);
  return fill->retries;
}

FillBuffer *
fill_buffer_new (void)
{
  FillBuffer *buffer = g_new0 (FillBuffer, 1);
  buffer->data = g_malloc ((gsize)FILL_PAGES_MAX * PAGE_SIZE_BYTES);
  return buffer;
}

void
fill_buffer_free (FillBuffer *buffer)
{
  g_free (buffer->data);
  g_free (buffer);
}
