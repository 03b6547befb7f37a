/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that was plugged into a guest while it ran: not in its spec, but in its state. */
#pragma once

#include <vmckpt/qmp/client.h>

#include <json-glib/json-glib.h>

/**
 * memory_devices_record:
 * @spec: a guest's spec as JSON; the arguments for QEMU that plug the same memory into the same
 * slots and addresses are appended to its `extra`, so that what is restored has it from the start
 *
 * Returns: FALSE with @error: DRIVER_ERROR_IMPOSSIBLE if something was plugged in that could not be
 * there again, like memory from a file.
 */
gboolean memory_devices_record (JsonObject *spec, QmpClient *monitor, GError **error);
