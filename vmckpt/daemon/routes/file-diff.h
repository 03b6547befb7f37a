/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two lists of a guest's files compared: what came, went and changed. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* More files than that are refused: their names have to be kept. */
#define FILE_DIFF_MAX (1u << 20)

typedef struct _FileDiff FileDiff;

FileDiff *file_diff_new (void);
void file_diff_free (FileDiff *diff);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FileDiff, file_diff_free)

/* Notes a file (as vmckpt-inspect describes one) of the first list. API_FAILED if these are too
 * many. */
gboolean file_diff_add_old (FileDiff *diff, JsonObject *file, GError **error);

/**
 * file_diff_add_new:
 *
 * Takes a file of the second list. Times of directories do not count: they change with what is in
 * them, which is told itself.
 *
 * Returns: (transfer full) (nullable): {"path","change":"added"|"changed","what":["mode",…]}, or
 * NULL if it is as it was.
 */
JsonObject *file_diff_add_new (FileDiff *diff, JsonObject *file);

/* Those of the first list that were not in the second, sorted by path. (transfer full) */
GPtrArray *file_diff_removed (FileDiff *diff);
