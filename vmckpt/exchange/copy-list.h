/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs of pages that are equal to earlier ones, in ascending order of where they stand. */
#pragma once

#include <gio/gio.h>

typedef struct {
  guint64 page, from_page;
  guint32 part, from_part;
  guint32 count;
} CopyRun;

typedef struct _CopyList CopyList;

CopyList *copy_list_new (void);
void copy_list_free (CopyList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CopyList, copy_list_free)

/* Appends a run: behind all others, and after the pages it is equal to. */
void copy_list_add (CopyList *list, const CopyRun *run);

guint copy_list_length (const CopyList *list);
const CopyRun *copy_list_get (const CopyList *list, guint index);

/* Where the content of a page is: follows runs to a page that is in none. */
void copy_list_resolve (const CopyList *list, guint32 *part, guint64 *page);
