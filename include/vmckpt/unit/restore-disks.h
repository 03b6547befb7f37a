/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks of a checkpoint for a guest that is restored: where their files go, and what is there
 * before the guest runs.
 *
 *   plan    which file each disk has; the spec names them from here on; nothing is touched
 *   write   overlays on an export (at once), or whole files (eager, in place)
 *   remove  after a failure: what was made goes
 */
#pragma once

#include <vmckpt/disk/disk-files.h>
#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/unit/unit.h>

typedef enum {
  RESTORE_DISKS_AT_ONCE,  /* overlays on the export: there before any content is */
  RESTORE_DISKS_EAGER,    /* whole files first */
  RESTORE_DISKS_IN_PLACE, /* whole files, in place of those that the guest had */
  RESTORE_DISKS_AS_LEFT,  /* those that the guest had, which hold what they should */
} RestoreDisksWay;

struct _RestoreDisksOptions {
  RestoreDisksWay way;
  DiskFileFormat format; /* of whole files */
  const char *directory; /* where new files go; exists when they are written */
  const char *prefix;    /* (nullable): of the names of the guest's own files there; what is below
                            overlays has none, so that several guests share it */
  const char *socket;    /* of the server that exports the disks by name; for AT_ONCE */
  GHashTable *paths;     /* (nullable): by a disk's name, where that disk is, or is to be */
};

typedef struct {
  char *name;
  PageMap map;
  char *path;         /* what the guest has */
  char *base;         /* (nullable): below the overlay at @path, to come */
  char *format;       /* of @path */
  gboolean is_device; /* @path is a block device, which is written to and never removed */
  gboolean made;
} RestoredDisk;

struct _RestoreDisks {
  RestoreDisksWay way;
  GPtrArray *disks; /* of RestoredDisk: those that are in the checkpoint */
};

/* Frees @disks; files stay. */
void restore_disks_free (RestoreDisks *disks);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (RestoreDisks, restore_disks_free)

/* Whether @manifest has disks that can come from an export while the guest runs. */
gboolean restore_disks_has_any (const Manifest *manifest);

/**
 * restore_disks_plan:
 * @spec: (inout): of @manifest; its disks get the paths that they have here
 *
 * Flash memory is always a whole file: QEMU reads it at its start. Disks that are not in the
 * checkpoint stay where they are, or where @options maps them.
 *
 * Returns: NULL with DRIVER_ERROR_INVALID (a mapped disk that the guest does not have), or
 * STORE_ERROR_DAMAGED (a disk that should be in the checkpoint is not).
 */
RestoreDisks *restore_disks_plan (const Manifest *manifest, GuestSpec *spec,
                                  const RestoreDisksOptions *options, GError **error);

/* FALSE with G_IO_ERROR_EXISTS if there is a file already where one is to be made. */
gboolean restore_disks_check (const RestoreDisks *disks, GError **error);

/**
 * restore_disks_write:
 *
 * Everything that has to be there before QEMU starts, durable. Never replaces a file, but for
 * IN_PLACE. On failure what was made is removed again. @watcher: PHASE_REBUILD.
 */
gboolean restore_disks_write (RestoreDisks *disks, Store *store, const UnitWatcher *watcher,
                              GError **error);

/* Removes what restore_disks_write() made new. */
void restore_disks_remove (RestoreDisks *disks);

/**
 * restore_disks_cut_loose:
 * @spec: (inout): disk @name has its raw file @base below it from now on, not the export
 *
 * The node graph is disk_overlay_swap()'s business.
 */
void restore_disks_cut_loose (GuestSpec *spec, const char *name, const char *base);
