/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-homes.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define HOMES_MAX 10000

char *
disk_home_make (const char *disks, const char *name, GError **error)
{
  if (g_mkdir_with_parents (disks, 0700) < 0) {
    fd_set_errno_error (error, "making the disks directory %s", disks);
    return NULL;
  }
  /* Those two names are taken (runtime.h). */
  gboolean taken = g_str_equal (name, "temporary") || g_str_equal (name, "left");
  for (guint i = taken ? 2 : 1; i < HOMES_MAX; i++) {
    g_autofree char *last = i == 1 ? g_strdup (name) : g_strdup_printf ("%s.%u", name, i);
    g_autofree char *home = g_build_filename (disks, last, NULL);
    if (g_mkdir (home, 0700) == 0)
      return g_steal_pointer (&home);
    if (errno != EEXIST) {
      fd_set_errno_error (error, "making %s", home);
      return NULL;
    }
  }
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS, "too many directories %s/%s.N: remove some",
               disks, name);
  return NULL;
}

gboolean
disk_home_has (const char *disks, const char *path)
{
  gsize len = strlen (disks);

  return path != NULL && strncmp (path, disks, len) == 0 && path[len] == '/';
}

static void
add_if_ours (GPtrArray *files, const char *disks, const char *path)
{
  if (disk_home_has (disks, path))
    g_ptr_array_add (files, g_strdup (path));
}

GPtrArray *
disk_home_files (const char *disks, const GuestSpec *spec)
{
  GPtrArray *files = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->mode != DISK_CAPTURE)
      continue;
    add_if_ours (files, disks, disk->path);
    for (guint j = 0; j < disk->backing->len; j++)
      add_if_ours (files, disks, ((DiskLayer *)disk->backing->pdata[j])->path);
  }
  return files;
}

gboolean
disk_home_has_overlays (const char *home)
{
  g_autoptr (GDir) dir = g_dir_open (home, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    if (g_str_has_suffix (name, ".qcow2"))
      return TRUE;
  return FALSE;
}

void
disk_home_remove_own (const char *disks, const GuestSpec *spec)
{
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->mode == DISK_CAPTURE && disk_home_has (disks, disk->path))
      g_unlink (disk->path);
  }
}

void
disk_home_remove_shared (const char *disks, GPtrArray *files)
{
  for (guint i = 0; i < files->len; i++) {
    g_autofree char *home = g_path_get_dirname (files->pdata[i]);
    if (g_str_equal (home, disks) || disk_home_has_overlays (home))
      continue;
    g_unlink (files->pdata[i]);
    g_rmdir (home);
  }
}
