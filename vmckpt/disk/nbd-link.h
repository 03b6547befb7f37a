/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to an NBD export on a UNIX socket, for reading: as libnbd has it, with a limit to
 * how long the other side may keep silent, with cancelling, and nothing believed that can be
 * checked. One meta context for each, since libnbd asks for all of a connection at once. How much
 * may be in flight on one is said in disk-point.h. One thread at a time.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>

#include <gio/gio.h>

typedef struct _NbdLink NbdLink;

/* A range of an export; its flags are those of the meta context. */
typedef struct {
  guint64 offset, length; /* bytes */
  guint32 flags;
} NbdExtent;

/* Of "base:allocation": reads as zeros. (That it is a hole says nothing: in a chain of images it
 * means that the data is in another one.) */
#define NBD_EXTENT_ZERO 2
/* Of "qemu:dirty-bitmap:…": marked. */
#define NBD_EXTENT_DIRTY 1

/**
 * nbd_link_connect:
 * @context: (nullable): meta context to ask for, e.g. "base:allocation"
 * @patience_ms: how long to wait for any answer, milliseconds
 *
 * Returns: NULL with DISK_ERROR_FAILED, _STALLED, G_IO_ERROR of connecting or
 * G_IO_ERROR_CANCELLED.
 */
NbdLink *nbd_link_connect (const char *socket, const char *export_name, const char *context,
                           int patience_ms, GCancellable *cancellable, GError **error);

/* Closes it; buffers of reads in flight are not written to any more. */
void nbd_link_free (NbdLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NbdLink, nbd_link_free)

/* Of the export, bytes. */
guint64 nbd_link_size (const NbdLink *link);

/* Whether the server knows the context. */
gboolean nbd_link_has_context (const NbdLink *link);

/**
 * nbd_link_read:
 * @length: 1 … DISK_POINT_READ_BYTES, within the export
 * @buffer: (out caller-allocates): must stay until @done is set or the link is freed
 * @done: (out): set to TRUE in a later nbd_link_wait() or nbd_link_extents()
 *
 * Asks for a range, without waiting.
 */
gboolean nbd_link_read (NbdLink *link, guint64 offset, gsize length, guint8 *buffer, gboolean *done,
                        GError **error);

/**
 * nbd_link_wait:
 *
 * Waits for one answer or more. DISK_ERROR_FAILED if a read failed or the server is gone, _BROKEN
 * if QEMU has lost what is to be read, _STALLED if it is silent; the link is of no use then.
 */
gboolean nbd_link_wait (NbdLink *link, GCancellable *cancellable, GError **error);

/**
 * nbd_link_extents:
 * @length: 1 … 4 GiB, within the export
 * @extents: (out caller-allocates): of NbdExtent, emptied first: from @offset on, without gaps, one
 *   at least, nothing beyond the range; they may end before it
 *
 * Waits for the answer; reads in flight go on. Only with the context. Errors as of
 * nbd_link_wait().
 */
gboolean nbd_link_extents (NbdLink *link, guint64 offset, guint64 length, GArray *extents,
                           GCancellable *cancellable, GError **error);
