/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/unit/fill-source.h>

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>

#define MAX_FILE 16384

static char *
source_path (const char *directory)
{
  return g_build_filename (directory, GUEST_FILE_FILL, NULL);
}

gboolean
fill_source_write (const char *directory, const char *store_path, const char *checkpoint,
                   GError **error)
{
  g_autofree char *path = source_path (directory);
  g_autoptr (JsonObject) object = json_object_new();

  json_object_set_string_member (object, "store", store_path);
  json_object_set_string_member (object, "checkpoint", checkpoint);
  g_autofree char *text = json_to_pretty (object);
  /* Not synced: the guest does not outlive what a power cut takes. */
  return fd_replace_file (path, text, strlen (text), error);
}

char *
fill_source_read (const char *directory, GError **error)
{
  g_autofree char *path = source_path (directory);
  g_autofree char *text = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, error))
    return NULL;
  g_autoptr (JsonObject) object = json_parse_bounded (text, len, MAX_FILE, 4, error);
  const char *store = object != NULL ? json_get_string (object, "store", error) : NULL;
  return g_strdup (store);
}

void
fill_source_remove (const char *directory)
{
  g_autofree char *path = source_path (directory);
  g_unlink (path);
}
