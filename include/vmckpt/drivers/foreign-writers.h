/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who writes to a guest's RAM beside its QEMU. Write-protection is of QEMU's address space: another
 * process that maps the same file (vhost-user back ends), a device that was given the pages (vDPA,
 * VFIO, user-space NVMe), or a kernel that has pinned them (vhost-scsi, SG_IO of scsi-block) writes
 * past it. The kernel's own vhost-net and vhost-vsock do not: they write through QEMU's page
 * tables. Direct I/O of QEMU's disks is seen by the object that is loaded into it.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/qmp/client.h>

typedef enum {
  WRITERS_NONE,
  WRITERS_STOP, /* they stand still while the guest does: contents have to be compared, no more */
  WRITERS_FREE, /* they go on while the guest is stopped: there is no instant to be captured */
} ForeignWriters;

/**
 * qemu_foreign_writers:
 * @writers: (out): the worst that there is
 * @reason: (out) (nullable): names all of them, newly allocated; NULL for WRITERS_NONE
 *
 * Asks QEMU for its devices, network back ends and block drivers, which takes a few milliseconds;
 * devices may be plugged in at any time.
 *
 * Returns: FALSE with @error (QMP_ERROR) if QEMU does not say.
 */
gboolean qemu_foreign_writers (QmpClient *monitor, ForeignWriters *writers, char **reason,
                               GError **error);
