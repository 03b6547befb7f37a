/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of one disk's data from an NBD export into a page map: what a dirty bitmap names, or all
 * that may not be zeros. The other side is QEMU's server, but nothing that it says is believed:
 * sizes, extents and answers are checked, and silence ends the copy.
 *
 * Of several connections one knows the bitmap, the others tell holes and read (README.md,
 * "Reading").
 */
#pragma once

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/store/page-map.h>

typedef struct _DiskCopy DiskCopy;

/* What is to be read. Everything is borrowed. */
typedef struct {
  const char *socket;      /* UNIX socket of the NBD server */
  const char *export_name; /* there */
  guint64 length;          /* bytes: an export of another size is refused */
  const char *bitmap;      /* (nullable): meta context of a dirty bitmap: read only what it names */
  int patience_ms;         /* how long an answer may take; 0: 30 s */
} DiskSource;

/* What came of it. Bytes. */
typedef struct {
  guint64 dirty_bytes; /* that the bitmap names; the disk's length without one */
  guint64 read_bytes;  /* came over the connection */
} DiskCopyStats;

/* Connections that a DiskCopy makes at most. */
#define DISK_COPY_CONNECTIONS 5

/**
 * disk_copy_connect:
 *
 * Connects and negotiates; asks for no data yet.
 *
 * Returns: (transfer full): NULL with DISK_ERROR: nobody answers, the export is not there or of
 * another size, or it does not know the bitmap; or G_IO_ERROR_CANCELLED.
 */
DiskCopy *disk_copy_connect (const DiskSource *source, GCancellable *cancellable, GError **error);

/* Closes the connections. */
void disk_copy_free (DiskCopy *copy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskCopy, disk_copy_free)

/**
 * disk_copy_run:
 * @writer: of the source's length
 * @progress: (nullable): PHASE_STORE, bytes that are done; how many there are is not known
 * @stats: (out caller-allocates): also on failure, of what was done
 *
 * Puts all that is to be read, zeros included; a last page that the disk fills only in part is
 * padded with zeros. Several requests are in flight, half a MiB of answers at most. Once. Blocks;
 * worker thread.
 *
 * Returns: FALSE with DISK_ERROR (what the other side did, or that it keeps silent), an error of
 * the store, or G_IO_ERROR_CANCELLED.
 */
gboolean disk_copy_run (DiskCopy *copy, PageMapWriter *writer, const Progress *progress,
                        DiskCopyStats *stats, GCancellable *cancellable, GError **error);
