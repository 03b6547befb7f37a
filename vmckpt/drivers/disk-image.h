/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an image's header says, as `qemu-img info` reads it: its size for a guest, and the chain of
 * images behind it. Asked once, when a guest is started, before the guest could write anything;
 * recorded from then on. No image is opened in a format that was guessed from bytes that a guest
 * may have written: an overlay has to say the format of what is behind it.
 */
#pragma once

#include <vmckpt/drivers/guest-disk.h>

/**
 * disk_image_read:
 * @disk: (inout): path, storage and format are known; gets virtual_size and backing
 *
 * DRIVER_ERROR_NOT_FOUND for an image that is not there (or no qemu-img is), _INVALID for one that
 * says something that cannot be (more than GUEST_DISK_LAYERS_MAX images), _IMPOSSIBLE for one that
 * is encrypted, damaged, or keeps its data in another file.
 */
gboolean disk_image_read (GuestDisk *disk, GError **error);

/* What is at @path; FALSE with errno if it is neither a file nor a block device. @size: (out). */
gboolean disk_storage_of (const char *path, DiskStorage *storage, guint64 *size);
