/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes back what a point in time made in QEMU, by looking at what is there: whoever made it may be
 * dead, at any step. Everything here may be called at any time, and again.
 */
#pragma once

#include <vmckpt/disk/disk-find.h>

/**
 * disk_undo_nodes:
 * @socket: where QEMU's NBD server listens if it is ours
 *
 * Exports first: QEMU before 8 must not see a client vanish from one that lives (disk-point.h).
 * Then the server, the filters, the temporaries. Bitmaps stay.
 */
gboolean disk_undo_nodes (QmpClient *monitor, const char *socket, GError **error);

/* Settles bitmaps, of all disks at once: what was written before the instant is forgotten
 * (@committed) or counts again. */
gboolean disk_undo_bitmaps (QmpClient *monitor, gboolean committed, GError **error);
