/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks of one checkpoint, all of the instant at which its RAM is captured:
 *
 *   prepare   the disks are found, temporaries made          ┐ the guest runs
 *   instant   bitmaps turned, what is overwritten is kept    ← it stands still
 *   copy      what was written goes into the store           ┐ the guest runs
 *   finish    QEMU is as it was; bitmaps are settled         ┘
 *
 * Any step may be left out from where one failed; finish always comes.
 */
#pragma once

#include <vmckpt/disk/disk-base.h>
#include <vmckpt/disk/disk-error.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/writer.h>

typedef struct _DiskCapture DiskCapture;

/* A disk that is to be captured. Borrowed. */
typedef struct {
  const char *name; /* of its part: "disk0", … */
  const char *node; /* its node, or its device's id or QOM path (disk_find_drive()) */
} DiskWanted;

/* What a capture works on. Everything is borrowed. */
typedef struct {
  QmpClient *monitor;
  const char *socket;    /* path where QEMU is to serve them meanwhile; copied */
  const char *temporary; /* a directory with room for what the guest overwrites meanwhile */
  StoreWriter *writer;
  Store *store;           /* that @writer writes to */
  const DiskBase *base;   /* (nullable): what the bitmaps are relative to */
  const Manifest *parent; /* (nullable): whose disks a disk is compared with that is read whole */
  const Progress *progress;
  GCancellable *cancellable;
  /* (nullable): told why, when a disk is read whole that could have been known */
  void (*message) (const char *text, gpointer user_data);
  gpointer message_data;
} DiskCaptureContext;

/* What one disk cost. */
typedef struct {
  char *name;
  guint64 bytes;       /* the guest sees */
  guint64 dirty_bytes; /* of these were written since the base; all, if it was read whole */
  guint64 read_bytes;  /* of these were read, the rest being known zeros */
  PageMapStats pages;
  char *whole; /* (nullable): why it was read whole; NULL: only what was written was read */
} DiskReport;

/**
 * disk_capture_new:
 * @context: must outlive it
 * @wanted: @count disks, in the order of their parts
 *
 * Does nothing yet.
 */
DiskCapture *disk_capture_new (const DiskCaptureContext *context, const DiskWanted *wanted,
                               guint count);

/* After disk_capture_finish(). */
void disk_capture_free (DiskCapture *capture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskCapture, disk_capture_free)

/* Everything that can fail or takes time, while the guest runs. DISK_ERROR says which disk cannot
 * be captured now and why. Again, after an attempt that failed later: that one is taken back
 * first. */
gboolean disk_capture_prepare (DiskCapture *capture, GError **error);

/* To be called while the guest is stopped, once after each disk_capture_prepare(); it may run when
 * this returns. Milliseconds. */
gboolean disk_capture_instant (DiskCapture *capture, GError **error);

/**
 * disk_capture_copy:
 * @manifest: (inout): gets a part of role `disk` for each
 *
 * Reads and stores, then takes out of QEMU what the instant put there, but for the bitmaps. Blocks
 * for as long as it takes.
 */
gboolean disk_capture_copy (DiskCapture *capture, Manifest *manifest, GError **error);

/**
 * disk_capture_finish:
 * @committed: the checkpoint is durable, and so is that the bitmaps' base is this one; else the
 *   bitmaps name again what was written since the base before
 *
 * Takes back what may still be in QEMU. Where it cannot be (QEMU does not answer) a message says
 * so, and the next capture or daemon does it. Idempotent.
 */
void disk_capture_finish (DiskCapture *capture, gboolean committed);

/* Of all disks, in order, as far as they were captured; borrowed. (element-type DiskReport) */
const GPtrArray *disk_capture_reports (const DiskCapture *capture);
