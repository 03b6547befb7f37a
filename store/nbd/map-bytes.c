/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "map-bytes.h"

#include <string.h>

/* Pages of which a stretch of PAGE_MAP_STRETCH is looked at in one call: enough for the extents of
 * 4 GiB, little enough that a thread is not gone for long. */
#define RUN_PAGES_MAX (1024 * 1024)

struct _MapBytes {
  PageMapReader *reader;
  guint64 length;
  GMutex lock;
  guint64 *data; /* (lock) (nullable): page_map_reader_find_data(), once asked for */
};

MapBytes *
map_bytes_new (Store *store, const PageMap *map, GError **error)
{
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, error);

  if (reader == NULL)
    return NULL;
  MapBytes *bytes = g_new0 (MapBytes, 1);
  bytes->reader = g_steal_pointer (&reader);
  bytes->length = map->length;
  g_mutex_init (&bytes->lock);
  return bytes;
}

void
map_bytes_free (MapBytes *bytes)
{
  if (bytes == NULL)
    return;
  page_map_reader_free (bytes->reader);
  g_mutex_clear (&bytes->lock);
  g_free (bytes->data);
  g_free (bytes);
}

guint64
map_bytes_length (const MapBytes *bytes)
{
  return bytes->length;
}

/* A part of one page, which a caller's buffer has no room for. */
static gboolean
read_part (MapBytes *bytes, guint64 offset, gsize count, guint8 *data, GError **error)
{
  guint8 page[PAGE_SIZE_BYTES];
  gboolean zero;

  if (!page_map_reader_read_run (bytes->reader, offset / PAGE_SIZE_BYTES, 1, page, &zero, error))
    return FALSE;
  memcpy (data, page + offset % PAGE_SIZE_BYTES, count);
  return TRUE;
}

gboolean
map_bytes_read (MapBytes *bytes, guint64 offset, gsize count, guint8 *data, GError **error)
{
  gboolean zero[PAGE_MAP_RUN_MAX];

  g_return_val_if_fail (offset <= bytes->length && count <= bytes->length - offset, FALSE);
  for (gsize done = 0, some; done < count; done += some) {
    guint64 at = offset + done;
    gsize left = count - done, before = at % PAGE_SIZE_BYTES;
    if (before != 0 || left < PAGE_SIZE_BYTES) {
      some = MIN (left, PAGE_SIZE_BYTES - before);
      if (!read_part (bytes, at, some, data + done, error))
        return FALSE;
      continue;
    }
    guint pages = MIN (left / PAGE_SIZE_BYTES, PAGE_MAP_RUN_MAX);
    some = (gsize)pages * PAGE_SIZE_BYTES;
    if (!page_map_reader_read_run (bytes->reader, at / PAGE_SIZE_BYTES, pages, data + done, zero,
                                   error))
      return FALSE;
  }
  return TRUE;
}

/* Which stretches have data at all, found out once. Borrowed; NULL with @error. */
static const guint64 *
find_data (MapBytes *bytes, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&bytes->lock);

  if (bytes->data == NULL) {
    guint64 pages = (bytes->length + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES;
    g_autofree guint64 *data = g_new0 (guint64, pages / PAGE_MAP_STRETCH / 64 + 1);
    if (!page_map_reader_find_data (bytes->reader, data, error))
      return NULL;
    bytes->data = g_steal_pointer (&data);
  }
  return bytes->data;
}

static gboolean
stretch_has_data (const guint64 *data, guint64 page)
{
  guint64 stretch = page / PAGE_MAP_STRETCH;

  return (data[stretch / 64] >> stretch % 64 & 1) != 0;
}

guint64
map_bytes_find_run (MapBytes *bytes, guint64 offset, guint64 limit, gboolean *zero, GError **error)
{
  const guint64 *data = find_data (bytes, error);
  guint64 stop = offset + MIN (limit, bytes->length - offset);
  guint64 first = offset / PAGE_SIZE_BYTES, at = first;
  guint64 end = (stop + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES;

  if (data == NULL)
    return 0;
  for (guint64 looked = 0; at < end && looked < RUN_PAGES_MAX;) {
    gboolean here = TRUE;
    guint64 some = MIN (end, (at / PAGE_MAP_STRETCH + 1) * PAGE_MAP_STRETCH) - at;
    if (stretch_has_data (data, at)) {
      guint64 stretch = some;
      some = page_map_reader_find_run (bytes->reader, at, stretch, &here, error);
      if (some == 0)
        return 0;
      looked += stretch;
    }
    if (at == first)
      *zero = here;
    else if (here != *zero)
      break;
    at += some;
  }
  return MIN (at * PAGE_SIZE_BYTES, stop) - offset;
}
