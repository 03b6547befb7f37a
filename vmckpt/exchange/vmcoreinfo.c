/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmcoreinfo.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

#define NAME "VMCOREINFO"
#define BEGINS "OSRELEASE="
#define HEAD_BYTES 24 /* three le32, the name and its padding */
#define NOTE_MAX (2 * PAGE_SIZE_BYTES)

typedef struct {
  guint64 page;
  gsize len; /* 0: not found */
  VmcoreinfoProgress progress;
  gpointer user_data;
} Search;

gsize
vmcoreinfo_length (const guint8 page[PAGE_SIZE_BYTES])
{
  ByteReader reader = BYTE_READER (page, PAGE_SIZE_BYTES);
  guint32 name = byte_reader_le32 (&reader), len = byte_reader_le32 (&reader);
  guint32 type = byte_reader_le32 (&reader);

  if (name != sizeof NAME || type != 0 || len < strlen (BEGINS) || len > NOTE_MAX - HEAD_BYTES ||
      memcmp (page + 12, NAME, sizeof NAME) != 0 ||
      memcmp (page + HEAD_BYTES, BEGINS, strlen (BEGINS)) != 0)
    return 0;
  return HEAD_BYTES + len;
}

static gboolean
on_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Search *search = user_data;

  search->len = vmcoreinfo_length (data);
  search->page = page;
  if (search->len == 0)
    return search->progress == NULL ||
           search->progress ((page + 1) * PAGE_SIZE_BYTES, search->user_data, error);
  /* Found: this error only ends the search. */
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_EXISTS, "found");
  return FALSE;
}

static GBytes *
read_note (PageMapReader *reader, const PageMap *map, const Search *search, GError **error)
{
  guint8 data[NOTE_MAX] = { 0 };
  guint64 pages = map->length / PAGE_SIZE_BYTES;

  if (!page_map_reader_read (reader, search->page, data, error) ||
      (search->page + 1 < pages &&
       !page_map_reader_read (reader, search->page + 1, data + PAGE_SIZE_BYTES, error)))
    return NULL;
  return g_bytes_new (data, search->len);
}

gboolean
vmcoreinfo_find (Store *store, const PageMap *map, GBytes **note, VmcoreinfoProgress progress,
                 gpointer user_data, GCancellable *cancellable, GError **error)
{
  Search search = { .progress = progress, .user_data = user_data };
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, error);
  g_autoptr (GError) cause = NULL;

  *note = NULL;
  if (reader == NULL)
    return FALSE;
  if (page_map_reader_foreach (reader, FALSE, on_page, &search, NULL, cancellable, &cause))
    return TRUE;
  if (search.len == 0 || !g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_EXISTS)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  *note = read_note (reader, map, &search, error);
  return *note != NULL;
}
