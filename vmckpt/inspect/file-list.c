/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file-list.h"

#include <string.h>

#define SHA256_DIGITS 64

FileList *
file_list_new (void)
{
  FileList *list = g_new0 (FileList, 1);

  list->directories =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
  list->order = g_ptr_array_new();
  list->rest = g_byte_array_new();
  return list;
}

void
file_list_free (FileList *list)
{
  g_hash_table_unref (list->directories);
  g_ptr_array_unref (list->order);
  g_byte_array_unref (list->rest);
  g_free (list);
}

static void
add_name (FileList *list, const char *path)
{
  const char *slash = strrchr (path, '/');
  g_autofree char *directory = g_strndup (path, slash != NULL ? slash - path : 0);
  const char *name = slash != NULL ? slash + 1 : path;
  GPtrArray *names = g_hash_table_lookup (list->directories, directory);

  if (name[0] == '\0')
    return;
  if (names == NULL) {
    names = g_ptr_array_new_with_free_func (g_free);
    g_ptr_array_add (list->order, directory);
    g_hash_table_insert (list->directories, g_steal_pointer (&directory), names);
  }
  g_ptr_array_add (names, g_strdup (name));
  list->names++;
}

gboolean
file_list_add (FileList *list, const guint8 *data, gsize len)
{
  list->bytes += len;
  while (len > 0) {
    const guint8 *end = memchr (data, '\0', len);
    gsize n = end != NULL ? (gsize)(end - data) + 1 : len;

    g_byte_array_append (list->rest, data, n);
    if (end != NULL) {
      add_name (list, (const char *)list->rest->data);
      g_byte_array_set_size (list->rest, 0);
    }
    data += n;
    len -= n;
  }
  return list->names <= FILE_LIST_NAMES_MAX && list->bytes <= FILE_LIST_BYTES_MAX;
}

/* In place: \n, \r and \\ are what they stand for. */
static gboolean
undo_escapes (char *text)
{
  char *to = text;

  for (const char *at = text; *at != '\0'; at++) {
    if (*at != '\\') {
      *to++ = *at;
      continue;
    }
    at++;
    if (*at != 'n' && *at != 'r' && *at != '\\')
      return FALSE;
    *to++ = *at == 'n' ? '\n' : *at == 'r' ? '\r' : '\\';
  }
  *to = '\0';
  return TRUE;
}

gboolean
file_list_add_sum (GHashTable *sums, const char *line)
{
  gboolean escaped = line[0] == '\\';
  const char *hash = line + (escaped ? 1 : 0);

  for (guint i = 0; i < SHA256_DIGITS; i++)
    if (!g_ascii_isxdigit (hash[i]))
      return FALSE;
  const char *path = hash + SHA256_DIGITS;
  if (path[0] != ' ' || (path[1] != ' ' && path[1] != '*') || path[2] == '\0')
    return FALSE;
  g_autofree char *name = g_strdup (path + 2);
  if (escaped && !undo_escapes (name))
    return FALSE;
  const char *relative = g_str_has_prefix (name, "./") ? name + 2 : name;
  g_hash_table_replace (sums, g_strdup (relative), g_strndup (hash, SHA256_DIGITS));
  return TRUE;
}
