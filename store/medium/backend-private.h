/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the backends share. */
#pragma once

#include <vmckpt/store/backend.h>

/* An object's name: components of letters, digits, '.', '_', '-', none beginning with a dot,
 * between single slashes. FALSE with @error (G_IO_ERROR_INVALID_FILENAME). */
gboolean backend_name_valid (const char *name, GError **error);

/* A prefix to list: "" or a name and a slash. */
gboolean backend_prefix_valid (const char *prefix, GError **error);

/* Checks a range to read of an object of @size bytes; @len: (inout): G_MAXSIZE becomes the rest. */
gboolean backend_check_range (const char *name, guint64 size, guint64 offset, gsize *len,
                              GError **error);
