/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A point in time of a guest's disks: what they held at the instant stays readable while the guest
 * runs on and writes.
 *
 *   guest ──▶ device ──▶ vmckpt-fN: copy-before-write ──▶ N, the user's node ──▶ image
 *                             │ what is about to be overwritten
 *                             ▼
 *                        vmckpt-oN: temporary (qcow2 file)
 *   this process ◀── NBD export vmckpt-xN ◀── vmckpt-sN: snapshot-access
 *
 *   disk_point_prepare()   temporaries, their nodes, the NBD server           guest runs
 *   disk_point_instant()   bitmaps in one transaction, filters                guest is stopped
 *   disk_point_export()    exports; to be read over disk_point_socket()       guest runs (or not)
 *   disk_point_undo()      exports, filters, temporaries away                 guest runs (or not)
 *   disk_point_commit()    or disk_point_rollback(): bitmaps
 *
 * All of it lives in QEMU, under names that begin with "vmckpt-" (disk-find.h), and a daemon may
 * die anywhere: disk_point_recover() of the next one takes back whatever is there. The guest's
 * writes never fail because of a point: a temporary that is full, or too slow, breaks the point
 * (reads of it fail then), not the guest.
 *
 * Bitmaps: DISK_BITMAP_COLLECT marks what the guest writes, for ever. At the instant all it has is
 * moved to DISK_BITMAP_INSTANT, in one transaction for all disks. A committed checkpoint drops the
 * latter, anything else puts it back. So the former is always at least what was written since the
 * checkpoint that the caller knows as the base, whoever dies when.
 *
 * Threads: any, one at a time.
 */
#pragma once

#include <vmckpt/disk/disk-find.h>

typedef struct _DiskPoint DiskPoint;

/*
 * What may be asked of QEMU at a time on one connection, as bytes of its answers: what a UNIX
 * socket's buffer holds (net.core.wmem_default, 208 KiB), so that QEMU never waits for the reader.
 * If it did, and the reader hung or died, everything that drains the disk would wait with it: a
 * `stop`, a reset of the device by the guest, with QEMU's big lock held, so that not even the
 * export could be taken away. The answer to a status request has 8 bytes per extent, of which there
 * may be one per granule of the bitmap, or per block of the file system (4 KiB), and per meta
 * context.
 */
#define DISK_POINT_IN_FLIGHT (128 << 10)
#define DISK_POINT_READ_BYTES (64 << 10) /* of one read: two of them in flight */
#define DISK_POINT_STATUS_BYTES                                                                    \
  (32 << 20) /* of the disk in one status request: for two contexts                                \
              */

/* A disk to be in a point. Borrowed. */
typedef struct {
  const char *name;        /* of the disk, e.g. "disk0": bounded by name_check() */
  const GuestDrive *drive; /* writable, inserted, not busy */
  gboolean incremental;    /* only what DISK_BITMAP_COLLECT says is going to be read; ignored where
                              that bitmap cannot be used */
} DiskPointDisk;

/* What to read of one disk; strings live as long as the point. */
typedef struct {
  const char *name;        /* as given */
  const char *export_name; /* of the NBD export */
  const char *bitmap;      /* (nullable): NBD meta context of what was written since the base, e.g.
                              "qemu:dirty-bitmap:vmckpt-inc"; NULL: not known, read everything */
  guint64 size;            /* bytes */
  gboolean partial;        /* only what @bitmap marks can be read; reading elsewhere fails */
} DiskPointSource;

/**
 * disk_point_new:
 * @temporary: directory for temporaries, which must be there, on a file system that has room
 * @socket: path where QEMU's NBD server is to listen; bounded by sockaddr_un
 * @disks: what is to be in the point; read only by this call
 *
 * Does nothing yet.
 */
DiskPoint *disk_point_new (QmpClient *monitor, const char *temporary, const char *socket,
                           const DiskPointDisk *disks, guint n_disks);

/* Frees @point. What it made in QEMU and was not undone stays, for disk_point_recover(). */
void disk_point_free (DiskPoint *point);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskPoint, disk_point_free)

/**
 * disk_point_prepare:
 *
 * While the guest runs: everything that can be made before. Takes back first whatever an earlier
 * point left (disk_point_recover()). On failure nothing is left.
 *
 * Returns: FALSE with DISK_ERROR (BUSY: QEMU's NBD server or a disk is in somebody's use).
 */
gboolean disk_point_prepare (DiskPoint *point, GCancellable *cancellable, GError **error);

/**
 * disk_point_instant:
 *
 * The point in time. Only while the guest is stopped: in a row of commands that are sent without
 * waiting for answers. Has to be followed by disk_point_undo() in any case, and then by
 * disk_point_commit() or disk_point_rollback(), also after a failure.
 */
gboolean disk_point_instant (DiskPoint *point, GError **error);

/* Makes the point readable over NBD; to be called once the guest runs again, or while it is stopped
 * for as long as it takes. */
gboolean disk_point_export (DiskPoint *point, GError **error);

/* Where to read it: the path of a UNIX socket. */
const char *disk_point_socket (const DiskPoint *point);

/* How many disks the point has, from 0 for disk_point_source(). */
guint disk_point_count (const DiskPoint *point);

/* Disk @index: valid after disk_point_instant(). */
const DiskPointSource *disk_point_source (const DiskPoint *point, guint index);

/**
 * disk_point_undo:
 *
 * Takes exports, filters and temporaries away, so that the guest writes as before; bitmaps are
 * left for disk_point_commit() or _rollback(). Looks at what is there, so it may be called at any
 * time, again too. To be called as soon as everything was read, or will not be.
 */
gboolean disk_point_undo (DiskPoint *point, GError **error);

/* The checkpoint is durable, and recorded as the base: what was written before it is forgotten. */
gboolean disk_point_commit (DiskPoint *point, GError **error);

/* There will be no checkpoint: what was written before the instant counts again. */
gboolean disk_point_rollback (DiskPoint *point, GError **error);

/**
 * disk_point_track:
 * @drive: writable
 *
 * Begins to collect writes (a new, empty DISK_BITMAP_COLLECT; one that is there is dropped): what
 * the disk holds now is what the caller knows as the base. While the guest is stopped.
 */
gboolean disk_point_track (QmpClient *monitor, const GuestDrive *drive, GError **error);

/**
 * disk_point_recover:
 * @temporary: (nullable): directory whose temporaries of this guest are removed
 * @socket: as for disk_point_new(): tells this guest's temporaries and NBD server
 *
 * Takes back whatever an earlier daemon left in this QEMU, bitmaps too (as disk_point_rollback()).
 * To be called before anything else is done with a guest that was found. Idempotent; does nothing
 * but ask where there is nothing.
 */
gboolean disk_point_recover (QmpClient *monitor, const char *temporary, const char *socket,
                             GError **error);
