/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/guest-disk.h>

#include "spec-member.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <sys/stat.h>

static const char *const mode_names[] = {
  [DISK_CAPTURE] = "capture",
  [DISK_SHARED] = "shared",
  [DISK_READONLY] = "readonly",
  [DISK_EXCLUDE] = "exclude",
  NULL,
};

static const char *const bus_names[] = {
  [DISK_BUS_VIRTIO] = "virtio", [DISK_BUS_SCSI] = "scsi",     [DISK_BUS_IDE] = "ide",
  [DISK_BUS_NVME] = "nvme",     [DISK_BUS_PFLASH] = "pflash", NULL,
};

static const char *const media_names[] = {
  [DISK_MEDIA_DISK] = "disk",
  [DISK_MEDIA_CDROM] = "cdrom",
  NULL,
};

static const char *const storage_names[] = {
  [DISK_STORAGE_FILE] = "file",
  [DISK_STORAGE_BLOCK] = "block",
  [DISK_STORAGE_NBD] = "nbd",
  NULL,
};

/* QEMU refuses to save a guest with an image of any other format that it writes: vmdk, vdi, vhdx,
 * vpc, qcow and parallels say so themselves (migrate_add_blocker). */
static const char *const format_names[] = { "raw", "qcow2", NULL };

const char *
disk_mode_name (DiskMode mode)
{
  return mode_names[mode];
}

gboolean
disk_path_is_nbd (const char *text)
{
  return g_str_has_prefix (text, "nbd://") || g_str_has_prefix (text, "nbd+unix://");
}

DiskLayer *
disk_layer_new (const char *path, const char *format, DiskStorage storage)
{
  DiskLayer *layer = g_new0 (DiskLayer, 1);

  layer->path = g_strdup (path);
  layer->format = g_strdup (format);
  layer->storage = storage;
  return layer;
}

void
disk_layer_free (DiskLayer *layer)
{
  if (layer == NULL)
    return;
  g_free (layer->path);
  g_free (layer->format);
  g_free (layer);
}

GuestDisk *
guest_disk_new (const char *path)
{
  GuestDisk *disk = g_new0 (GuestDisk, 1);

  disk->path = g_strdup (path);
  disk->storage = path != NULL && disk_path_is_nbd (path) ? DISK_STORAGE_NBD : DISK_STORAGE_FILE;
  disk->backing = g_ptr_array_new_with_free_func ((GDestroyNotify)disk_layer_free);
  return disk;
}

GuestDisk *
guest_disk_copy (const GuestDisk *disk)
{
  GuestDisk *copy = g_new (GuestDisk, 1);

  *copy = *disk;
  copy->name = g_strdup (disk->name);
  copy->device = g_strdup (disk->device);
  copy->path = g_strdup (disk->path);
  copy->format = g_strdup (disk->format);
  copy->backing = g_ptr_array_new_with_free_func ((GDestroyNotify)disk_layer_free);
  for (guint i = 0; i < disk->backing->len; i++) {
    const DiskLayer *layer = disk->backing->pdata[i];
    g_ptr_array_add (copy->backing, disk_layer_new (layer->path, layer->format, layer->storage));
  }
  return copy;
}

void
guest_disk_free (GuestDisk *disk)
{
  if (disk == NULL)
    return;
  g_free (disk->name);
  g_free (disk->device);
  g_free (disk->path);
  g_free (disk->format);
  g_ptr_array_unref (disk->backing);
  g_free (disk);
}

void
guest_disk_move (GuestDisk *disk, const char *path)
{
  char *copy = g_strdup (path);
  struct stat st;

  g_free (disk->path);
  disk->path = copy;
  if (disk_path_is_nbd (path))
    disk->storage = DISK_STORAGE_NBD;
  else
    disk->storage =
        stat (path, &st) == 0 && S_ISBLK (st.st_mode) ? DISK_STORAGE_BLOCK : DISK_STORAGE_FILE;
  g_ptr_array_set_size (disk->backing, 0);
  disk->virtual_size = 0;
}

/* ---- What must hold for every disk ---- */

static gboolean
set_invalid (GError **error, const GuestDisk *disk, const char *problem)
{
  const char *called = disk->path != NULL ? disk->path : disk->name;

  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "disk '%s' %s",
               called != NULL ? called : "(empty drive)", problem);
  return FALSE;
}

static gboolean
check_name (const GuestDisk *disk, GError **error)
{
  const char *name = disk->name;

  if (name == NULL)
    return TRUE;
  if (!g_ascii_isalpha (*name) || strlen (name) > GUEST_DISK_NAME_MAX)
    return set_invalid (error, disk, "needs a name of 1 to 20 bytes that begins with a letter");
  for (; *name != '\0'; name++)
    if (!g_ascii_isalnum (*name) && *name != '_')
      return set_invalid (error, disk, "has a name with something else than letters, digits or _");
  return TRUE;
}

static gboolean
check_cdrom (const GuestDisk *disk, GError **error)
{
  if (disk->media == DISK_MEDIA_DISK)
    return disk->path != NULL || set_invalid (error, disk, "is no cdrom: only such may be empty");
  if (disk->mode != DISK_READONLY)
    return set_invalid (error, disk, "is a cdrom, which is readonly");
  if (disk->bus != DISK_BUS_IDE && disk->bus != DISK_BUS_SCSI)
    return set_invalid (error, disk, "is a cdrom, which is on bus ide or scsi");
  return TRUE;
}

static gboolean
check_pflash (const GuestDisk *disk, GError **error)
{
  gboolean code = g_strcmp0 (disk->name, DISK_NAME_FIRMWARE) == 0;
  gboolean vars = g_strcmp0 (disk->name, DISK_NAME_NVRAM) == 0;

  if ((disk->bus == DISK_BUS_PFLASH) != (code || vars))
    return set_invalid (error, disk,
                        "is given as firmware or nvram, or has another name and another bus");
  if (code && disk->mode != DISK_READONLY)
    return set_invalid (error, disk, "is firmware, which is readonly");
  return TRUE;
}

/* nbd://HOST[:PORT][/EXPORT] or nbd+unix:///[EXPORT]?socket=PATH */
static gboolean
check_url (const GuestDisk *disk, GError **error)
{
  g_autoptr (GUri) uri = g_uri_parse (disk->path, G_URI_FLAGS_ENCODED_QUERY, NULL);
  gboolean local = g_str_has_prefix (disk->path, "nbd+unix://");
  const char *host = uri != NULL ? g_uri_get_host (uri) : NULL;
  const char *query = uri != NULL ? g_uri_get_query (uri) : NULL;

  if (uri == NULL)
    return set_invalid (error, disk, "is not a URL that can be read");
  if (local && (query == NULL || !g_str_has_prefix (query, "socket=")))
    return set_invalid (error, disk, "must be nbd+unix:///EXPORT?socket=PATH");
  if (!local && (host == NULL || *host == '\0' || query != NULL))
    return set_invalid (error, disk, "must be nbd://HOST[:PORT][/EXPORT]");
  return TRUE;
}

static gboolean
check_disk (const GuestDisk *disk, GError **error)
{
  if (disk->path != NULL && disk->storage != DISK_STORAGE_NBD && !g_path_is_absolute (disk->path))
    return set_invalid (error, disk, "must have an absolute path");
  if (disk->path != NULL && (disk->storage == DISK_STORAGE_NBD) != disk_path_is_nbd (disk->path))
    return set_invalid (error, disk, "has storage and path that do not go together");
  if (disk->storage == DISK_STORAGE_NBD && !check_url (disk, error))
    return FALSE;
  if (disk->iothread && disk->bus != DISK_BUS_VIRTIO && disk->bus != DISK_BUS_SCSI)
    return set_invalid (error, disk, "has iothread, which QEMU has for bus virtio and scsi");
  return check_name (disk, error) && check_cdrom (disk, error) && check_pflash (disk, error);
}

/* ---- From text ---- */

/* What was said of a disk, so that what was not gets the default. */
typedef struct {
  GuestDisk *disk;
  gboolean mode, bus;
} Parsing;

static gboolean
find_name (const char *const *names, const char *text, guint *index)
{
  for (*index = 0; names[*index] != NULL; (*index)++)
    if (g_str_equal (names[*index], text))
      return TRUE;
  return FALSE;
}

static gboolean
set_bad_value (GError **error, const char *key, const char *value, const char *const *names)
{
  g_autofree char *list = g_strjoinv (", ", (char **)names);

  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "%s=%s: must be one of %s", key, value,
               list);
  return FALSE;
}

/* Takes "key=value". FALSE without @error if it is no option of a disk, or given before. */
static gboolean
take_value (Parsing *parsing, const char *key, const char *value, GError **error)
{
  static const char *const buses[] = { "virtio", "scsi", "ide", "nvme", NULL };
  GuestDisk *disk = parsing->disk;
  guint index;

  if (g_str_equal (key, "bus") && !parsing->bus) {
    if (!find_name (buses, value, &index))
      return set_bad_value (error, key, value, buses);
    disk->bus = index;
    parsing->bus = TRUE;
    return TRUE;
  }
  if (g_str_equal (key, "format") && disk->format == NULL) {
    if (!find_name (format_names, value, &index))
      return set_bad_value (error, key, value, format_names);
    disk->format = g_strdup (value);
    return TRUE;
  }
  if (g_str_equal (key, "name") && disk->name == NULL) {
    disk->name = g_strdup (value);
    return check_name (disk, error);
  }
  return FALSE;
}

static gboolean
take_word (Parsing *parsing, const char *word)
{
  GuestDisk *disk = parsing->disk;
  guint index;

  if (find_name (mode_names, word, &index) && !parsing->mode) {
    disk->mode = index;
    parsing->mode = TRUE;
    return TRUE;
  }
  if (g_str_equal (word, "cdrom") && disk->media == DISK_MEDIA_DISK) {
    disk->media = DISK_MEDIA_CDROM;
    return TRUE;
  }
  if (g_str_equal (word, "iothread") && !disk->iothread)
    return disk->iothread = TRUE;
  return FALSE;
}

/* Takes one option; see take_value(). */
static gboolean
take_option (Parsing *parsing, const char *option, GError **error)
{
  const char *equals = strchr (option, '=');

  if (equals == NULL)
    return take_word (parsing, option);
  g_autofree char *key = g_strndup (option, equals - option);
  return take_value (parsing, key, equals + 1, error);
}

GuestDisk *
guest_disk_parse (const char *text, GError **error)
{
  g_autoptr (GuestDisk) disk = guest_disk_new (NULL);
  g_autofree char *path = g_strdup (text);
  Parsing parsing = { .disk = disk };
  g_autoptr (GError) cause = NULL;
  char *comma;

  while ((comma = strrchr (path, ',')) != NULL && take_option (&parsing, comma + 1, &cause))
    *comma = '\0';
  if (cause != NULL) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "disk '%s': %s", text, cause->message);
    return NULL;
  }
  if (*path == '\0') {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "disk '%s' has no path", text);
    return NULL;
  }
  disk->storage = disk_path_is_nbd (path) ? DISK_STORAGE_NBD : DISK_STORAGE_FILE;
  disk->path = g_steal_pointer (&path);
  if (disk->media == DISK_MEDIA_CDROM && !parsing.mode)
    disk->mode = DISK_READONLY;
  if (disk->media == DISK_MEDIA_CDROM && !parsing.bus)
    disk->bus = DISK_BUS_IDE;
  return g_steal_pointer (&disk);
}

/* ---- JSON ---- */

static DiskLayer *
layer_from_json (JsonNode *node, GError **error)
{
  g_autoptr (DiskLayer) layer = disk_layer_new (NULL, "raw", DISK_STORAGE_FILE);
  JsonObject *object = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  guint storage = DISK_STORAGE_FILE;
  guint format;

  if (object == NULL) {
    member_invalid (error, "backing", "must be an array of objects");
    return NULL;
  }
  if (!member_take_string (object, "path", &layer->path, error) ||
      !member_take_string (object, "format", &layer->format, error) ||
      !member_take_choice (object, "storage", storage_names, &storage, error))
    return NULL;
  layer->storage = storage;
  if (layer->path == NULL || (storage == DISK_STORAGE_NBD ? !disk_path_is_nbd (layer->path)
                                                          : !g_path_is_absolute (layer->path)))
    member_invalid (error, "backing", "needs an absolute path or the URL of an NBD export");
  else if (!find_name (format_names, layer->format, &format))
    member_invalid (error, "backing", "has a format that is neither raw nor qcow2");
  else
    return g_steal_pointer (&layer);
  return NULL;
}

static gboolean
take_backing (JsonObject *object, GuestDisk *disk, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonArray *array = member_find_array (object, "backing", GUEST_DISK_LAYERS_MAX, &cause);

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    DiskLayer *layer = layer_from_json (json_array_get_element (array, i), &cause);
    if (layer == NULL)
      break;
    g_ptr_array_add (disk->backing, layer);
  }
  if (cause == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
take_kind (JsonObject *object, GuestDisk *disk, GError **error)
{
  guint media = DISK_MEDIA_DISK, mode, bus, storage;

  if (!member_take_choice (object, "media", media_names, &media, error))
    return FALSE;
  mode = media == DISK_MEDIA_CDROM ? DISK_READONLY : DISK_CAPTURE;
  bus = media == DISK_MEDIA_CDROM ? DISK_BUS_IDE : DISK_BUS_VIRTIO;
  storage =
      disk->path != NULL && disk_path_is_nbd (disk->path) ? DISK_STORAGE_NBD : DISK_STORAGE_FILE;
  if (!member_take_choice (object, "mode", mode_names, &mode, error) ||
      !member_take_choice (object, "bus", bus_names, &bus, error) ||
      !member_take_choice (object, "storage", storage_names, &storage, error))
    return FALSE;
  disk->media = media;
  disk->mode = mode;
  disk->bus = bus;
  disk->storage = storage;
  return TRUE;
}

static GuestDisk *
disk_from_object (JsonObject *object, GError **error)
{
  g_autoptr (GuestDisk) disk = guest_disk_new (NULL);
  guint64 mtime = 0;
  guint format;

  if (!member_take_string (object, "name", &disk->name, error) ||
      !member_take_string (object, "device", &disk->device, error) ||
      !member_take_string (object, "path", &disk->path, error) ||
      !take_kind (object, disk, error) ||
      !member_take_string (object, "format", &disk->format, error) ||
      !member_take_number (object, "size", &disk->size, error) ||
      !member_take_number (object, "virtual_size", &disk->virtual_size, error) ||
      !member_take_number (object, "mtime_us", &mtime, error) ||
      !member_take_boolean (object, "iothread", &disk->iothread, error) ||
      !member_take_boolean (object, "stop_on_error", &disk->stop_on_error, error) ||
      !take_backing (object, disk, error))
    return NULL;
  disk->mtime_us = MIN (mtime, G_MAXINT64);
  if (disk->format != NULL && !find_name (format_names, disk->format, &format)) {
    set_invalid (error, disk, "has a format that is neither raw nor qcow2");
    return NULL;
  }
  return g_steal_pointer (&disk);
}

GuestDisk *
guest_disk_from_json (JsonNode *node, GError **error)
{
  g_autoptr (GuestDisk) disk = NULL;

  if (JSON_NODE_HOLDS_OBJECT (node))
    disk = disk_from_object (json_node_get_object (node), error);
  else if (member_is_string (node))
    disk = guest_disk_parse (json_node_get_string (node), error);
  else
    member_invalid (error, "disks", "must be an array of texts and objects");
  return disk != NULL && check_disk (disk, error) ? g_steal_pointer (&disk) : NULL;
}

static JsonArray *
backing_to_json (const GuestDisk *disk)
{
  JsonArray *array = json_array_new();

  for (guint i = 0; i < disk->backing->len; i++) {
    const DiskLayer *layer = disk->backing->pdata[i];
    JsonObject *object = json_object_new();
    json_object_set_string_member (object, "path", layer->path);
    json_object_set_string_member (object, "format", layer->format);
    json_object_set_string_member (object, "storage", storage_names[layer->storage]);
    json_array_add_object_element (array, object);
  }
  return array;
}

JsonObject *
guest_disk_to_json (const GuestDisk *disk)
{
  JsonObject *object = json_object_new();

  member_add_string (object, "name", disk->name);
  member_add_string (object, "device", disk->device);
  member_add_string (object, "path", disk->path);
  json_object_set_string_member (object, "mode", mode_names[disk->mode]);
  json_object_set_string_member (object, "bus", bus_names[disk->bus]);
  json_object_set_string_member (object, "media", media_names[disk->media]);
  json_object_set_string_member (object, "storage", storage_names[disk->storage]);
  member_add_string (object, "format", disk->format);
  json_object_set_int_member (object, "size", disk->size);
  json_object_set_int_member (object, "virtual_size", disk->virtual_size);
  json_object_set_int_member (object, "mtime_us", disk->mtime_us);
  if (disk->iothread)
    json_object_set_boolean_member (object, "iothread", TRUE);
  if (disk->stop_on_error)
    json_object_set_boolean_member (object, "stop_on_error", TRUE);
  if (disk->backing->len > 0)
    json_object_set_array_member (object, "backing", backing_to_json (disk));
  return object;
}

/* ---- Names ---- */

gboolean
guest_disks_name (GPtrArray *disks, GError **error)
{
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);
  guint counts[G_N_ELEMENTS (media_names)] = { 0 };

  for (guint i = 0; i < disks->len; i++) {
    GuestDisk *disk = disks->pdata[i];
    guint number = counts[disk->media];
    if (disk->bus != DISK_BUS_PFLASH)
      counts[disk->media]++;
    if (disk->name == NULL)
      disk->name = g_strdup_printf ("%s%u", media_names[disk->media], number);
    if (!g_hash_table_add (names, disk->name)) {
      g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "two disks have the name %s",
                   disk->name);
      return FALSE;
    }
  }
  return TRUE;
}
