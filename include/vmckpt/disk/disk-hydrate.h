/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cutting restored disks loose from the store while their guest runs: a thread writes the raw base
 * of one disk after another (disk-files.h), in the background, and has each swapped for the export
 * that the disk reads from so far (disk-overlay.h).
 *
 * What is done needs no record: a base that is there is complete, and which disks still read from
 * the export is asked of QEMU. So whoever takes a guest over makes a new DiskHydrate of the disks
 * that do.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/store/page-map.h>

typedef struct _DiskHydrate DiskHydrate;

/* A disk; borrowed. */
typedef struct {
  const char *name; /* of the disk and its node */
  const char *base; /* path of the raw file */
  PageMap map;
} DiskHydrateDisk;

typedef struct {
  Store *store; /* a reference is taken */
  const DiskHydrateDisk *disks;
  guint n_disks;
  /* Swaps the base of disk @name in. Called on the thread, where it may wait until nothing else is
   * at work on the guest; FALSE: it is tried again after a while. */
  gboolean (*swap) (const char *name, const char *base, GCancellable *cancellable,
                    gpointer user_data, GError **error);
  /* (nullable): all disks are cut loose (@reason NULL), or it cannot go on for now, which is told
   * once of each disk; on the thread. */
  void (*ended) (const GError *reason, gpointer user_data);
  gpointer user_data;
} DiskHydrateSetup;

/* Does nothing yet. */
DiskHydrate *disk_hydrate_new (const DiskHydrateSetup *setup);

/* Any thread. */
DiskHydrate *disk_hydrate_ref (DiskHydrate *hydrate);
/* NULL is ignored. Does not stop the thread: disk_hydrate_stop() does. */
void disk_hydrate_unref (DiskHydrate *hydrate);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskHydrate, disk_hydrate_unref)

/* Begins; FALSE if it has begun. */
gboolean disk_hydrate_run (DiskHydrate *hydrate);

/* Ends the thread and waits for it; what it was writing is removed. `swap` and `ended` are not
 * called any more. Not from one of these. */
void disk_hydrate_stop (DiskHydrate *hydrate);

/* After a failure: goes on at once, from @store (nullable: as before) opened anew. */
void disk_hydrate_retry (DiskHydrate *hydrate, Store *store);

typedef struct {
  guint64 bytes; /* of all its disks, as their guest sees them */
  guint64 done;  /* of these: in files, or zeros */
  gboolean complete;
} DiskHydrateStatus;

/* @status: (out): how far it is; without the store or QEMU being asked. Any thread. */
void disk_hydrate_status (DiskHydrate *hydrate, DiskHydrateStatus *status);

/* Waits until all disks are cut loose. FALSE with @error if that cannot be, or when cancelled.
 * @progress: (nullable): PHASE_READ. Any thread. */
gboolean disk_hydrate_wait (DiskHydrate *hydrate, const Progress *progress,
                            GCancellable *cancellable, GError **error);
