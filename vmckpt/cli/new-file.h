/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file that appears whole or not at all: written without a name, or under a hidden one beside its
 * place where the file system has no files without names, made durable, then given its name.
 * Readable by its owner only: a guest's memory holds secrets.
 */
#pragma once

#include <gio/gio.h>

typedef struct NewFile NewFile;

/* @path: where it is to be; unless @force, CLI_ERROR_CONFLICT if something is there. */
NewFile *new_file_begin (const char *path, gboolean force, GError **error);

/* Removes what was written, unless it was finished. */
void new_file_free (NewFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NewFile, new_file_free)

gboolean new_file_write (NewFile *file, gconstpointer data, gsize len, GError **error);

/* @len zeros, as a hole. */
gboolean new_file_skip (NewFile *file, guint64 len, GError **error);

/* Gives it its name; without force, not if something has come there meanwhile. */
gboolean new_file_finish (NewFile *file, GError **error);
