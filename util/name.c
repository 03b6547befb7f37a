/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/name.h>

#include <string.h>

gboolean
name_check (const char *name, const char *what, GError **error)
{
  gsize len = strlen (name);
  gboolean good = len >= 1 && len <= NAME_MAX_LENGTH && g_ascii_isalnum (name[0]);

  for (gsize i = 0; good && i < len; i++)
    good = g_ascii_isalnum (name[i]) || strchr ("._-", name[i]) != NULL;
  if (!good) {
    g_autofree char *shown = g_strescape (name, NULL);
    g_set_error (
        error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
        "'%.64s' is not a %s: use 1 to %d letters, digits, '.', '_' or '-', and begin with "
        "a letter or digit",
        shown, what, NAME_MAX_LENGTH);
  }
  return good;
}
