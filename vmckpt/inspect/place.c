/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "place.h"

#include "volume-name.h"

#include <vmckpt/inspect/inspector.h>

#include <stdlib.h>
#include <string.h>

void
file_system_free (FileSystem *fs)
{
  g_free (fs->device);
  g_free (fs->volume);
  g_free (fs->type);
  g_free (fs);
}

GPtrArray *
place_list (Appliance *appliance, GError **error)
{
  g_autoptr (GuestfsStrings) list = guestfs_list_filesystems (appliance->g);
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify)file_system_free);

  if (list == NULL) {
    appliance_fail (appliance, error, "looking for file systems");
    return NULL;
  }
  for (guint i = 0; list[i] != NULL && list[i + 1] != NULL; i += 2) {
    FileSystem *fs = g_new0 (FileSystem, 1);
    g_autofree char *name = volume_name ((const char *const *)appliance->options->disks, list[i]);
    fs->device = g_strdup (list[i]);
    fs->volume = reply_text (name, 300);
    fs->type = reply_text (list[i + 1], 60);
    g_ptr_array_add (all, fs);
  }
  return g_steal_pointer (&all);
}

gboolean
place_has_files (const FileSystem *fs)
{
  static const char *const others[] = { "swap",        "unknown",   "crypto_LUKS",
                                        "LVM2_member", "BitLocker", "linux_raid_member",
                                        NULL };
  return !g_strv_contains (others, fs->type);
}

/* "disk0p1 (ext4), disk0p2 (vfat)". */
static char *
describe (GPtrArray *all)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < all->len; i++) {
    const FileSystem *fs = all->pdata[i];
    g_string_append_printf (text, "%s%s (%s)", i > 0 ? ", " : "", fs->volume, fs->type);
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* Of @all, those that @volume names and that have files. (element-type FileSystem, borrowed) */
static GPtrArray *
matching (GPtrArray *all, const char *volume)
{
  GPtrArray *some = g_ptr_array_new();

  for (guint i = 0; i < all->len; i++) {
    FileSystem *fs = all->pdata[i];
    if (volume != NULL && g_str_equal (fs->volume, volume)) {
      g_ptr_array_set_size (some, 0);
      g_ptr_array_add (some, fs);
      break;
    }
    if (place_has_files (fs) && (volume == NULL || volume_is_on_disk (fs->volume, volume)))
      g_ptr_array_add (some, fs);
  }
  return some;
}

static int
compare_lengths (const void *a, const void *b)
{
  return (int)strlen (*(char *const *)a) - (int)strlen (*(char *const *)b);
}

/* What the guest's fstab says, parents first. What cannot be mounted is told: the rest is there. */
static gboolean
mount_system (Appliance *appliance, const char *root, GError **error)
{
  g_autoptr (GuestfsStrings) mounts = guestfs_inspect_get_mountpoints (appliance->g, root);
  gboolean done = FALSE;

  if (mounts == NULL)
    return appliance_fail (appliance, error, "finding out what the guest mounts");
  guint n = g_strv_length (mounts) / 2;
  qsort (mounts, n, 2 * sizeof *mounts, compare_lengths);
  for (guint i = 0; i < n; i++) {
    if (guestfs_mount_ro (appliance->g, mounts[2 * i + 1], mounts[2 * i]) == 0)
      done = TRUE;
    else if (!done)
      return appliance_fail (appliance, error, "mounting the guest's root");
    else
      reply_message (appliance->reply, "%s of the guest cannot be mounted: %s", mounts[2 * i],
                     guestfs_last_error (appliance->g));
  }
  if (!done)
    g_set_error_literal (error, INSPECT_ERROR, INSPECT_ERROR_DAMAGED,
                         "the guest's system names nothing to mount");
  return done;
}

/* The first of the systems that are found, on the disk @volume if that is given; NULL: none. */
static char *
find_system (Appliance *appliance, const char *volume)
{
  g_autoptr (GuestfsStrings) roots = guestfs_inspect_os (appliance->g);

  for (guint i = 0; roots != NULL && roots[i] != NULL; i++) {
    g_autofree char *name = volume_name ((const char *const *)appliance->options->disks, roots[i]);
    if (volume == NULL || volume_is_on_disk (name, volume))
      return g_strdup (roots[i]);
  }
  return NULL;
}

static gboolean
mount_file_system (Appliance *appliance, const FileSystem *fs, GError **error)
{
  return guestfs_mount_ro (appliance->g, fs->device, "/") == 0 ||
         appliance_fail (appliance, error, "mounting %s (%s)", fs->volume, fs->type);
}

static gboolean
mount_place (Appliance *appliance, const char *volume, GError **error)
{
  g_autoptr (GPtrArray) all = place_list (appliance, error);
  g_autoptr (GPtrArray) some = all != NULL ? matching (all, volume) : NULL;
  g_autofree char *choice = all != NULL ? describe (all) : NULL;

  if (all == NULL)
    return FALSE;
  if (some->len == 1)
    return mount_file_system (appliance, some->pdata[0], error);
  g_autofree char *root = some->len > 0 ? find_system (appliance, volume) : NULL;
  if (root != NULL)
    return mount_system (appliance, root, error);
  if (some->len > 1)
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_USAGE,
                 "no operating system was found%s%s; say which file system, as in ID:%s:/PATH: %s",
                 volume != NULL ? " on " : "", volume != NULL ? volume : "",
                 ((const FileSystem *)some->pdata[0])->volume, choice);
  else if (volume != NULL)
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_NOT_FOUND,
                 "there is no file system %s; there are: %s", volume,
                 all->len > 0 ? choice : "none");
  else
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_NOT_FOUND,
                 "no file system was found on the checkpoint's disks%s%s",
                 all->len > 0 ? "; there are: " : "", choice);
  return FALSE;
}

gboolean
place_unmount (Appliance *appliance, GError **error)
{
  if (appliance->mounted == NULL)
    return TRUE;
  g_clear_pointer (&appliance->mounted, g_free);
  return guestfs_umount_all (appliance->g) == 0 ||
         appliance_fail (appliance, error, "unmounting the guest's file systems");
}

gboolean
place_mount (Appliance *appliance, const char *volume, GError **error)
{
  const char *name = volume != NULL ? volume : "";

  if (appliance->mounted != NULL && g_str_equal (appliance->mounted, name))
    return TRUE;
  appliance_set_phase (appliance, "mount");
  if (!place_unmount (appliance, error))
    return FALSE;
  /* Set before: an attempt that fails in its middle leaves something mounted. */
  appliance->mounted = g_strdup ("?");
  if (!mount_place (appliance, volume, error))
    return FALSE;
  g_free (appliance->mounted);
  appliance->mounted = g_strdup (name);
  return TRUE;
}
