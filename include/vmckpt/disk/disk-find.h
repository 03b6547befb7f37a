/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What QEMU has as drives: which block node is at the top of each, which device it belongs to, and
 * whether somebody else is at work on it. Asked anew for every checkpoint: nodes change when other
 * tools make overlays or pivot, and a name that was right at the start proves nothing later.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/qmp/client.h>

/* Everything that we make in QEMU's block layer has a name that begins so. */
#define DISK_PREFIX "vmckpt-"

/* The bitmap that collects what the guest writes, on the drive's node. */
#define DISK_BITMAP_COLLECT DISK_PREFIX "acc"
/* What was written up to the instant of a checkpoint that is not committed yet. */
#define DISK_BITMAP_INSTANT DISK_PREFIX "inc"

/* A dirty bitmap as query-named-block-nodes tells it. */
typedef struct {
  gboolean there;
  gboolean recording, busy, inconsistent;
  guint64 granularity; /* bytes */
  guint64 count;       /* bytes that are marked */
} DriveBitmap;

/* A drive as QEMU has it now; strings are owned. */
typedef struct {
  char *qdev;        /* (nullable): QOM path of the device that has the property `drive` */
  char *device;      /* (nullable): the device's id as the command line gave it */
  char *node;        /* (nullable): node at the top, the user's; NULL: the drive is empty */
  char *format;      /* (nullable): "raw", "qcow2", … */
  char *filename;    /* (nullable): as QEMU says it: a path, a URI or "json:{…}" */
  guint64 size;      /* bytes that the guest sees */
  gboolean inserted; /* FALSE: an empty drive */
  gboolean read_only;
  gboolean removable;
  gboolean iothread; /* the device is served by a thread of its own */
  gboolean filtered; /* a copy-before-write filter of ours is above @node */
  char *busy; /* (nullable): why it cannot be captured now: another's job or export, in words */
  DriveBitmap collect; /* DISK_BITMAP_COLLECT on @node */
  DriveBitmap instant; /* DISK_BITMAP_INSTANT on @node */
} GuestDrive;

/* Frees @drive. */
void guest_drive_free (GuestDrive *drive);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestDrive, guest_drive_free)

/**
 * disk_find:
 *
 * All drives of the guest, pflash among them, in no particular order. Also while the guest runs;
 * takes a few round trips. Any thread.
 *
 * Returns: (transfer full): of GuestDrive; NULL with @error (QMP_ERROR).
 */
GPtrArray *disk_find (QmpClient *monitor, GError **error);

/* The drive among @drives whose node is @node or whose device has the id @node, or whose QOM path
 * is @node; borrowed; NULL: none. */
GuestDrive *disk_find_drive (GPtrArray *drives, const char *node);

/**
 * disk_wait_idle:
 * @timeout_ms: how long, milliseconds
 *
 * Waits until nobody else is at work on the drive of @node (block jobs end by themselves).
 *
 * Returns: FALSE with DISK_ERROR_BUSY, naming the job, if that did not happen in time.
 */
gboolean disk_wait_idle (QmpClient *monitor, const char *node, int timeout_ms,
                         GCancellable *cancellable, GError **error);
