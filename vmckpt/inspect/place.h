/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which file systems a path of the guest is looked for in. */
#pragma once

#include "appliance.h"

/* One file system, as libguestfs lists them. */
typedef struct {
  char *device; /* in the appliance */
  char *volume; /* outside: volume-name.h */
  char *type;   /* "ext4", "swap", "unknown", … */
} FileSystem;

void file_system_free (FileSystem *fs);

/* All that were found on the disks; NULL with @error. (element-type FileSystem) (transfer full) */
GPtrArray *place_list (Appliance *appliance, GError **error);

/* TRUE if it has files. */
gboolean place_has_files (const FileSystem *fs);

/**
 * place_mount:
 * @volume: (nullable): a file system, or a disk; NULL: the guest's system, or its only file system
 *
 * Mounts that place, read-only, with everything the guest's own fstab puts below it, unless it is
 * mounted already.
 *
 * Returns: FALSE with @error: NOT_FOUND, or USAGE, which names what there is to choose from.
 */
gboolean place_mount (Appliance *appliance, const char *volume, GError **error);

/* Takes away what is mounted. */
gboolean place_unmount (Appliance *appliance, GError **error);
