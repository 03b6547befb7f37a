/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect: disks, file systems, operating systems and what is installed. Nothing of it is needed
 * for the rest to be told: what cannot be found out is null. */
#include "place.h"
#include "volume-name.h"
#include "work.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define TEXT_MAX 256
#define PACKAGES_MAX 20000 /* are told; a distribution's usual desktop has 3000 */
#define SYSTEMS_MAX 16

/* Sets @member to foreign text, which is freed; what is unknown is null. */
static void
take_text (JsonObject *object, const char *member, char *text)
{
  g_autoptr (GuestfsString) owned = text;
  g_autofree char *shown = NULL;

  if (owned != NULL && owned[0] != '\0' && !g_str_equal (owned, "unknown"))
    shown = reply_text (owned, TEXT_MAX);
  json_set_string_or_null (object, member, shown);
}

static void
take_number (JsonObject *object, const char *member, gint64 number)
{
  if (number >= 0)
    json_object_set_int_member (object, member, number);
  else
    json_object_set_null_member (object, member);
}

/* ---- Disks and file systems ---- */

static JsonArray *
describe_disks (Appliance *appliance)
{
  JsonArray *array = json_array_new();

  for (guint i = 0; appliance->options->disks[i] != NULL; i++) {
    JsonObject *disk = json_object_new();
    g_autoptr (GuestfsStrings) devices = guestfs_list_devices (appliance->g);
    const char *device = devices != NULL && g_strv_length (devices) > i ? devices[i] : NULL;

    json_object_set_string_member (disk, "name", appliance->options->disks[i]);
    take_number (disk, "bytes",
                 device != NULL ? guestfs_blockdev_getsize64 (appliance->g, device) : -1);
    take_text (disk, "partition_table",
               device != NULL ? guestfs_part_get_parttype (appliance->g, device) : NULL);
    json_array_add_object_element (array, disk);
  }
  return array;
}

/* Room in a file system can only be asked when it is mounted. */
static void
describe_room (Appliance *appliance, const FileSystem *fs, JsonObject *object)
{
  struct guestfs_statvfs *room = NULL;

  if (place_has_files (fs) && guestfs_mount_ro (appliance->g, fs->device, "/") == 0) {
    room = guestfs_statvfs (appliance->g, "/");
    guestfs_umount_all (appliance->g);
  }
  take_number (object, "room_bytes", room != NULL ? room->blocks * room->frsize : -1);
  take_number (object, "free_bytes", room != NULL ? room->bfree * room->frsize : -1);
  if (room != NULL)
    guestfs_free_statvfs (room);
}

static JsonArray *
describe_file_systems (Appliance *appliance, GPtrArray *all)
{
  JsonArray *array = json_array_new();

  for (guint i = 0; i < all->len; i++) {
    const FileSystem *fs = all->pdata[i];
    JsonObject *object = json_object_new();

    reply_status (appliance->reply, "file systems", (double)i / all->len);
    json_object_set_string_member (object, "volume", fs->volume);
    json_object_set_string_member (object, "type", fs->type);
    take_text (object, "label", guestfs_vfs_label (appliance->g, fs->device));
    take_text (object, "uuid", guestfs_vfs_uuid (appliance->g, fs->device));
    take_number (object, "bytes",
                 g_str_has_prefix (fs->device, "/dev/")
                     ? guestfs_blockdev_getsize64 (appliance->g, fs->device)
                     : -1);
    describe_room (appliance, fs, object);
    json_array_add_object_element (array, object);
  }
  return array;
}

/* ---- Systems ---- */

static JsonArray *
describe_mounts (Appliance *appliance, const char *root)
{
  g_autoptr (GuestfsStrings) mounts = guestfs_inspect_get_mountpoints (appliance->g, root);
  JsonArray *array = json_array_new();

  for (guint i = 0; mounts != NULL && mounts[i] != NULL && mounts[i + 1] != NULL; i += 2) {
    JsonObject *object = json_object_new();
    g_autofree char *name =
        volume_name ((const char *const *)appliance->options->disks, mounts[i + 1]);
    g_autofree char *volume = reply_text (name, TEXT_MAX);
    reply_set_bytes (object, "path", mounts[i]);
    json_object_set_string_member (object, "volume", volume);
    json_array_add_object_element (array, object);
  }
  return array;
}

static char *
full_version (const struct guestfs_application2 *package)
{
  g_autoptr (GString) text = g_string_new (NULL);

  if (package->app2_epoch > 0)
    g_string_append_printf (text, "%d:", package->app2_epoch);
  g_string_append (text, package->app2_version);
  if (package->app2_release[0] != '\0')
    g_string_append_printf (text, "-%s", package->app2_release);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static JsonArray *
describe_packages (Appliance *appliance, const char *root, JsonObject *system)
{
  struct guestfs_application2_list *list = guestfs_inspect_list_applications2 (appliance->g, root);
  JsonArray *array = json_array_new();
  guint n = list != NULL ? list->len : 0;

  for (guint i = 0; i < MIN (n, PACKAGES_MAX); i++) {
    const struct guestfs_application2 *package = &list->val[i];
    JsonObject *object = json_object_new();
    g_autofree char *name = reply_text (package->app2_name, TEXT_MAX);
    g_autofree char *version = full_version (package);
    g_autofree char *shown = reply_text (version, TEXT_MAX);
    g_autofree char *arch = reply_text (package->app2_arch, TEXT_MAX);
    json_object_set_string_member (object, "name", name);
    json_object_set_string_member (object, "version", shown);
    json_object_set_string_member (object, "arch", arch);
    json_array_add_object_element (array, object);
  }
  json_object_set_int_member (system, "package_count", n);
  if (list != NULL)
    guestfs_free_application2_list (list);
  return array;
}

/* Applications are read from mounted file systems. */
static void
mount_all (Appliance *appliance, const char *root)
{
  g_autoptr (GuestfsStrings) mounts = guestfs_inspect_get_mountpoints (appliance->g, root);

  for (guint i = 0; mounts != NULL && mounts[i] != NULL && mounts[i + 1] != NULL; i += 2)
    if (g_str_equal (mounts[i], "/"))
      guestfs_mount_ro (appliance->g, mounts[i + 1], "/");
  for (guint i = 0; mounts != NULL && mounts[i] != NULL && mounts[i + 1] != NULL; i += 2)
    if (g_str_equal (mounts[i], "/var") || g_str_equal (mounts[i], "/usr"))
      guestfs_mount_ro (appliance->g, mounts[i + 1], mounts[i]);
}

static JsonObject *
describe_system (Appliance *appliance, const char *root)
{
  JsonObject *system = json_object_new();
  guestfs_h *g = appliance->g;
  g_autofree char *name = volume_name ((const char *const *)appliance->options->disks, root);
  g_autofree char *volume = reply_text (name, TEXT_MAX);

  json_object_set_string_member (system, "volume", volume);
  take_text (system, "type", guestfs_inspect_get_type (g, root));
  take_text (system, "distribution", guestfs_inspect_get_distro (g, root));
  take_text (system, "name", guestfs_inspect_get_product_name (g, root));
  take_number (system, "major", guestfs_inspect_get_major_version (g, root));
  take_number (system, "minor", guestfs_inspect_get_minor_version (g, root));
  take_text (system, "arch", guestfs_inspect_get_arch (g, root));
  take_text (system, "hostname", guestfs_inspect_get_hostname (g, root));
  take_text (system, "package_format", guestfs_inspect_get_package_format (g, root));
  json_object_set_array_member (system, "mounts", describe_mounts (appliance, root));
  mount_all (appliance, root);
  json_object_set_array_member (system, "packages", describe_packages (appliance, root, system));
  guestfs_umount_all (g);
  return system;
}

JsonObject *
work_inspect (Appliance *appliance, const InspectRequest *request, GError **error)
{
  g_autoptr (GPtrArray) all = NULL;

  if (!place_unmount (appliance, error))
    return NULL;
  appliance_set_phase (appliance, "file systems");
  all = place_list (appliance, error);
  if (all == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *systems = json_array_new();
  json_object_set_array_member (result, "disks", describe_disks (appliance));
  json_object_set_array_member (result, "filesystems", describe_file_systems (appliance, all));
  appliance_set_phase (appliance, "systems");
  g_autoptr (GuestfsStrings) roots = guestfs_inspect_os (appliance->g);
  for (guint i = 0; roots != NULL && roots[i] != NULL && i < SYSTEMS_MAX; i++)
    json_array_add_object_element (systems, describe_system (appliance, roots[i]));
  json_object_set_array_member (result, "systems", systems);
  return result;
}
