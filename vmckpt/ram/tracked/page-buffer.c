/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-buffer.h"

#include <vmckpt/util/fd.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

struct _PageBuffer {
  int fd;
  guint64 capacity, used;
  guint8 *data;      /* capacity pages, mapped */
  guint64 *page;     /* which page of the RAM each one is */
  PageBitmap *newer; /* of the RAM's pages, empty between calls */
};

PageBuffer *
page_buffer_new (int fd, guint64 ram_pages, guint64 capacity, GError **error)
{
  g_autoptr (PageBuffer) buffer = g_new0 (PageBuffer, 1);
  void *data = mmap (NULL, capacity * PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  buffer->fd = fd;
  buffer->capacity = capacity;
  if (data == MAP_FAILED) {
    fd_set_errno_error (error, "memory for %" G_GUINT64_FORMAT " pages", capacity);
    return NULL;
  }
  buffer->data = data;
  buffer->page = g_new0 (guint64, capacity);
  buffer->newer = page_bitmap_new (ram_pages);
  return g_steal_pointer (&buffer);
}

void
page_buffer_free (PageBuffer *buffer)
{
  if (buffer == NULL)
    return;
  if (buffer->data != NULL)
    munmap (buffer->data, buffer->capacity * PAGE_SIZE_BYTES);
  g_free (buffer->page);
  page_bitmap_free (buffer->newer);
  g_free (buffer);
}

guint64
page_buffer_used (const PageBuffer *buffer)
{
  return buffer->used;
}

guint64
page_buffer_room (const PageBuffer *buffer)
{
  return buffer->capacity - buffer->used;
}

void
page_buffer_reserve (PageBuffer *buffer, guint64 pages)
{
  guint64 count = MIN (pages, page_buffer_room (buffer));

  /* Where the kernel cannot, the copies fault: slower, not wrong. */
  if (count > 0)
    madvise (buffer->data + buffer->used * PAGE_SIZE_BYTES, count * PAGE_SIZE_BYTES,
             MADV_POPULATE_WRITE);
}

/* Copies @count pages from @first on. */
static gboolean
copy_run (PageBuffer *buffer, guint64 first, guint64 count, GError **error)
{
  guint8 *at = buffer->data + buffer->used * PAGE_SIZE_BYTES;
  gsize left = count * PAGE_SIZE_BYTES;
  off_t offset = first * PAGE_SIZE_BYTES;

  g_return_val_if_fail (count <= page_buffer_room (buffer), FALSE);
  while (left > 0) {
    ssize_t n = pread (buffer->fd, at, left, offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fd_set_errno_error (error, "reading the guest's memory");
    if (n == 0) { /* beyond the end of the file: RAM is whole pages, so this is a defect */
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "the guest's memory is too short");
      return FALSE;
    }
    at += n;
    offset += n;
    left -= n;
  }
  for (guint64 i = 0; i < count; i++)
    buffer->page[buffer->used++] = first + i;
  return TRUE;
}

gboolean
page_buffer_copy (PageBuffer *buffer, const PageBitmap *pages, guint64 *at, guint64 limit,
                  GError **error)
{
  guint64 left = MIN (limit, page_buffer_room (buffer));

  for (guint64 end; left > 0 && page_bitmap_next_run (pages, at, &end);) {
    guint64 count = MIN (left, end - *at);
    if (!copy_run (buffer, *at, count, error))
      return FALSE;
    *at += count;
    left -= count;
  }
  return TRUE;
}

/* Finds the copies, by their places in the buffer, of pages that were copied again later. */
static PageBitmap *
find_stale (PageBuffer *buffer)
{
  PageBitmap *stale = page_bitmap_new (buffer->used);

  for (guint64 i = buffer->used; i-- > 0;) {
    if (page_bitmap_test (buffer->newer, buffer->page[i]))
      page_bitmap_set (stale, i);
    page_bitmap_set (buffer->newer, buffer->page[i]);
  }
  for (guint64 i = 0; i < buffer->used; i++)
    page_bitmap_clear (buffer->newer, buffer->page[i]);
  return stale;
}

gboolean
page_buffer_flush (PageBuffer *buffer, PageMapWriter *map, GError **error)
{
  g_autoptr (PageBitmap) stale = find_stale (buffer);

  for (guint64 i = 0; i < buffer->used; i++)
    if (!page_bitmap_test (stale, i) &&
        !page_map_writer_put (map, buffer->page[i], buffer->data + i * PAGE_SIZE_BYTES, error))
      return FALSE;
  buffer->used = 0;
  return TRUE;
}
