/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's disk as QEMU has it: block nodes, and the device that the guest sees.
 *
 *   device N ──▶ node N ──▶ node N-file        N is the disk's name
 *                  │ backing
 *                  ▼
 *                N-backing1 ──▶ N-backing1-file, N-backing2 ──▶ …
 *
 * An image behind a disk that is an NBD export is one node, N-export, whatever its depth is.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* What a guest waits for an NBD server that is gone, in seconds; a `stop` of QEMU takes as long. */
#define QEMU_DISK_RECONNECT 5

/**
 * qemu_disk_nodes:
 *
 * Returns: (transfer full): what -blockdev or blockdev-add takes for each node, each with names of
 * others instead of nested nodes, in an order in which they can be made: the last one is the disk's
 * own. Empty for an empty drive.
 */
JsonArray *qemu_disk_nodes (const GuestDisk *disk);

/* How many disks of DISK_BUS_IDE a machine of this (versioned) type has room for. */
guint qemu_disk_ide_ports (const char *machine);

/**
 * qemu_disk_check:
 *
 * What cannot be, whatever the files hold: too many disks for a controller, read-only on a bus
 * that knows no such thing.
 *
 * Returns: FALSE with DRIVER_ERROR_INVALID. @spec's machine type is the versioned one.
 */
gboolean qemu_disk_check (const GuestSpec *spec, GError **error);

/* QEMU's arguments for all disks of @spec, whose names and formats are known: objects, nodes and
 * devices; each newly allocated, added to @args. */
void qemu_disk_arguments (const GuestSpec *spec, GPtrArray *args);

/* ",pflash0=…,pflash1=…" for -machine as far as @spec has such; newly allocated. */
char *qemu_disk_machine_options (const GuestSpec *spec);
