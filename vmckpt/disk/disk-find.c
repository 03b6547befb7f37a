/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-find.h>

GQuark
disk_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-disk-error");
}

void
guest_drive_free (GuestDrive *drive)
{
  if (drive == NULL)
    return;
  g_free (drive->qdev);
  g_free (drive->device);
  g_free (drive->node);
  g_free (drive->format);
  g_free (drive->filename);
  g_free (drive->busy);
  g_free (drive);
}

GuestDrive *
disk_find_drive (GPtrArray *drives, const char *node)
{
  for (guint i = 0; i < drives->len; i++) {
    GuestDrive *drive = g_ptr_array_index (drives, i);
    if (g_strcmp0 (drive->node, node) == 0 || g_strcmp0 (drive->device, node) == 0 ||
        g_strcmp0 (drive->qdev, node) == 0)
      return drive;
  }
  return NULL;
}
