/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/line-diff.h>

#include <string.h>

#define TABLE_MAX (4u << 20) /* entries, for the longest common subsequence */

/* Two texts and what becomes of each line. */
typedef struct {
  char **old, **new;
  guint n_old, n_new;
  GString *edits; /* ' ' kept, '-' from old, '+' from new, in order */
} Diff;

/* The lines of @text; an end without a line break is a line like any other. */
static char **
split (const char *text, guint *count)
{
  char **lines = g_strsplit (text, "\n", -1);

  *count = g_strv_length (lines);
  if (*count > 0 && *lines[*count - 1] == '\0')
    (*count)--;
  return lines;
}

static gboolean
same (const Diff *diff, guint i, guint j)
{
  return strcmp (diff->old[i], diff->new[j]) == 0;
}

static void
append (Diff *diff, char edit, guint count)
{
  while (count-- > 0)
    g_string_append_c (diff->edits, edit);
}

/* Edits from the lines at @first of both, @rows and @columns of them. */
static void
compare (Diff *diff, guint first, guint rows, guint columns)
{
  guint width = columns + 1, i = 0, j = 0;
  g_autofree guint *length = NULL; /* of the common subsequence of what is from row and column on */

  if ((guint64)(rows + 1) * width > TABLE_MAX) {
    append (diff, '-', rows);
    append (diff, '+', columns);
    return;
  }
  length = g_new0 (guint, (gsize)(rows + 1) * width);
  for (i = rows; i-- > 0;)
    for (j = columns; j-- > 0;)
      length[i * width + j] = same (diff, first + i, first + j)
                                  ? length[(i + 1) * width + j + 1] + 1
                                  : MAX (length[(i + 1) * width + j], length[i * width + j + 1]);
  for (i = j = 0; i < rows && j < columns;) {
    if (same (diff, first + i, first + j)) {
      append (diff, ' ', 1);
      i++, j++;
    } else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) {
      append (diff, '-', 1);
      i++;
    } else {
      append (diff, '+', 1);
      j++;
    }
  }
  append (diff, '-', rows - i);
  append (diff, '+', columns - j);
}

static void
find_edits (Diff *diff)
{
  guint shorter = MIN (diff->n_old, diff->n_new), first = 0, last = 0;

  while (first < shorter && same (diff, first, first))
    first++;
  while (last < shorter - first && same (diff, diff->n_old - 1 - last, diff->n_new - 1 - last))
    last++;
  append (diff, ' ', first);
  compare (diff, first, diff->n_old - first - last, diff->n_new - first - last);
  append (diff, ' ', last);
}

/* Where a hunk that begins at edit @at ends: where more than twice the context stays as it is. */
static guint
find_end (const Diff *diff, guint at, guint context)
{
  guint kept = 0, end = at;

  for (; at < diff->edits->len && kept <= 2 * context; at++) {
    kept = diff->edits->str[at] == ' ' ? kept + 1 : 0;
    if (kept == 0)
      end = at + 1;
  }
  return end;
}

static void
print_hunk (const Diff *diff, GString *text, guint from, guint to)
{
  guint old = 0, new = 0, n_old = 0, n_new = 0;

  for (guint i = 0; i < to; i++) {
    gboolean in_old = diff->edits->str[i] != '+', in_new = diff->edits->str[i] != '-';
    if (i < from)
      old += in_old, new += in_new;
    else
      n_old += in_old, n_new += in_new;
  }
  g_string_append_printf (text, "@@ -%u,%u +%u,%u @@\n", old + (n_old > 0), n_old,
                          new + (n_new > 0), n_new);
  for (guint i = from; i < to; i++) {
    char edit = diff->edits->str[i];
    g_string_append_printf (text, "%c%s\n", edit, edit == '+' ? diff->new[new] : diff->old[old]);
    old += edit != '+';
    new += edit != '-';
  }
}

char *
line_diff (const char *old_name, const char *old, const char *new_name, const char *new,
           guint context)
{
  g_autoptr (GString) edits = g_string_new (NULL);
  g_autoptr (GString) text = g_string_new (NULL);
  Diff diff = { .edits = edits };
  g_auto (GStrv) old_lines = diff.old = split (old, &diff.n_old);
  g_auto (GStrv) new_lines = diff.new = split (new, &diff.n_new);

  find_edits (&diff);
  for (guint at = 0; at < edits->len; at++) {
    if (edits->str[at] == ' ')
      continue;
    guint from = at > context ? at - context : 0;
    at = find_end (&diff, at, context);
    if (text->len == 0)
      g_string_append_printf (text, "--- %s\n+++ %s\n", old_name, new_name);
    print_hunk (&diff, text, from, MIN (at + context, edits->len));
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}
