/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What people call a file system's place. Inside the appliance disks are /dev/sda, /dev/sdb, … in
 * the order they were added; outside they have the guest's names:
 *
 *   /dev/sda → disk0    /dev/sdb2 → disk1p2    /dev/VG/LV → VG/LV    /dev/md127 → md127
 *   btrfsvol:/dev/sda1/SUBVOLUME → disk0p1/SUBVOLUME
 */
#pragma once

#include <glib.h>

/* The name (newly allocated) of @device; @disks: the disks' names, ended by NULL. */
char *volume_name (const char *const *disks, const char *device);

/* TRUE if @volume is the disk @disk or a partition of it. */
gboolean volume_is_on_disk (const char *volume, const char *disk);
