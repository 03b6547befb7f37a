/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files that a guest boots from without a disk (kernel, initrd) travel in its checkpoints, so
 * that a host that does not have them, or has others of that name, can build the guest again.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/file-hashes.h>

/* Adds the parts "kernel" and "initrd" to @manifest, as far as @spec has them. An unchanged file,
 * known by @parent's record (nullable) of size and hash, is not read again. */
gboolean boot_files_store (StoreWriter *writer, const GuestSpec *spec, const Manifest *parent,
                           Manifest *manifest, GError **error);

/* Makes @spec's kernel and initrd those of @manifest: the recorded paths where they hold what was
 * recorded, else files in @directory taken from the store. @hashes: (nullable). */
gboolean boot_files_provide (Store *store, const Manifest *manifest, const char *directory,
                             FileHashes *hashes, GuestSpec *spec, GError **error);
