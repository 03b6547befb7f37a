/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file-diff.h"

#include "api-error.h"

#include <vmckpt/util/json.h>

#include <string.h>

/* What is compared, as one text per attribute; the names are those of the API. */
static const char *const attributes[] = { "kind",   "mode",        "uid",    "gid",
                                          "bytes",  "modified_us", "target", "target_bytes",
                                          "sha256", "device" };
#define KIND 0
#define MODIFIED 5
#define TARGET_BYTES 7

typedef struct {
  char *path, *path_bytes; /* the second (nullable) */
  char *values[G_N_ELEMENTS (attributes)];
} File;

struct _FileDiff {
  GHashTable *old; /* key of the path → File */
};

static void
file_free (File *file)
{
  g_free (file->path);
  g_free (file->path_bytes);
  for (guint i = 0; i < G_N_ELEMENTS (attributes); i++)
    g_free (file->values[i]);
  g_free (file);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (File, file_free)

FileDiff *
file_diff_new (void)
{
  FileDiff *diff = g_new0 (FileDiff, 1);

  diff->old = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)file_free);
  return diff;
}

void
file_diff_free (FileDiff *diff)
{
  g_hash_table_unref (diff->old);
  g_free (diff);
}

/* Text or number, as text; NULL if there is none. */
static char *
value_of (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || !JSON_NODE_HOLDS_VALUE (node))
    return NULL;
  if (json_node_get_value_type (node) == G_TYPE_INT64)
    return g_strdup_printf ("%" G_GINT64_FORMAT, json_node_get_int (node));
  return json_node_dup_string (node);
}

static File *
file_new (JsonObject *object)
{
  File *file = g_new0 (File, 1);

  file->path = g_strdup (json_get_string_or (object, "path", ""));
  file->path_bytes = g_strdup (json_get_string_or (object, "path_bytes", NULL));
  for (guint i = 0; i < G_N_ELEMENTS (attributes); i++)
    file->values[i] = value_of (object, attributes[i]);
  return file;
}

/* A path's exact name if it is not text, else the path; the two cannot be taken for each other. */
static char *
key_of (const File *file)
{
  return file->path_bytes != NULL ? g_strconcat ("b", file->path_bytes, NULL)
                                  : g_strconcat ("t", file->path, NULL);
}

gboolean
file_diff_add_old (FileDiff *diff, JsonObject *object, GError **error)
{
  File *file = file_new (object);

  g_hash_table_replace (diff->old, key_of (file), file);
  if (g_hash_table_size (diff->old) <= FILE_DIFF_MAX)
    return TRUE;
  g_set_error (error, API_ERROR, API_FAILED,
               "more than %u files are too many to compare: name a directory in them",
               FILE_DIFF_MAX);
  return FALSE;
}

static JsonObject *
describe (const File *file, const char *change)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "path", file->path);
  if (file->path_bytes != NULL)
    json_object_set_string_member (object, "path_bytes", file->path_bytes);
  json_object_set_string_member (object, "change", change);
  return object;
}

/* The names of what differs; empty if nothing does. */
static JsonArray *
compare (const File *a, const File *b)
{
  JsonArray *what = json_array_new();

  for (guint i = 0; i < G_N_ELEMENTS (attributes); i++) {
    gboolean directory = g_strcmp0 (a->values[KIND], "directory") == 0 &&
                         g_strcmp0 (b->values[KIND], "directory") == 0;
    if (g_strcmp0 (a->values[i], b->values[i]) == 0 || (directory && i == MODIFIED))
      continue;
    if (i == TARGET_BYTES) /* its replacement characters may look the same */
      json_array_add_string_element (what, "target");
    else
      json_array_add_string_element (what, attributes[i]);
  }
  return what;
}

JsonObject *
file_diff_add_new (FileDiff *diff, JsonObject *object)
{
  g_autoptr (File) file = file_new (object);
  g_autofree char *key = key_of (file);
  const File *old = g_hash_table_lookup (diff->old, key);

  if (old == NULL)
    return describe (file, "added");
  g_autoptr (JsonArray) what = compare (old, file);
  g_hash_table_remove (diff->old, key);
  if (json_array_get_length (what) == 0)
    return NULL;
  JsonObject *change = describe (file, "changed");
  json_object_set_array_member (change, "what", json_array_ref (what));
  return change;
}

static int
compare_paths (gconstpointer a, gconstpointer b)
{
  const File *const *one = a, *const *other = b;
  return strcmp ((*one)->path, (*other)->path);
}

GPtrArray *
file_diff_removed (FileDiff *diff)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new();
  GPtrArray *changes = g_ptr_array_new_with_free_func ((GDestroyNotify)json_object_unref);
  GHashTableIter iter;
  gpointer file;

  g_hash_table_iter_init (&iter, diff->old);
  while (g_hash_table_iter_next (&iter, NULL, &file))
    g_ptr_array_add (files, file);
  g_ptr_array_sort (files, compare_paths);
  for (guint i = 0; i < files->len; i++)
    g_ptr_array_add (changes, describe (files->pdata[i], "removed"));
  return changes;
}
