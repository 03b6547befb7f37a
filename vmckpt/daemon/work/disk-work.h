/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disks of a guest that is being restored, if it has any: places, files, and what is left of
 * them if it does not come up. */
#pragma once

#include "restore.h"

/* All zero but for @runtime and @uuid, which are borrowed. */
typedef struct {
  const Runtime *runtime;
  const char *uuid; /* of the guest */
  RestoreDisksOptions options;
  RestoreDisks *planned; /* restore_disks_plan()'s, by whoever restores */
  char *home, *socket;
  Hydration *hydration; /* (nullable): to be run when the guest runs */
} DiskWork;

/* Removes what was made for a guest that did not come up: unless `hydration` was taken out. */
void disk_work_clear (DiskWork *work);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (DiskWork, disk_work_clear)

/* Where they go: fills in `options`; nothing is made but a directory. */
gboolean disk_work_choose (DiskWork *work, Daemon *daemon, const Manifest *manifest,
                           const RestoreRequest *wish, const char *name, GError **error);

/* What is planned is there when this returns TRUE. */
gboolean disk_work_write (DiskWork *work, Request *request, Guest *guest, Store *store,
                          const Manifest *manifest, GError **error);

/* The guest is about to run: they are its own from here on. RestoreOptions' before_run. */
gboolean disk_work_note_run (gpointer work, GError **error);
