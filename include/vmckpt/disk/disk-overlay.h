/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A restored disk that is there at once: what the guest writes goes into an overlay, what it reads
 * and has not written comes from an export of the store, until that is swapped for a raw file.
 *
 *   device ──▶ N: qcow2 ──▶ N-export: nbd, read-only ──▶ server ──▶ store         at first
 *   device ──▶ N: qcow2 ──▶ N-backing1: raw file, read-only                       swapped
 *
 * N is the node that the guest's device has; its image names the raw file as its backing file from
 * the beginning, so that the pair is complete once the file is there, for other programs too. What
 * is so far is always asked of QEMU: nodes tell it. Nothing here begins with DISK_PREFIX, since
 * that is taken back after a checkpoint.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/qmp/client.h>

/**
 * disk_overlay_create:
 * @path: the overlay: must not exist
 * @base: absolute path of the raw file that is going to be its backing file; need not be there
 * @size: bytes that the guest sees
 *
 * Sub-clusters of 4 KiB in clusters of 128 KiB, so that the guest's small writes copy nothing.
 */
gboolean disk_overlay_create (const char *path, const char *base, guint64 size, GError **error);

/* Whether the disk of @node still reads from the export, in @on_export; also of a swap that was
 * begun and not ended. Fails with QMP_ERROR. */
gboolean disk_overlay_is_on_export (QmpClient *monitor, const char *node, gboolean *on_export,
                                    GError **error);

/**
 * disk_overlay_swap:
 * @nodes: what the disk is to be: objects as blockdev-add takes them, lowest first, with names of
 *   others in "file" and "backing"; the last one is the overlay's, which is there already
 *
 * Adds those below the overlay that are not there, puts them below it, and deletes the export's
 * node, and with it the connection to the server. While nothing else is at work on the disks; the
 * guest may run. May be called again after a failure, and after a caller that died in it.
 */
gboolean disk_overlay_swap (QmpClient *monitor, JsonArray *nodes, GError **error);
