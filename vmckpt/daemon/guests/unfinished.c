/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unfinished.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>

#define FILE_NAME "restore.json"
#define MAX_FILE (256 * 1024)
#define MAX_DEPTH 4

static void
guest_free (gpointer data)
{
  UnfinishedGuest *guest = data;

  g_free (guest->guest);
  g_free (guest->uuid);
  g_free (guest);
}

static void
disk_free (gpointer data)
{
  UnfinishedDisk *disk = data;

  g_free (disk->name);
  g_free (disk->path);
  g_free (disk->base);
  g_free (disk);
}

Unfinished *
unfinished_new (const char *home)
{
  Unfinished *unfinished = g_new0 (Unfinished, 1);

  unfinished->home = g_strdup (home);
  unfinished->guests = g_ptr_array_new_with_free_func (guest_free);
  unfinished->disks = g_ptr_array_new_with_free_func (disk_free);
  return unfinished;
}

void
unfinished_free (Unfinished *unfinished)
{
  if (unfinished == NULL)
    return;
  g_free (unfinished->home);
  g_free (unfinished->store_path);
  g_free (unfinished->store_id);
  g_free (unfinished->checkpoint);
  g_ptr_array_unref (unfinished->guests);
  g_ptr_array_unref (unfinished->disks);
  g_free (unfinished);
}

void
unfinished_add_guest (Unfinished *unfinished, const char *guest, const char *uuid)
{
  UnfinishedGuest *one = g_new0 (UnfinishedGuest, 1);

  one->guest = g_strdup (guest);
  one->uuid = g_strdup (uuid);
  g_ptr_array_add (unfinished->guests, one);
}

const char *
unfinished_guest (const Unfinished *unfinished)
{
  return ((const UnfinishedGuest *)unfinished->guests->pdata[0])->guest;
}

void
unfinished_add_disk (Unfinished *unfinished, const char *name, const char *path, const char *base)
{
  UnfinishedDisk *disk = g_new0 (UnfinishedDisk, 1);

  disk->name = g_strdup (name);
  disk->path = g_strdup (path);
  disk->base = g_strdup (base);
  g_ptr_array_add (unfinished->disks, disk);
}

static char *
file_path (const char *home)
{
  return g_build_filename (home, FILE_NAME, NULL);
}

gboolean
unfinished_save (const Unfinished *unfinished, GError **error)
{
  g_autofree char *path = file_path (unfinished->home);
  g_autoptr (JsonObject) object = json_object_new();
  JsonArray *disks = json_array_new(), *guests = json_array_new();

  for (guint i = 0; i < unfinished->guests->len; i++) {
    const UnfinishedGuest *guest = unfinished->guests->pdata[i];
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "guest", guest->guest);
    json_object_set_string_member (one, "uuid", guest->uuid);
    json_array_add_object_element (guests, one);
  }
  json_object_set_array_member (object, "guests", guests);
  json_object_set_string_member (object, "store", unfinished->store_path);
  json_object_set_string_member (object, "store_id", unfinished->store_id);
  json_object_set_string_member (object, "checkpoint", unfinished->checkpoint);
  json_object_set_boolean_member (object, "ran", unfinished->ran);
  for (guint i = 0; i < unfinished->disks->len; i++) {
    const UnfinishedDisk *disk = unfinished->disks->pdata[i];
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "name", disk->name);
    json_object_set_string_member (one, "path", disk->path);
    json_set_string_or_null (one, "base", disk->base);
    json_array_add_object_element (disks, one);
  }
  json_object_set_array_member (object, "disks", disks);
  g_autofree char *text = json_to_pretty (object);
  return g_file_set_contents_full (
      path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

/* FALSE if they are not as unfinished_save() writes them. */
static gboolean
parse_guests (Unfinished *unfinished, JsonObject *object)
{
  JsonArray *guests = json_get_array (object, "guests", NULL);

  for (guint i = 0; guests != NULL && i < json_array_get_length (guests); i++) {
    JsonNode *node = json_array_get_element (guests, i);
    JsonObject *one = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    const char *guest = one != NULL ? json_get_string_or (one, "guest", NULL) : NULL;
    const char *uuid = one != NULL ? json_get_string_or (one, "uuid", NULL) : NULL;
    if (guest == NULL || uuid == NULL)
      return FALSE;
    unfinished_add_guest (unfinished, guest, uuid);
  }
  return unfinished->guests->len > 0;
}

/* FALSE if it is not what unfinished_save() writes. */
static gboolean
parse (Unfinished *unfinished, JsonObject *object)
{
  JsonArray *disks = json_get_array (object, "disks", NULL);

  unfinished->store_path = g_strdup (json_get_string_or (object, "store", NULL));
  unfinished->store_id = g_strdup (json_get_string_or (object, "store_id", NULL));
  unfinished->checkpoint = g_strdup (json_get_string_or (object, "checkpoint", NULL));
  unfinished->ran = json_get_bool_or (object, "ran", TRUE);
  if (disks == NULL)
    return FALSE; /* not a restore of none: nobody would look for its files any more */
  for (guint i = 0; i < json_array_get_length (disks); i++) {
    JsonNode *node = json_array_get_element (disks, i);
    JsonObject *one = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    const char *name = one != NULL ? json_get_string_or (one, "name", NULL) : NULL;
    const char *path = one != NULL ? json_get_string_or (one, "path", NULL) : NULL;
    if (name == NULL || path == NULL)
      return FALSE;
    unfinished_add_disk (unfinished, name, path, json_get_string_or (one, "base", NULL));
  }
  return parse_guests (unfinished, object) && unfinished->store_path != NULL &&
         unfinished->store_id != NULL && unfinished->checkpoint != NULL;
}

Unfinished *
unfinished_load (const char *home)
{
  g_autofree char *path = file_path (home);
  g_autofree char *text = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, NULL))
    return NULL;
  g_autoptr (JsonObject) object = json_parse_bounded (text, len, MAX_FILE, MAX_DEPTH, NULL);
  g_autoptr (Unfinished) unfinished = unfinished_new (home);
  if (object != NULL && parse (unfinished, object))
    return g_steal_pointer (&unfinished);
  g_message ("%s does not describe a restore; left alone", path);
  return NULL;
}

static void
remove_in (const char *home, const char *name)
{
  g_autofree char *path = g_build_filename (home, name, NULL);

  g_unlink (path);
}

void
unfinished_remove (const Unfinished *unfinished)
{
  remove_in (unfinished->home, FILE_NAME);
  remove_in (unfinished->home, DISK_SERVER_FILE_LOG);
  g_rmdir (unfinished->home);
}

static void
remove_with_end (const char *path, const char *end)
{
  g_autofree char *name = g_strconcat (path, end, NULL);

  g_unlink (name);
}

void
unfinished_remove_files (const Unfinished *unfinished)
{
  static const char *const ends[] = { "", ".partial", ".raw.partial" };

  for (guint i = 0; i < unfinished->disks->len; i++) {
    const UnfinishedDisk *disk = unfinished->disks->pdata[i];
    for (guint j = 0; j < G_N_ELEMENTS (ends); j++) {
      remove_with_end (disk->path, ends[j]);
      if (disk->base != NULL)
        remove_with_end (disk->base, ends[j]);
    }
  }
}
