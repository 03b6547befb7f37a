/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Temporaries of a point in time: what a guest overwrites goes there first. Each is a file without
 * a name that QEMU gets as a descriptor, formats as qcow2 and opens, as node POINT_TEMPORARY of its
 * number (point-names.h). Nothing of it has to last: all of it goes with QEMU.
 */
#pragma once

#include <vmckpt/qmp/client.h>

/* Of one disk; borrowed. */
typedef struct {
  const char *name; /* the disk's, for messages and the file's name */
  guint64 size;     /* bytes that the guest sees */
} PointTemporary;

/* All of a point, numbered from 0; borrowed. */
typedef struct {
  QmpClient *monitor;
  const char *directory; /* where the files are made */
  const char *socket;    /* of the point: tells its files from those of other guests */
  const PointTemporary *disks;
  guint n_disks;
} PointTemporaries;

/**
 * point_temporaries_make:
 *
 * Waits for QEMU to format them, 60 s each at most. What was made by then stays after a failure:
 * disk_undo_nodes() takes it back. One thread.
 *
 * Returns: FALSE with DISK_ERROR (FAILED, STALLED), QMP_ERROR or G_IO_ERROR.
 */
gboolean point_temporaries_make (const PointTemporaries *all, GCancellable *cancellable,
                                 GError **error);

/* Removes files of the point at @socket whose names were not taken from them yet when a daemon
 * died. */
void point_temporaries_remove (const char *directory, const char *socket);
