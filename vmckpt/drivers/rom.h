/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The firmware and option ROM files that a QEMU loaded. */
#pragma once

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/drivers/qemu-facts.h>
#include <vmckpt/qmp/client.h>

#define ROM_MAX_COUNT 64

/* Names of the files in the text that the monitor's "info roms" prints: those that QEMU reads from
 * its data directories, not the tables it makes itself. At most ROM_MAX_COUNT. */
GStrv rom_parse_names (const char *text);

/**
 * rom_record:
 * @spec: how the guest was started
 * @facts: (nullable)
 *
 * Asks QEMU which ROMs it loaded, and looks them up in its data directories.
 *
 * Returns: array of { "name", "path", "size", "sha256" }; the last three are absent for a file that
 * is not found.
 */
JsonArray *rom_record (const GuestSpec *spec, QmpClient *monitor, QemuFacts *facts, GError **error);

/* Adds size and SHA-256 of @path to @object. FALSE with @error (G_IO_ERROR). @hashes: (nullable).
 */
gboolean file_record (FileHashes *hashes, const char *path, JsonObject *object, GError **error);
