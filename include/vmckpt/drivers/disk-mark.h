/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a checkpoint says about disks that it does not contain, so that a restore notices that they
 * are no longer what its guest left: the guest's caches in RAM would not fit them.
 *
 * - shared, a file: size and time of last change (ns), at the instant, flushed. Device and inode
 * are no part, since they differ on another host. A change within the grain of the file system's
 *   clock (4 ms) after the instant is not noticed.
 *
 * - shared, a block device: size, and SHA-256 of a sample: the first 64 KiB, 16 KiB at 1 MiB, where
 *   partitions begin, and 16 blocks of 4 KiB spread over the rest. It shows another disk, or a file
 *   system that was mounted since; not every write.
 *
 * - shared, NBD: nothing.
 *
 * - readonly: size and time of last change, at the start; if the time differs, SHA-256, which is
 *   computed in the background (disk-hashes.h) and recorded once it is known. Of firmware the size
 *   alone: its content is in the guest's RAM.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/file-hashes.h>

/**
 * disk_mark_take:
 * @disk: of any mode
 *
 * Of a file: no I/O. Of a block device: 18 short reads past the page cache.
 *
 * Returns: (nullable): text, newly allocated; NULL without @error where there can be none, with
 * @error (G_IO_ERROR) where it cannot be read.
 */
char *disk_mark_take (const GuestDisk *disk, GError **error);

/**
 * disk_marks_record:
 * @machine: (inout): a checkpoint's record of the machine, not shared with others; gets the marks
 * of the shared disks of @spec in its member "disks"
 *
 * To be called while the guest is stopped and its disks are flushed.
 */
gboolean disk_marks_record (const GuestSpec *spec, JsonObject *machine, GError **error);

/* Likewise the hashes of read-only ones as far as @hashes knows them; at any time, no I/O. */
void disk_hashes_record (const GuestSpec *spec, FileHashes *hashes, JsonObject *machine);

/**
 * disk_mark_compare:
 * @machine: as recorded
 * @disk: where it is now; not a captured one
 *
 * Reads all of a read-only disk whose time of last change is another one, if @hashes does not know
 * it.
 *
 * Returns: NULL if the guest can go on with @disk, else a sentence that says what it was and what
 * it is; newly allocated.
 */
char *disk_mark_compare (JsonObject *machine, const GuestDisk *disk, FileHashes *hashes);
