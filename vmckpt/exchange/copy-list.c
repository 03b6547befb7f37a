/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copy-list.h"

struct _CopyList {
  GArray *runs; /* of CopyRun, ascending by part and page */
};

CopyList *
copy_list_new (void)
{
  CopyList *list = g_new0 (CopyList, 1);

  list->runs = g_array_new (FALSE, FALSE, sizeof (CopyRun));
  return list;
}

void
copy_list_free (CopyList *list)
{
  g_array_unref (list->runs);
  g_free (list);
}

void
copy_list_add (CopyList *list, const CopyRun *run)
{
  g_array_append_vals (list->runs, run, 1);
}

guint
copy_list_length (const CopyList *list)
{
  return list->runs->len;
}

const CopyRun *
copy_list_get (const CopyList *list, guint index)
{
  return &g_array_index (list->runs, CopyRun, index);
}

/* The run that holds the page, or NULL. */
static const CopyRun *
find_run (const CopyList *list, guint32 part, guint64 page)
{
  guint low = 0, high = list->runs->len;

  while (low < high) {
    guint middle = low + (high - low) / 2;
    const CopyRun *run = copy_list_get (list, middle);
    if (run->part < part || (run->part == part && run->page + run->count <= page))
      low = middle + 1;
    else
      high = middle;
  }
  const CopyRun *run = low < list->runs->len ? copy_list_get (list, low) : NULL;
  return run != NULL && run->part == part && run->page <= page ? run : NULL;
}

void
copy_list_resolve (const CopyList *list, guint32 *part, guint64 *page)
{
  const CopyRun *run;

  while ((run = find_run (list, *part, *page)) != NULL) {
    guint64 into = *page - run->page;
    /* A run that overlaps what it is equal to repeats with that distance. */
    if (run->from_part == run->part)
      into %= run->page - run->from_page;
    *part = run->from_part;
    *page = run->from_page + into;
  }
}
