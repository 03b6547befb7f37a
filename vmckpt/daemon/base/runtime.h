/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runtime directory: one daemon's place, and so one "host".
 *
 *   RUNTIME/lock            held (flock) while a daemon serves this directory
 *   RUNTIME/api.sock        the API
 *   RUNTIME/vmckptd.log     standard error of a daemon that the command line started
 *   RUNTIME/guests/NAME/    one per guest (vmckpt/keeper/keeper.h names the files)
 *   RUNTIME/nbd/NUMBER/     one per `vmckpt nbd` (disk-exports.c)
 *   RUNTIME/files/          boot files taken out of stores for restored guests
 *
 * and the disks directory, which must not be in memory and survives a boot:
 *
 *   DISKS/temporary/        what guests overwrite while their disks are read
 *   DISKS/NAME/, NAME.2/ …  disks of restored guests; they stay when the guest ends
 *   DISKS/left/UUID.json    how a suspended guest left its disks
 */
#pragma once

#include <gio/gio.h>

#include <vmckpt/drivers/qemu-facts.h>
#include <vmckpt/util/fd.h>

/* What outlives a boot, of the system's default daemon: disks/, and the store where no other is
 * named. Each of them is closed to others by itself. */
#define RUNTIME_STATE_DIRECTORY "/var/lib/vmckpt"

typedef struct {
  char *path;    /* absolute */
  char *guests;  /* PATH/guests */
  char *files;   /* PATH/files */
  char *disks;   /* the disks directory, absolute; made when it is needed */
  char *socket;  /* PATH/api.sock */
  char *host;    /* host name */
  char *boot_id; /* of this boot */
  AutoFd lock;
  QemuFacts *facts; /* what was found out about this host's QEMUs and files */
} Runtime;

void runtime_free (Runtime *runtime);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Runtime, runtime_free)

/**
 * runtime_open:
 * @path: the directory, made with mode 0700 if absent
 * @disks: (nullable): the disks directory; NULL: /var/lib/vmckpt/disks or
 *   $XDG_STATE_HOME/vmckpt/disks for the user's default runtime directory, PATH/disks for another
 *
 * Waits for a daemon that is ending or dying.
 *
 * Returns: NULL with @error; API_CONFLICT if another daemon serves it.
 */
Runtime *runtime_open (const char *path, const char *disks, GError **error);

/* The runtime directory where none is named; newly allocated. */
char *runtime_default_path (void);

/* DISKS/temporary, made if absent; newly allocated, NULL with @error. */
char *runtime_temporary_directory (const Runtime *runtime, GError **error);

/* The directory of guest @name; newly allocated. */
char *runtime_guest_directory (const Runtime *runtime, const char *name);
