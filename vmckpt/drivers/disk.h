/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is recorded about a guest's disks when it is started, and whether they are there as
 * recorded.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* Fills storage, size, time of last change, what the guest sees, the images behind it and, if it is
 * not known yet, format. DRIVER_ERROR. */
gboolean disk_measure (GuestDisk *disk, GError **error);

/* NULL if @disk and what is behind it are there, with the size that they had, else a sentence that
 * says what differs; newly allocated. disk-mark.h looks closer. */
char *disk_compare (const GuestDisk *disk);

/* Microseconds since 1970; 0 for what is no file. */
gint64 disk_last_change_us (const char *path);
