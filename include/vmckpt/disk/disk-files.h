/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks of a checkpoint as plain files: what the guest saw, sparse. A file is there whole or not at
 * all: it is written as PATH.partial, synced, and then renamed.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/store/page-map.h>

typedef enum {
  DISK_FILE_RAW,
  DISK_FILE_QCOW2, /* without a backing file */
} DiskFileFormat;

/* "raw" or "qcow2": also the file name's end. */
const char *disk_file_format_name (DiskFileFormat format);

typedef struct {
  Store *store;     /* borrowed */
  const char *name; /* of the disk, for messages */
  PageMap map;
  const char *path; /* where the file goes; its directory exists */
  DiskFileFormat format;
  gboolean replace; /* there may be a file: the new one takes its place, owner and mode */
} DiskFile;

/**
 * disk_file_write:
 * @progress: (nullable): PHASE_READ
 *
 * Durable when this returns. A partial file that nobody writes to any more is begun anew; one that
 * somebody does is G_IO_ERROR_BUSY. Reads and writes with several threads. Any thread; blocks.
 *
 * Returns: FALSE with @error (STORE_ERROR, G_IO_ERROR: EXISTS, NO_SPACE, CANCELLED, …): then what
 * was at @file's path is there as it was, and nothing else is left.
 */
gboolean disk_file_write (const DiskFile *file, const Progress *progress, GCancellable *cancellable,
                          GError **error);

/**
 * disk_file_compare:
 * @same: (out): whether the raw file or block device at @file's path holds exactly the map's
 *   content
 *
 * Reads all of it, to the first difference.
 */
gboolean disk_file_compare (const DiskFile *file, gboolean *same, const Progress *progress,
                            GCancellable *cancellable, GError **error);

/* Whether a QEMU has the image at @path open for writing (by its locks). */
gboolean disk_file_in_use (const char *path);

/**
 * disk_file_overwrite:
 *
 * Gives the block device at @file's path the map's content, where it has another; durable when this
 * returns. Interrupted, it holds a mixture; to be called again.
 */
gboolean disk_file_overwrite (const DiskFile *file, const Progress *progress,
                              GCancellable *cancellable, GError **error);
