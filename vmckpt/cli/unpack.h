/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory out of a tar stream that somebody hostile may have made. Nothing is ever written
 * outside: names with "..", absolute names and what would go through a symbolic link are refused.
 * Files belong to who runs this, without set-id bits; devices, fifos and sockets are left out.
 *
 * It is unpacked under a hidden name beside its place, and appears whole or not at all.
 */
#pragma once

#include <gio/gio.h>

typedef struct Unpack Unpack;

/**
 * unpack_begin:
 * @path: the directory that is to be made; CLI_ERROR_CONFLICT if something is there
 *
 * Returns: NULL with @error.
 */
Unpack *unpack_begin (const char *path, GError **error);

/* Removes what was unpacked, unless it was finished. */
void unpack_free (Unpack *unpack);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Unpack, unpack_free)

/* The next piece of the stream. FALSE with @error: the stream is bad or the disk full. */
gboolean unpack_write (Unpack *unpack, gconstpointer data, gsize len, GError **error);

/* After the last piece: gives it its name. @left_out: (out): how many special files were. */
gboolean unpack_finish (Unpack *unpack, guint *left_out, GError **error);
