/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume-name.h"

#include <string.h>

#define BTRFS "btrfsvol:"

/* The place in the order of /dev/sda … /dev/sdz, /dev/sdaa, …; @rest: what follows the letters. */
static gboolean
disk_index (const char *device, guint *index, const char **rest)
{
  const char *at = device;
  guint n = 0;

  if (!g_str_has_prefix (at, "/dev/sd"))
    return FALSE;
  for (at += strlen ("/dev/sd"); g_ascii_islower (*at) && n < 1000; at++)
    n = n * 26 + (*at - 'a' + 1);
  *rest = at;
  *index = n - 1;
  return n > 0 && !g_ascii_islower (*at);
}

char *
volume_name (const char *const *disks, const char *device)
{
  const char *rest;
  guint index;

  if (g_str_has_prefix (device, BTRFS))
    device += strlen (BTRFS);
  if (!disk_index (device, &index, &rest) || index >= g_strv_length ((char **)disks))
    return g_strdup (g_str_has_prefix (device, "/dev/") ? device + strlen ("/dev/") : device);
  return g_strconcat (disks[index], g_ascii_isdigit (*rest) ? "p" : "", rest, NULL);
}

gboolean
volume_is_on_disk (const char *volume, const char *disk)
{
  gsize len = strlen (disk);

  if (strncmp (volume, disk, len) != 0)
    return FALSE;
  return volume[len] == '\0' || volume[len] == '/' ||
         (volume[len] == 'p' && g_ascii_isdigit (volume[len + 1]));
}
