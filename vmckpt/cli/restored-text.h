/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A restored guest, as people read of it, and what restore and resume have in common. */
#pragma once

#include "cli.h"

/* Prints the guest's name (@fallback if the result has none) and how it came back; with --json the
 * object. */
void restored_print (Cli *cli, JsonObject *result, const char *fallback);

/* Sets "sync_time" by the value (nullable) of --sync-time; FALSE with @error (CLI_ERROR_USAGE). */
gboolean restored_set_sync_time (JsonObject *body, const char *value, GError **error);
