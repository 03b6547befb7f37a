/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disks-left.h"

#include "api-error.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE (256 * 1024)
#define MAX_DEPTH 6
#define NS_PER_S G_GINT64_CONSTANT (1000000000)

static char *
record_path (const Runtime *runtime, const char *uuid)
{
  g_autofree char *file = g_strconcat (uuid, ".json", NULL);

  return g_build_filename (runtime->disks, "left", file, NULL);
}

/* ---- One file ---- */

/* What it looks like now; NULL if it is not there. */
static JsonObject *
look_at (const char *path)
{
  struct stat st;

  if (stat (path, &st) < 0)
    return NULL;
  JsonObject *object = json_object_new();
  json_object_set_string_member (object, "path", path);
  json_object_set_int_member (object, "device", st.st_dev);
  json_object_set_int_member (object, "inode", st.st_ino);
  json_object_set_int_member (object, "size", st.st_size);
  json_object_set_int_member (object, "mtime_ns",
                              st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec);
  return object;
}

/* Whether the file of that record looks the same. */
static gboolean
looks_the_same (JsonObject *record)
{
  static const char *const numbers[] = { "device", "inode", "size", "mtime_ns" };
  const char *path = json_get_string_or (record, "path", NULL);
  g_autoptr (JsonObject) now = path != NULL ? look_at (path) : NULL;

  for (guint i = 0; now != NULL && i < G_N_ELEMENTS (numbers); i++)
    if (json_get_uint64_or (record, numbers[i], G_MAXUINT64) !=
        json_get_uint64_or (now, numbers[i], 0))
      return FALSE;
  return now != NULL;
}

/* ---- The record ---- */

/* A disk's files, the images behind it too; NULL if one is not there. */
static JsonObject *
describe_disk (const GuestDisk *disk)
{
  g_autoptr (JsonObject) object = json_object_new();
  JsonArray *files = json_array_new();
  JsonObject *file = look_at (disk->path);

  json_object_set_string_member (object, "name", disk->name);
  json_object_set_array_member (object, "files", files);
  if (file == NULL)
    return NULL;
  json_array_add_object_element (files, file);
  for (guint i = 0; i < disk->backing->len; i++) {
    file = look_at (((DiskLayer *)disk->backing->pdata[i])->path);
    if (file == NULL)
      return NULL;
    json_array_add_object_element (files, file);
  }
  return g_steal_pointer (&object);
}

static gboolean
is_wanted (const GuestDisk *disk)
{
  return disk->mode == DISK_CAPTURE && disk->path != NULL && disk->storage == DISK_STORAGE_FILE;
}

void
disks_left_note (const Runtime *runtime, const GuestSpec *spec, const char *store,
                 const char *checkpoint)
{
  g_autofree char *path = record_path (runtime, spec->uuid);
  g_autofree char *directory = g_path_get_dirname (path);
  g_autoptr (JsonObject) object = json_object_new();
  g_autoptr (GError) error = NULL;
  JsonArray *disks = json_array_new();

  json_set_string_or_null (object, "store", store);
  json_set_string_or_null (object, "checkpoint", checkpoint);
  json_object_set_array_member (object, "disks", disks);
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    JsonObject *one = is_wanted (disk) ? describe_disk (disk) : NULL;
    if (one != NULL)
      json_array_add_object_element (disks, one);
  }
  if (json_array_get_length (disks) == 0)
    return;
  g_autofree char *text = json_to_pretty (object);
  if (g_mkdir_with_parents (directory, 0700) < 0 ||
      !g_file_set_contents_full (path, text, -1,
                                 G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
                                 &error))
    g_message ("guest %s: how it left its disks is not noted: %s", spec->name,
               error != NULL ? error->message : "no directory for that can be made");
}

void
disks_left_forget (const Runtime *runtime, const char *uuid)
{
  g_autofree char *path = record_path (runtime, uuid);

  g_unlink (path);
}

static JsonObject *
load (const Runtime *runtime, const char *uuid)
{
  g_autofree char *path = record_path (runtime, uuid);
  g_autofree char *text = NULL;
  gsize len;

  return g_file_get_contents (path, &text, &len, NULL)
             ? json_parse_bounded (text, len, MAX_FILE, MAX_DEPTH, NULL)
             : NULL;
}

/* Whether disk @name is as it was left, with @path at the top. */
static gboolean
is_as_left (JsonObject *record, const char *name, const char *path)
{
  JsonArray *disks = record != NULL ? json_get_array (record, "disks", NULL) : NULL;

  for (guint i = 0; disks != NULL && i < json_array_get_length (disks); i++) {
    JsonNode *node = json_array_get_element (disks, i);
    JsonObject *disk = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    JsonArray *files = disk != NULL ? json_get_array (disk, "files", NULL) : NULL;
    if (files == NULL || g_strcmp0 (json_get_string_or (disk, "name", NULL), name) != 0)
      continue;
    for (guint j = 0; j < json_array_get_length (files); j++) {
      JsonNode *file = json_array_get_element (files, j);
      if (!JSON_NODE_HOLDS_OBJECT (file) || !looks_the_same (json_node_get_object (file)) ||
          (j == 0 &&
           g_strcmp0 (json_get_string_or (json_node_get_object (file), "path", NULL), path) != 0))
        return FALSE;
    }
    return json_array_get_length (files) > 0;
  }
  return FALSE;
}

/* ---- Questions ---- */

/* Whether the raw content at @path is the map's. */
static gboolean
has_content (Store *store, const char *name, const PageMap *map, const char *path,
             const UnitWatcher *watcher)
{
  const DiskFile file = { .store = store, .name = name, .map = *map, .path = path };
  g_autoptr (GError) error = NULL;
  gboolean same = FALSE;

  return disk_file_compare (&file, &same, watcher->progress, watcher->cancellable, &error) && same;
}

static char *
suspended_disk (JsonObject *record, const GuestDisk *disk, Store *store, const PageMap *map,
                const UnitWatcher *watcher)
{
  gboolean raw = g_strcmp0 (disk->format, "raw") == 0 && disk->backing->len == 0;

  for (guint i = 0; i < disk->backing->len; i++)
    if (((DiskLayer *)disk->backing->pdata[i])->storage == DISK_STORAGE_NBD)
      return g_strdup_printf ("disk %s was still read from the store", disk->name);
  if (disk->storage == DISK_STORAGE_BLOCK && raw &&
      has_content (store, disk->name, map, disk->path, watcher))
    return NULL;
  if (disk->storage == DISK_STORAGE_FILE && is_as_left (record, disk->name, disk->path))
    return NULL;
  return g_strdup_printf ("disk %s (%s) is not as it was left", disk->name, disk->path);
}

char *
disks_left_as_suspended (const Runtime *runtime, const GuestSpec *spec, Store *store,
                         const Manifest *manifest, const UnitWatcher *watcher)
{
  g_autoptr (JsonObject) record = load (runtime, spec->uuid);

  if (record == NULL)
    return g_strdup ("how the guest left its disks is not known here");
  if (g_strcmp0 (json_get_string_or (record, "store", NULL), store_id (store)) != 0 ||
      g_strcmp0 (json_get_string_or (record, "checkpoint", NULL), manifest->id) != 0)
    return g_strdup ("its disks were left by another checkpoint");
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    const ManifestPart *part = manifest_find_part (manifest, "disk", disk->name);
    char *reason = part != NULL ? suspended_disk (record, disk, store, &part->map, watcher) : NULL;
    if (reason != NULL)
      return reason;
  }
  return NULL;
}

gboolean
disks_left_check_in_place (const Runtime *runtime, const char *uuid, const RestoreDisks *disks,
                           Store *store, const UnitWatcher *watcher, GError **error)
{
  g_autoptr (JsonObject) record = load (runtime, uuid);

  for (guint i = 0; i < disks->disks->len; i++) {
    const RestoredDisk *disk = disks->disks->pdata[i];
    if (!g_file_test (disk->path, G_FILE_TEST_EXISTS))
      continue;
    if (disk_file_in_use (disk->path)) {
      g_set_error (error, API_ERROR, API_CONFLICT, "disk %s: %s is in use by another program",
                   disk->name, disk->path);
      return FALSE;
    }
    if (is_as_left (record, disk->name, disk->path) ||
        (g_strcmp0 (disk->format, "raw") == 0 &&
         has_content (store, disk->name, &disk->map, disk->path, watcher)))
      continue;
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "disk %s: %s holds neither what the checkpoint has nor what its guest has left; "
                 "restore to new files, without --in-place",
                 disk->name, disk->path);
    return FALSE;
  }
  return TRUE;
}
