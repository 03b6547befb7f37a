/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-batch.h"

#include "chunk-lanes.h"
#include "delta.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Pages copied and then verified together, while the processor's cache still has them. */
#define VERIFY_PAGES 64

/* What is to be read for a page: the page itself, or what it is a change to. */
typedef struct {
  ChunkLocation location;
  guint place;    /* in the batch */
  GBytes *deltas; /* (nullable): the page is a delta, and this the frame that has it */
  Delta delta;
} Wanted;

static void
wanted_clear (gpointer data)
{
  g_clear_pointer (&((Wanted *)data)->deltas, g_bytes_unref);
}

gboolean
page_prefix_error (guint64 page, GError **error)
{
  g_prefix_error (error, "page %" G_GUINT64_FORMAT ": ", page);
  return FALSE;
}

gboolean
page_check_length (gsize len, GError **error)
{
  if (len == PAGE_SIZE_BYTES)
    return TRUE;
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                       "a page map refers to something that is not a page");
  return FALSE;
}

/* By pack, frame and place in it. */
static int
compare_places (gconstpointer a, gconstpointer b)
{
  return chunk_location_compare (&((const Wanted *)a)->location, &((const Wanted *)b)->location);
}

static gboolean
same_frame (const Wanted *a, const Wanted *b)
{
  return a->location.frame.offset == b->location.frame.offset &&
         chunk_name_equal (&a->location.pack, &b->location.pack);
}

static guint8 *
destination (const PageBatch *batch, const Wanted *one)
{
  return batch->data + (gsize)one->place * PAGE_SIZE_BYTES;
}

/* Finds all pages of a batch. (transfer full) (element-type Wanted), in the order of the packs. */
static GArray *
locate_batch (PageBatch *batch, GError **error)
{
  g_autoptr (GArray) wanted = g_array_sized_new (FALSE, FALSE, sizeof (Wanted), batch->count);

  g_array_set_clear_func (wanted, wanted_clear);
  for (guint i = 0; i < batch->count; i++) {
    Wanted one = { .place = i };
    if (chunk_name_is_zero (&batch->names[i]))
      continue;
    if (!store_chunk_locate (batch->store, &batch->names[i], &one.location, error)) {
      page_prefix_error (batch->first + i, error);
      return NULL;
    }
    g_array_append_val (wanted, one);
  }
  g_array_sort (wanted, compare_places);
  return g_steal_pointer (&wanted);
}

/* Turns a wanted delta into its wanted base, if all is as it should be. */
static void
want_base (PageBatch *batch, const IndexView *view, Wanted *one)
{
  ChunkLocation base;
  /* Kept, since a frame of deltas has some for the next batches, too. */
  g_autoptr (GBytes) deltas = store_frame_read (batch->store, &one->location, TRUE, NULL);

  if (deltas == NULL || !store_delta_in_frame (&one->location, deltas, &one->delta, NULL) ||
      !index_view_find_full (view, &one->delta.base, NULL, TRUE, &base) ||
      base.len != PAGE_SIZE_BYTES)
    return;
  one->deltas = g_steal_pointer (&deltas);
  one->location = base;
}

/* Bases are most often pages of about the same place, stored long ago, so that their frames are
 * read for other pages anyway. */
static gboolean
want_bases (PageBatch *batch, GArray *wanted, GError **error)
{
  g_autoptr (IndexView) view = index_view (batch->store->index, error);
  gboolean some = FALSE;

  if (view == NULL)
    return FALSE;
  for (guint i = 0; i < wanted->len; i++) {
    Wanted *one = &g_array_index (wanted, Wanted, i);
    if (one->location.frame.codec != FRAME_DELTA)
      continue;
    want_base (batch, view, one);
    some = TRUE;
  }
  if (some)
    g_array_sort (wanted, compare_places);
  return TRUE;
}

/* One page by way of the index, which tries every copy and may know better by now. */
static gboolean
read_singly (PageBatch *batch, const Wanted *one, GError **error)
{
  g_autoptr (GBytes) chunk = store_chunk_read (batch->store, &batch->names[one->place], error);

  if (chunk == NULL || !page_check_length (g_bytes_get_size (chunk), error))
    return page_prefix_error (batch->first + one->place, error);
  memcpy (destination (batch, one), g_bytes_get_data (chunk, NULL), PAGE_SIZE_BYTES);
  return TRUE;
}

/* Takes up to VERIFY_PAGES pages out of their frame; what is not what it should be is read again.
 */
static gboolean
take_pages (PageBatch *batch, const Wanted *wanted, guint count, GBytes *frame, GError **error)
{
  const guint8 *pages[VERIFY_PAGES] = { 0 };
  ChunkName names[VERIFY_PAGES];
  gsize len;
  const guint8 *data = g_bytes_get_data (frame, &len);

  for (guint i = 0; i < count; i++) {
    guint32 offset = wanted[i].location.offset;
    pages[i] = destination (batch, &wanted[i]);
    if (!page_check_length (wanted[i].location.len, error))
      return page_prefix_error (batch->first + wanted[i].place, error);
    /* A page of zeros is never looked for: it has another name. */
    if (offset <= len && PAGE_SIZE_BYTES <= len - offset)
      memcpy (destination (batch, &wanted[i]), data + offset, PAGE_SIZE_BYTES);
    else
      memset (destination (batch, &wanted[i]), 0, PAGE_SIZE_BYTES);
    /* From a wrong base comes a wrong page, so the base needs no look of its own. */
    if (wanted[i].deltas != NULL)
      delta_apply (&wanted[i].delta, destination (batch, &wanted[i]));
  }
  chunk_names_of_pages (&batch->store->key, pages, count, names);
  for (guint i = 0; i < count; i++)
    if (!chunk_name_equal (&names[i], &batch->names[wanted[i].place]) &&
        !read_singly (batch, &wanted[i], error))
      return FALSE;
  return TRUE;
}

/* Reads the pages of one frame. */
static gboolean
read_from_frame (PageBatch *batch, const Wanted *wanted, guint count, GError **error)
{
  g_autoptr (GBytes) frame = NULL;

  /* If the batch does not take all of it, another one may want the rest. */
  if (wanted->location.frame.codec != FRAME_DELTA)
    frame = store_frame_read (batch->store, &wanted->location,
                              count < wanted->location.frame.chunks, NULL);
  for (guint done = 0; done < count;) {
    guint n = frame != NULL ? MIN (count - done, VERIFY_PAGES) : 1;
    if (!(frame != NULL ? take_pages (batch, wanted + done, n, frame, error)
                        : read_singly (batch, wanted + done, error)))
      return FALSE;
    done += n;
  }
  return TRUE;
}

gboolean
page_batch_read (PageBatch *batch, GError **error)
{
  g_autoptr (GArray) located = locate_batch (batch, error);
  guint count;

  if (located == NULL || !want_bases (batch, located, error))
    return FALSE;
  const Wanted *wanted = (const Wanted *)located->data;
  for (guint done = 0; done < located->len; done += count) {
    count = 1;
    while (done + count < located->len && same_frame (&wanted[done], &wanted[done + count]))
      count++;
    if (!read_from_frame (batch, wanted + done, count, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
write_at (int fd, const guint8 *data, gsize len, guint64 at, GError **error)
{
  for (gsize done = 0; done < len;) {
    ssize_t n = pwrite (fd, data + done, len - done, at + done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      errno = n == 0 ? EIO : errno;
      return fd_set_errno_error (error, "writing what was read");
    }
    done += n;
  }
  /* Begins now what would else all be left to the sync at the end. */
  sync_file_range (fd, at, len, SYNC_FILE_RANGE_WRITE);
  return TRUE;
}

gboolean
page_batch_write (const PageBatch *batch, int fd, guint64 length, GError **error)
{
  guint end;

  for (guint begin = 0; begin < batch->count; begin = MAX (end, begin + 1)) {
    end = begin;
    while (end < batch->count && !chunk_name_is_zero (&batch->names[end]))
      end++;
    guint64 at = (batch->first + begin) * PAGE_SIZE_BYTES;
    gsize len = MIN ((guint64)(end - begin) * PAGE_SIZE_BYTES, length - MIN (at, length));
    if (len > 0 && !write_at (fd, batch->data + (gsize)begin * PAGE_SIZE_BYTES, len, at, error))
      return FALSE;
  }
  return TRUE;
}
