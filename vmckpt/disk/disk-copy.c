/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   marks ──▶ wanted ranges, whole pages ──▶ reads in flight on several links ──▶ pages
 *  (bitmap)
 *
 * An answer about extents is worked off before the next is asked for, so memory does not grow with
 * the disk nor with what was written.
 *
 * Which ranges are zeros is not asked (base:allocation). QEMU looks for zeros below the filter once
 * it has let go of the range (block/io.c, BDRV_BLOCK_RECURSE), so what the guest zeroes meanwhile
 * is zeros for it, although a read still gives what was there at the instant. Zeros are read, and
 * cost nothing in the store.
 */
#include "disk-copy.h"

#include "nbd-link.h"

#include <vmckpt/disk/disk-point.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <string.h>

#define PATIENCE_MS 30000
/* Each as many as a socket's buffer holds: QEMU must never wait for us (disk-point.h). */
#define READS_MAX (DATA_LINKS * (DISK_POINT_IN_FLIGHT / DISK_POINT_READ_BYTES))
#define DATA_LINKS (DISK_COPY_CONNECTIONS - 1)
#define PROGRESS_EVERY (1 << 20)
#define FEW_EXTENTS 64
#define WINDOW_MAX (1 << 30)

/* A read in flight, or room for one. */
typedef struct {
  guint8 buffer[DISK_POINT_READ_BYTES];
  guint64 offset;
  gsize length;
  gboolean done;
} Read;

struct _DiskCopy {
  NbdLink *marks; /* (nullable): of the bitmap */
  NbdLink *data[DATA_LINKS];
  guint64 length;
  Read *reads;          /* READS_MAX: a ring; read N is at N % READS_MAX, on link N % DATA_LINKS */
  guint64 asked, taken; /* reads so far */
  /* Of the run: */
  PageMapWriter *writer;
  GArray *marked;  /* of NbdExtent */
  guint64 next;    /* everything wanted before it was looked at */
  guint64 handled; /* bytes that are read */
  const Progress *progress;
  DiskCopyStats *stats;
  GCancellable *cancellable;
};

/* ---- Connections ---- */

static gboolean
check_link (const DiskSource *source, const NbdLink *link, GError **error)
{
  if (nbd_link_size (link) == source->length)
    return TRUE;
  g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED,
               "NBD export %s has %" G_GUINT64_FORMAT " bytes, the disk %" G_GUINT64_FORMAT,
               source->export_name, nbd_link_size (link), source->length);
  return FALSE;
}

static NbdLink *
connect_link (const DiskSource *source, const char *context, GCancellable *cancellable,
              GError **error)
{
  g_autoptr (NbdLink) link = nbd_link_connect (
      source->socket, source->export_name, context,
      source->patience_ms > 0 ? source->patience_ms : PATIENCE_MS, cancellable, error);

  return link != NULL && check_link (source, link, error) ? g_steal_pointer (&link) : NULL;
}

DiskCopy *
disk_copy_connect (const DiskSource *source, GCancellable *cancellable, GError **error)
{
  g_autoptr (DiskCopy) copy = g_new0 (DiskCopy, 1);

  copy->length = source->length;
  copy->marked = g_array_new (FALSE, FALSE, sizeof (NbdExtent));
  copy->reads = g_new0 (Read, READS_MAX);
  for (guint i = 0; i < DATA_LINKS; i++) {
    copy->data[i] = connect_link (source, NULL, cancellable, error);
    if (copy->data[i] == NULL)
      return NULL;
  }
  if (source->bitmap == NULL)
    return g_steal_pointer (&copy);
  copy->marks = connect_link (source, source->bitmap, cancellable, error);
  if (copy->marks == NULL)
    return NULL;
  if (nbd_link_has_context (copy->marks))
    return g_steal_pointer (&copy);
  g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED, "NBD export %s does not know %s",
               source->export_name, source->bitmap);
  return NULL;
}

void
disk_copy_free (DiskCopy *copy)
{
  if (copy == NULL)
    return;
  /* They may still write into the buffers. */
  nbd_link_free (copy->marks);
  for (guint i = 0; i < DATA_LINKS; i++)
    nbd_link_free (copy->data[i]);
  g_free (copy->reads);
  g_array_unref (copy->marked);
  g_free (copy);
}

/* ---- Pages ---- */

static void
note_handled (DiskCopy *copy, guint64 bytes)
{
  guint64 before = copy->handled;

  copy->handled += bytes;
  if (before / PROGRESS_EVERY != copy->handled / PROGRESS_EVERY)
    progress_report (copy->progress, PHASE_STORE, copy->handled, 0);
}

/* Hands a read's pages on; what the disk lacks of the last one is zeros. */
static gboolean
put_read (DiskCopy *copy, Read *read, GError **error)
{
  guint64 first = read->offset / PAGE_SIZE_BYTES;
  gsize padded = (read->length + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES * PAGE_SIZE_BYTES;

  memset (read->buffer + read->length, 0, padded - read->length);
  copy->stats->read_bytes += read->length;
  note_handled (copy, read->length);
  for (gsize at = 0; at < padded; at += PAGE_SIZE_BYTES)
    if (!page_map_writer_put (copy->writer, first + at / PAGE_SIZE_BYTES, read->buffer + at, error))
      return FALSE;
  return TRUE;
}

/* Takes in the oldest reads, until at most @count are left in flight. */
static gboolean
take_reads (DiskCopy *copy, guint count, GError **error)
{
  for (; copy->asked - copy->taken > count; copy->taken++) {
    Read *read = &copy->reads[copy->taken % READS_MAX];
    while (!read->done)
      if (!nbd_link_wait (copy->data[copy->taken % DATA_LINKS], copy->cancellable, error))
        return FALSE;
    if (!put_read (copy, read, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_range (DiskCopy *copy, guint64 offset, guint64 end, GError **error)
{
  Read *read;

  for (; offset < end; offset += read->length) {
    if (g_cancellable_set_error_if_cancelled (copy->cancellable, error) ||
        !take_reads (copy, READS_MAX - 1, error))
      return FALSE;
    read = &copy->reads[copy->asked % READS_MAX];
    read->offset = offset;
    read->length = MIN (end - offset, DISK_POINT_READ_BYTES);
    if (!nbd_link_read (copy->data[copy->asked % DATA_LINKS], offset, read->length, read->buffer,
                        &read->done, error) ||
        !fault_visit (FAULT_DISK_MIDDLE, error))
      return FALSE;
    copy->asked++;
  }
  return TRUE;
}

/* ---- Ranges ---- */

/* The first page boundary at or after @offset, but never beyond the disk. */
static guint64
round_up (const DiskCopy *copy, guint64 offset)
{
  return MIN (copy->length, (offset + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES * PAGE_SIZE_BYTES);
}

/* Extents with a flag, one after the other, are one run; across answers too. */
typedef struct {
  guint32 flag;
  gboolean open;
  guint64 from, to;
} Run;

/* Adds @extent. TRUE: a run has ended before it, which is @from to @to. */
static gboolean
run_add (Run *run, const NbdExtent *extent, guint64 *from, guint64 *to)
{
  gboolean flagged = (extent->flags & run->flag) != 0, ended = run->open && !flagged;

  *from = run->from;
  *to = run->to;
  if (flagged && !run->open)
    run->from = extent->offset;
  run->open = flagged;
  run->to = extent->offset + extent->length;
  return ended;
}

/*
 * How much to ask about next. DISK_POINT_STATUS_BYTES bounds an answer whatever is there, and would
 * be a million questions about a large disk. So where there is little to tell, more is asked about.
 * Where that turns out to be much, the one answer is longer than what fits into the socket, while
 * we wait for nothing else.
 */
static guint64
next_window (guint64 window, const GArray *extents)
{
  return extents->len <= FEW_EXTENTS ? MIN (window * 2, WINDOW_MAX) : DISK_POINT_STATUS_BYTES;
}

/* A range that is wanted, to whole pages. What was looked at before is not again. */
static gboolean
copy_range (DiskCopy *copy, guint64 from, guint64 to, GError **error)
{
  guint64 first = MAX (copy->next, from / PAGE_SIZE_BYTES * PAGE_SIZE_BYTES);
  guint64 end = round_up (copy, to);

  if (first >= end)
    return TRUE;
  copy->stats->dirty_bytes += end - first;
  copy->next = end;
  return read_range (copy, first, end, error);
}

static gboolean
copy_marked (DiskCopy *copy, GError **error)
{
  Run marks = { .flag = NBD_EXTENT_DIRTY };
  guint64 window = DISK_POINT_STATUS_BYTES, from, to;

  for (guint64 at = 0; at < copy->length; at = marks.to) {
    if (!nbd_link_extents (copy->marks, at, MIN (copy->length - at, window), copy->marked,
                           copy->cancellable, error))
      return FALSE;
    for (guint i = 0; i < copy->marked->len; i++)
      if (run_add (&marks, &g_array_index (copy->marked, NbdExtent, i), &from, &to) &&
          !copy_range (copy, from, to, error))
        return FALSE;
    window = next_window (window, copy->marked);
  }
  return !marks.open || copy_range (copy, marks.from, marks.to, error);
}

gboolean
disk_copy_run (DiskCopy *copy, PageMapWriter *writer, const Progress *progress,
               DiskCopyStats *stats, GCancellable *cancellable, GError **error)
{
  *stats = (DiskCopyStats){ 0 };
  copy->writer = writer;
  copy->progress = progress;
  copy->stats = stats;
  copy->cancellable = cancellable;
  return (copy->marks != NULL ? copy_marked (copy, error)
                              : copy_range (copy, 0, copy->length, error)) &&
         take_reads (copy, 0, error);
}
