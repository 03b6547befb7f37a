/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that makes the hashes of a guest's read-only disks known, at the lowest priority that
 * the host has for processor and disks: base images are large, and nobody waits for it. */
#pragma once

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/file-hashes.h>

typedef struct _DiskHashes DiskHashes;

/* @hashes must outlive it. NULL if @spec has no such disk. */
DiskHashes *disk_hashes_begin (const GuestSpec *spec, FileHashes *hashes);

/* Ends the thread, wherever it is, and waits for that. */
void disk_hashes_free (DiskHashes *hashes);
