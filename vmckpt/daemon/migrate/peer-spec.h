/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What another host may name when it sends a guest here: its certificate lets it run guests, and
 * not programs, nor have this host's files. docs/threat-model.md, "Who reaches the port".
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* vmckptd --guest-files unless it is given: where hosts keep images and stores that they share. */
#define PEER_FILES_DEFAULT "/var/lib/libvirt/images:/srv:/mnt"
/* Of --guest-files: other hosts are believed like this host's root. */
#define PEER_FILES_ANY "any"

/**
 * peer_path_check:
 * @files: directories, with colons between them, or PEER_FILES_ANY
 * @what: what @path is, for the message
 * @path: it need not be there yet
 *
 * Whether @path, with all links followed, is in one of the directories. API_NOT_POSSIBLE.
 */
gboolean peer_path_check (const char *files, const char *what, const char *path, GError **error);

/**
 * peer_spec_check:
 * @files: as peer_path_check()
 * @moved: (nullable): names of disks whose paths are not used here
 *
 * Of a guest as another host describes it: its program is a QEMU that root has installed, its files
 * are where they may be, and its arguments make devices and networks alone. Firmware that is only
 * read may also be in /usr/share. Any thread. API_NOT_POSSIBLE.
 */
gboolean peer_spec_check (const char *files, const GuestSpec *spec, GPtrArray *moved,
                          GError **error);
