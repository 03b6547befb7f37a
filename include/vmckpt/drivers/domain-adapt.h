/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libvirt domain's description for another place, or for another guest of the same kind. What the
 * guest sees of its machine stays, or its saved devices would not fit; what changes is the host's
 * side, and who the guest is.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* What changes; everything is borrowed, and NULL where it stays. */
typedef struct {
  const char *name;
  /* A guest of its own beside the original: this is its UUID; MAC addresses (52:54:00:…) and the
   * generation id are made from it, so that a live and an inactive description get the same.
   * Files, sockets and ports that two guests cannot both have become its own. */
  const char *new_uuid;
  const char *emulator;
  const GPtrArray *disks; /* of GuestDisk, by the names of their targets: where they are */
  GHashTable *paths;      /* of the host: files and directories, old to new */
} DomainChanges;

/**
 * domain_adapt:
 * @xml: a description, live or inactive
 * @notes: (nullable) (inout) (element-type utf8): gets sentences about what was changed for
 * @changes->new_uuid beside its identity
 *
 * Returns: (transfer full): the description; NULL with DRIVER_ERROR_INVALID, or _IMPOSSIBLE: a
 * second guest cannot have what the first one has (a device of the host).
 */
char *domain_adapt (const char *xml, const DomainChanges *changes, GPtrArray *notes,
                    GError **error);
