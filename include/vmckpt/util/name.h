/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names that people give: guests and tags. They become file names, so they are bounded here. */
#pragma once

#include <gio/gio.h>

#define NAME_MAX_LENGTH 48

/**
 * name_check:
 * @name: a guest's name or a tag
 * @what: "guest name" or "tag", for the message
 *
 * A name has 1 to 48 characters of A–Z a–z 0–9 . _ - and begins with a letter or digit.
 *
 * Returns: FALSE with @error (G_IO_ERROR_INVALID_ARGUMENT).
 */
gboolean name_check (const char *name, const char *what, GError **error);
