/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "point-names.h"

#include <string.h>

char *
point_name (PointThing thing, guint index)
{
  return g_strdup_printf (DISK_PREFIX "%c%u", thing, index);
}

gboolean
point_name_is (const char *name, PointThing thing)
{
  const char *number = name + strlen (DISK_PREFIX) + 1;

  if (!g_str_has_prefix (name, DISK_PREFIX) || number[-1] != (char)thing)
    return FALSE;
  return *number != 0 && strspn (number, "0123456789") == strlen (number);
}
