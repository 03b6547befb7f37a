/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/unit/standstill.h>

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/json.h>

void
standstill_free (Standstill *standstill)
{
  if (standstill == NULL)
    return;
  g_free (standstill->store_path);
  g_free (standstill->store);
  g_free (standstill->checkpoint);
  g_free (standstill);
}

Standstill *
standstill_copy (const Standstill *standstill)
{
  Standstill *copy = g_memdup2 (standstill, sizeof *standstill);

  copy->store_path = g_strdup (standstill->store_path);
  copy->store = g_strdup (standstill->store);
  copy->checkpoint = g_strdup (standstill->checkpoint);
  return copy;
}

gboolean
standstill_is_saved (QmpClient *monitor, gboolean *saved, GError **error)
{
  g_autofree char *status = qmp_query_status (monitor, error);

  *saved = g_strcmp0 (status, "postmigrate") == 0;
  return status != NULL;
}

Standstill *
standstill_find (QmpClient *monitor, Store *store, const char *store_path, const Manifest *manifest)
{
  g_auto (QmpMigration) migration = { 0 };
  gboolean saved;

  /* The figures first: a guest that is in that state after them was in it before. */
  if (!qmp_query_migrate (monitor, &migration, NULL) ||
      !g_str_equal (migration.status, "completed") ||
      !standstill_is_saved (monitor, &saved, NULL) || !saved)
    return NULL;
  Standstill *standstill = g_new0 (Standstill, 1);
  standstill->store_path = g_strdup (store_path);
  standstill->store = g_strdup (store_id (store));
  standstill->checkpoint = g_strdup (manifest->id);
  standstill->total_ms = migration.total_ms;
  standstill->downtime_ms = migration.downtime_ms;
  standstill->transferred = migration.ram_transferred;
  return standstill;
}

gboolean
standstill_check (const Standstill *standstill, QmpClient *monitor, GError **error)
{
  g_auto (QmpMigration) migration = { 0 };

  if (!qmp_query_migrate (monitor, &migration, error))
    return FALSE;
  if (standstill != NULL && g_str_equal (migration.status, "completed") &&
      migration.total_ms == standstill->total_ms &&
      migration.downtime_ms == standstill->downtime_ms &&
      migration.ram_transferred == standstill->transferred)
    return TRUE;
  g_set_error_literal (error, RAM_ERROR, RAM_ERROR_SAVED,
                       "QEMU has saved this guest and does so again only once it has run; which "
                       "checkpoint shows it as it is, is not known");
  return FALSE;
}

JsonObject *
standstill_to_json (const Standstill *standstill)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "store_path", standstill->store_path);
  json_object_set_string_member (object, "store", standstill->store);
  json_object_set_string_member (object, "checkpoint", standstill->checkpoint);
  json_object_set_int_member (object, "total_ms", (gint64)standstill->total_ms);
  json_object_set_int_member (object, "downtime_ms", (gint64)standstill->downtime_ms);
  json_object_set_int_member (object, "transferred", (gint64)standstill->transferred);
  return object;
}

Standstill *
standstill_from_json (JsonObject *object)
{
  const char *path = json_get_string_or (object, "store_path", NULL);
  const char *store = json_get_string_or (object, "store", NULL);
  const char *checkpoint = json_get_string_or (object, "checkpoint", NULL);
  Standstill standstill = { 0 };

  if (path == NULL || store == NULL || checkpoint == NULL ||
      !json_get_uint64 (object, "total_ms", &standstill.total_ms, NULL) ||
      !json_get_uint64 (object, "downtime_ms", &standstill.downtime_ms, NULL) ||
      !json_get_uint64 (object, "transferred", &standstill.transferred, NULL))
    return NULL;
  standstill.store_path = (char *)path;
  standstill.store = (char *)store;
  standstill.checkpoint = (char *)checkpoint;
  return standstill_copy (&standstill);
}
