/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SHA-256 of files, computed once for each state of a file. A file counts as unchanged while its
 * device, inode, size and times of last change (stat(2): mtime, ctime) are; one that was changed a
 * moment ago is not relied on, since times have a grain.
 */
#pragma once

#include <gio/gio.h>

typedef struct _FileHashes FileHashes;

/* Remembers nothing yet. All functions: any thread. */
FileHashes *file_hashes_new (void);
/* Forgets everything. */
void file_hashes_free (FileHashes *hashes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FileHashes, file_hashes_free)

/**
 * file_hashes_get:
 * @hashes: (nullable): NULL computes it anew
 * @path: a regular file
 * @size: (out) (optional): its bytes
 *
 * Returns: 64 hexadecimal digits, newly allocated; NULL with @error (G_IO_ERROR).
 */
char *file_hashes_get (FileHashes *hashes, const char *path, guint64 *size, GError **error);

/* The same if it is known already, else NULL. */
char *file_hashes_peek (FileHashes *hashes, const char *path);

/* Makes it known; G_IO_ERROR_CANCELLED. */
gboolean file_hashes_learn (FileHashes *hashes, const char *path, GCancellable *cancellable,
                            GError **error);
