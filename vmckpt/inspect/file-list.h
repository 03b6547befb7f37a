/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of a guest by directory: names as `find -print0` gives them, relative to where it began,
 * and checksums as `sha256sum` writes them.
 */
#pragma once

#include <gio/gio.h>

/* More than that is refused, with these words in the message. */
#define FILE_LIST_NAMES_MAX (4u << 20)
#define FILE_LIST_BYTES_MAX (512u << 20)

typedef struct {
  GHashTable *directories; /* directory ("" where it began) → GPtrArray of names in it */
  GPtrArray *order;        /* the directories, as they came (borrowed) */
  GByteArray *rest;        /* of a name that has not come whole */
  gsize names, bytes;
} FileList;

FileList *file_list_new (void);
void file_list_free (FileList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FileList, file_list_free)

/* Adds the next piece of names that each end with NUL. FALSE: too many. */
gboolean file_list_add (FileList *list, const guint8 *data, gsize len);

/* Adds a line of sha256sum ("HASH  ./PATH", or with a backslash before it and escapes in it) to
 * @sums: path without "./" → hash. FALSE if it is no such line. */
gboolean file_list_add_sum (GHashTable *sums, const char *line);
