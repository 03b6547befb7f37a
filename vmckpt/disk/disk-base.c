/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-base.h>

#include <vmckpt/util/json.h>

DiskBase *
disk_base_new (const char *store, const char *checkpoint)
{
  DiskBase *base = g_new0 (DiskBase, 1);

  base->store = g_strdup (store);
  base->checkpoint = g_strdup (checkpoint);
  return base;
}

void
disk_base_free (DiskBase *base)
{
  if (base == NULL)
    return;
  g_free (base->store);
  g_free (base->checkpoint);
  g_free (base);
}

gboolean
disk_base_is (const DiskBase *base, const char *store, const char *checkpoint)
{
  return base != NULL && g_str_equal (base->store, store) &&
         g_str_equal (base->checkpoint, checkpoint);
}

JsonObject *
disk_base_to_json (const DiskBase *base)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "store", base->store);
  json_object_set_string_member (object, "checkpoint", base->checkpoint);
  return object;
}

DiskBase *
disk_base_from_json (JsonObject *object)
{
  const char *store = json_get_string_or (object, "store", NULL);
  const char *checkpoint = json_get_string_or (object, "checkpoint", NULL);

  return store != NULL && checkpoint != NULL ? disk_base_new (store, checkpoint) : NULL;
}
