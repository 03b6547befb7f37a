/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a guest left its disks: DISKS/left/UUID.json, written when its QEMU has gone and its files
 * are closed. As long as they look the same, by device, inode, size and time of last change of
 * every file, they hold what the guest last had; after a suspend, what its checkpoint has. So they
 * may be used, or replaced, without reading them.
 */
#pragma once

#include "runtime.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/unit/restore-disks.h>

/* @store, @checkpoint: (nullable): a suspend's, whose content the disks have. Failures are logged:
 * then the disks are not known to be as they were left. */
void disks_left_note (const Runtime *runtime, const GuestSpec *spec, const char *store,
                      const char *checkpoint);

/* The guest is about to run: its disks are its own again. */
void disks_left_forget (const Runtime *runtime, const char *uuid);

/**
 * disks_left_as_suspended:
 *
 * Whether the disks of @spec, as @manifest recorded it, hold what @manifest has. Block devices do
 * not tell when they were written, so they are compared.
 *
 * Returns: NULL if they do, else why not (newly allocated).
 */
char *disks_left_as_suspended (const Runtime *runtime, const GuestSpec *spec, Store *store,
                               const Manifest *manifest, const UnitWatcher *watcher);

/* Whether the files that @disks, planned for RESTORE_DISKS_IN_PLACE, would replace hold what the
 * checkpoint or its guest has left. FALSE with API_CONFLICT that names the first that does not. */
gboolean disks_left_check_in_place (const Runtime *runtime, const char *uuid,
                                    const RestoreDisks *disks, Store *store,
                                    const UnitWatcher *watcher, GError **error);
