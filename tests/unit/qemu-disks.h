/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A real QEMU with disks, without a guest: what a guest would write is written by hand. */
#pragma once

#include "qemu-process.h"

#include <vmckpt/disk/disk-find.h>

#define QEMU_DISKS_BYTES (8 << 20) /* of each disk */

typedef struct {
  QemuProcess qemu;
  QmpClient *monitor;
  char *dir;    /* of its own, removed with it, and all files in it */
  char *socket; /* for an NBD server, in there; not there yet */
} QemuDisks;

/**
 * qemu_disks_start:
 * @program: QEMU's
 * @disks: lines of "NODE FORMAT DEVICE", e.g. "disk0 raw virtio-blk-pci,id=vd0"; each gets an image
 *   with zeros
 * @more: further arguments
 *
 * Starts it, stopped.
 */
QemuDisks qemu_disks_start (const char *program, const char *const *disks, const char *more);

void qemu_disks_end (QemuDisks *guest);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QemuDisks, qemu_disks_end)

/* Path of a file in its directory; newly allocated. */
char *qemu_disks_file (const QemuDisks *guest, const char *name);

/* Runs a command that must not fail; @json: (transfer full) (nullable): its arguments. */
JsonNode *qemu_disks_do (const QemuDisks *guest, const char *command, char *json);

/* Writes as the guest would, to the drive of @node, through whatever is above it. */
void qemu_disks_write (const QemuDisks *guest, const char *node, guint8 pattern, guint64 offset,
                       guint64 length);

/* What is in the raw image of @node: whether all of the range is @pattern. */
gboolean qemu_disks_holds (const QemuDisks *guest, const char *node, guint8 pattern, guint64 offset,
                           guint64 length);

/* Saves it as a checkpoint's migration does, which takes the images from QEMU. */
void qemu_disks_migrate (const QemuDisks *guest);

/* The drive of @node as it is now; the caller frees it. */
GuestDrive *qemu_disks_drive (const QemuDisks *guest, const char *node);

/* Fails the test unless QEMU has nothing of ours but, perhaps, DISK_BITMAP_COLLECT, and no file of
 * ours is left. */
void qemu_disks_check_clean (const QemuDisks *guest);
