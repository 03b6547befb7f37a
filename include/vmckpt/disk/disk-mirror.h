/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks of a guest that goes to another host, copied by QEMU while it runs: the destination's
 * QEMU serves its empty files over NBD, the source's mirrors into them, and every write of the
 * guest goes to both from the moment a copy is complete. When the guest has been stopped, both are
 * equal.
 *
 *   destination   disk_mirror_make_file(), disk_mirror_serve() … disk_mirror_unserve()
 *   source        disk_mirror_begin(), _wait() … stopped: disk_mirror_finish()    or _undo()
 *
 * What is made in QEMU has names that begin with "vmckpt-". Any thread; all block.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/util/progress.h>

/* An empty image at @path, which must not be there, of @bytes as the guest sees them. */
gboolean disk_mirror_make_file (const char *path, gboolean qcow2, guint64 bytes, GError **error);

/**
 * disk_mirror_serve:
 * @socket: (nullable): path of a UNIX socket to serve at, or
 * @address: (nullable): address of this host, at a free port of which is served
 * @tls: (nullable): directory of certificates
 * @names: (element-type utf8): of the disks, which are nodes of these names
 *
 * Returns: "unix:PATH" or "tcp:ADDRESS:PORT", newly allocated; NULL with @error.
 */
char *disk_mirror_serve (QmpClient *monitor, const char *socket, const char *address,
                         const char *tls, const GPtrArray *names, GError **error);
/* Ends that. */
void disk_mirror_unserve (QmpClient *monitor);

/* Begins to copy the disks @names to where @uri says that they are served; as disk_mirror_serve().
 * @tls_host: (nullable): the name in the server's certificate. On failure nothing is left. */
gboolean disk_mirror_begin (QmpClient *monitor, const char *uri, const char *tls,
                            const char *tls_host, const GPtrArray *names, GError **error);

/* Until all of them are equal, and stay so. @progress: (nullable): PHASE_DISKS. */
gboolean disk_mirror_wait (QmpClient *monitor, const GPtrArray *names, const Progress *progress,
                           GCancellable *cancellable, GError **error);

/* The guest is stopped: the copies are complete, and cut off. FALSE if one of them is not. */
gboolean disk_mirror_finish (QmpClient *monitor, const GPtrArray *names, GError **error);

/* Takes away whatever of this is in QEMU. Idempotent; for the next daemon, too. */
void disk_mirror_undo (QmpClient *monitor);
