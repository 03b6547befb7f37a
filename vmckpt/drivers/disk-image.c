/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-image.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define INFO_MAX_BYTES (4 * 1024 * 1024)
#define INFO_MAX_DEPTH 16

gboolean
disk_storage_of (const char *path, DiskStorage *storage, guint64 *size)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return FALSE;
  *storage = S_ISBLK (st.st_mode) ? DISK_STORAGE_BLOCK : DISK_STORAGE_FILE;
  *size = st.st_size;
  if (S_ISBLK (st.st_mode))
    return ioctl (fd, BLKGETSIZE64, size) == 0;
  errno = S_ISDIR (st.st_mode) ? EISDIR : EINVAL;
  return S_ISREG (st.st_mode);
}

/* -U: another guest may have a shared image open. @said: (out): what went wrong. */
static JsonObject *
run_info (const char *path, const char *format, char **said)
{
  const char *const argv[] = { "qemu-img", "info", "-U", "--output=json", "-f", format,
                               "--",       path,   NULL };
  g_autofree char *output = NULL;
  g_autoptr (GError) cause = NULL;
  int status;

  if (!g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, said,
                     &status, &cause)) {
    *said = g_strdup_printf ("qemu-img (package qemu-utils) does not run: %s", cause->message);
    return NULL;
  }
  g_strstrip (*said);
  if (!g_spawn_check_wait_status (status, NULL))
    return NULL;
  JsonObject *info =
      json_parse_bounded (output, strlen (output), INFO_MAX_BYTES, INFO_MAX_DEPTH, &cause);
  if (info == NULL) {
    g_free (*said);
    *said = g_strdup (cause->message);
  }
  return info;
}

static gboolean
set_impossible (GError **error, const char *path, const char *problem)
{
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, "image '%s' %s", path, problem);
  return FALSE;
}

/* What would need more than the image, or is not to be relied on. */
static gboolean
check_info (const char *path, JsonObject *info, GError **error)
{
  JsonObject *specific = json_object_has_member (info, "format-specific")
                             ? json_get_object (info, "format-specific", NULL)
                             : NULL;
  JsonObject *data = specific != NULL ? json_get_object (specific, "data", NULL) : NULL;

  if (json_get_bool_or (info, "encrypted", FALSE))
    return set_impossible (error, path, "is encrypted, which vmckpt has no key for");
  if (data != NULL && json_get_bool_or (data, "corrupt", FALSE))
    return set_impossible (error, path, "is marked as corrupt: see qemu-img check -r");
  if (data != NULL && json_get_string_or (data, "data-file", NULL) != NULL)
    return set_impossible (error, path,
                           "keeps its data in another file: qemu-img convert makes one that has "
                           "all");
  return TRUE;
}

static JsonObject *
read_info (const char *path, const char *format, GError **error)
{
  g_autofree char *said = NULL;
  g_autoptr (JsonObject) info = run_info (path, format, &said);

  if (info == NULL) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "image '%s': %s", path, said);
    return NULL;
  }
  return check_info (path, info, error) ? g_steal_pointer (&info) : NULL;
}

/* The image behind the one that @info is of. @layer: (out): NULL if there is none. */
static gboolean
read_backing (const char *path, JsonObject *info, DiskLayer **layer, GError **error)
{
  const char *backing = json_get_string_or (info, "full-backing-filename", NULL);
  const char *format = json_get_string_or (info, "backing-filename-format", NULL);
  DiskStorage storage = DISK_STORAGE_NBD;
  guint64 size;

  *layer = NULL;
  if (backing == NULL)
    return TRUE;
  if (strlen (backing) > GUEST_TEXT_MAX ||
      (!g_path_is_absolute (backing) && !disk_path_is_nbd (backing)))
    return set_impossible (error, path, "has a backing file that is neither a path nor nbd://…");
  if (format == NULL || (!g_str_equal (format, "raw") && !g_str_equal (format, "qcow2"))) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "image '%s' says %s as the format of its backing file '%s', and must say raw or "
                 "qcow2: qemu-img rebase -u -F FORMAT -b '%s' '%s' writes that down",
                 path, format != NULL ? format : "nothing", backing, backing, path);
    return FALSE;
  }
  if (!disk_path_is_nbd (backing) && !disk_storage_of (backing, &storage, &size)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "backing file '%s' of '%s': %s",
                 backing, path, g_strerror (errno));
    return FALSE;
  }
  *layer = disk_layer_new (backing, format, storage);
  return TRUE;
}

gboolean
disk_image_read (GuestDisk *disk, GError **error)
{
  g_autoptr (JsonObject) info = read_info (disk->path, disk->format, error);
  const char *path = disk->path;
  DiskLayer *layer;

  if (info == NULL)
    return FALSE;
  disk->virtual_size = json_get_uint64_or (info, "virtual-size", 0);
  g_ptr_array_set_size (disk->backing, 0);
  while (read_backing (path, info, &layer, error)) {
    if (layer == NULL)
      return TRUE;
    g_ptr_array_add (disk->backing, layer);
    if (disk->backing->len > GUEST_DISK_LAYERS_MAX) {
      g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
                   "image '%s' has more than %d images behind it: qemu-img convert makes one of "
                   "them",
                   disk->path, GUEST_DISK_LAYERS_MAX);
      return FALSE;
    }
    path = layer->path;
    json_object_unref (info);
    info = read_info (path, layer->format, error);
    if (info == NULL)
      return FALSE;
  }
  return FALSE;
}
