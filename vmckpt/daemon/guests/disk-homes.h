/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directories below RUNTIME/disks: each restore has one, and forks of one call share theirs,
 * with files that are below the overlays of all. @disks is RUNTIME/disks everywhere here.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* A new directory for the disks of a guest of that name: DISKS/NAME, or NAME.2 …. Newly allocated;
 * NULL with @error. */
char *disk_home_make (const char *disks, const char *name, GError **error);

/* TRUE if @path (nullable) is below @disks. */
gboolean disk_home_has (const char *disks, const char *path);

/* Disk files of a guest that are there: what it wrote, and what is below that. (transfer full)
 * (element-type filename) */
GPtrArray *disk_home_files (const char *disks, const GuestSpec *spec);

/* TRUE if a guest's overlay is in @home: it needs the files that are below those of all. */
gboolean disk_home_has_overlays (const char *home);

/* Removes the files that the guest itself wrote to. */
void disk_home_remove_own (const char *disks, const GuestSpec *spec);

/* Removes those of @files (from disk_home_files()) that no other guest's overlay needs, and
 * directories that are empty then. */
void disk_home_remove_shared (const char *disks, GPtrArray *files);
