/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is recorded about a guest's disks, and whether they are still what was recorded. */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* Fills size, time of last change and, if it is not known yet, format. DRIVER_ERROR_NOT_FOUND. */
gboolean disk_measure (GuestDisk *disk, GError **error);

/* NULL if @disk can be used again, else a sentence that says what differs; newly allocated. */
char *disk_compare (const GuestDisk *disk);
