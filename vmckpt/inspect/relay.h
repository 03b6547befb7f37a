/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libguestfs writes to a file, taken piece by piece without a file: it is given the name of a
 * pipe's end, and a thread reads the other.
 */
#pragma once

#include <gio/gio.h>

typedef struct Relay Relay;

/* Takes the next piece, on the relay's thread. FALSE: no more is wanted. */
typedef gboolean (*RelayFunc) (const guint8 *data, gsize len, gpointer user_data);

Relay *relay_begin (RelayFunc func, gpointer user_data, GError **error);

/* The file's name, for libguestfs. */
const char *relay_name (const Relay *relay);

/* Waits until @func has got all. Returns: FALSE if it wanted no more. */
gboolean relay_end (Relay *relay);
