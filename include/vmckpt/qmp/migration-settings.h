/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A QEMU that somebody else manages gets its migration settings back as they were: they are kept in
 * a file before a checkpoint changes them, so that whoever is left after a death can put them back.
 */
#pragma once

#include <vmckpt/qmp/client.h>

/**
 * qmp_migration_keep:
 * @path: written whole or not at all; one that is there stays: it has what was before
 *
 * Keeps all capabilities and max-bandwidth. FALSE with QMP_ERROR or G_FILE_ERROR.
 */
gboolean qmp_migration_keep (QmpClient *client, const char *path, GError **error);

/* Sets what differs from @path, and removes that. TRUE, too, if there is no such file. On failure,
 * such as a migration that is under way, the file stays. */
gboolean qmp_migration_put_back (QmpClient *client, const char *path, GError **error);
