/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process as a member of a record: {"pid":P,"start_ticks":T}. */
#pragma once

#include <vmckpt/util/process.h>

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* Adds @id to @object as @member. */
void process_json_add (JsonObject *object, const char *member, ProcessId id);

/* Reads what process_json_add() wrote, whoever may have changed it since. FALSE with
 * G_IO_ERROR_INVALID_DATA that names what is missing. */
gboolean process_json_get (JsonObject *object, const char *member, ProcessId *id, GError **error);
