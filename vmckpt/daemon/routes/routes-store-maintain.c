/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store: looking after a store. */
#include "api-error.h"
#include "router.h"
#include "store-json.h"

#include <vmckpt/store/maintain.h>
#include <vmckpt/store/quota.h>
#include <vmckpt/store/usage.h>

static gboolean
parse_subset (const char *text, StoreSubset *subset, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (store_subset_parse (text, subset, &cause))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE, cause->message);
  return FALSE;
}

static JsonObject *
check (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (GPtrArray) findings = NULL;
  gboolean read_data = FALSE;
  const char *text = NULL;
  StoreSubset subset;

  if (!request_expect (request, error, "read_data", "subset", NULL) ||
      !request_bool (request, "read_data", &read_data, error) ||
      !request_string (request, "subset", &text, error) ||
      (text != NULL && !parse_subset (text, &subset, error)) ||
      (store = request_store (request, error)) == NULL)
    return NULL;
  if (!(text != NULL ? store_check_subset (store, &subset, &findings, &request->progress,
                                           request->cancellable, error)
                     : store_check (store, read_data, &findings, &request->progress,
                                    request->cancellable, error)))
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new();
  for (guint i = 0; i < findings->len; i++)
    json_array_add_object_element (list, store_finding_to_json (g_ptr_array_index (findings, i)));
  json_object_set_array_member (result, "findings", list);
  json_object_set_boolean_member (result, "read_data", read_data || text != NULL);
  return result;
}

static JsonObject *
gc (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  gboolean dry_run = FALSE;
  StoreGcReport report = { 0 };

  if (!request_expect (request, error, "dry_run", NULL) ||
      !request_bool (request, "dry_run", &dry_run, error) ||
      (store = request_store (request, error)) == NULL ||
      !store_gc (store, dry_run, &report, &request->progress, request->cancellable, error))
    return NULL;
  return store_gc_to_json (&report);
}

static JsonObject *
stats (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  gboolean unused = FALSE;
  StoreStats stats = { 0 };

  if (!request_expect (request, error, "unused", NULL) ||
      !request_bool (request, "unused", &unused, error) ||
      (store = request_store (request, error)) == NULL ||
      !store_stats (store, unused, &stats, &request->progress, request->cancellable, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "checkpoints", stats.checkpoints);
  json_object_set_int_member (result, "logical_bytes", stats.logical_bytes);
  json_object_set_int_member (result, "chunks", stats.chunks);
  json_object_set_int_member (result, "chunk_bytes", stats.chunk_bytes);
  json_object_set_int_member (result, "packs", stats.packs);
  json_object_set_int_member (result, "pack_bytes", stats.pack_bytes);
  json_object_set_int_member (result, "other_bytes", stats.other_bytes);
  json_object_set_int_member (result, "unused_bytes", stats.unused_bytes);
  /* Limits that cannot be read are check's to tell of. */
  g_autoptr (StoreQuota) quota = store_quota_get (store, NULL);
  if (quota != NULL && quota->store_limit > 0)
    json_object_set_int_member (result, "store_limit", (gint64)quota->store_limit);
  else
    json_object_set_null_member (result, "store_limit");
  return result;
}

static JsonObject *
use_to_json (const StoreUse *use)
{
  JsonObject *object = json_object_new();

  json_object_set_int_member (object, "logical_bytes", use->logical_bytes);
  json_object_set_int_member (object, "unique_bytes", use->unique_bytes);
  json_object_set_int_member (object, "freed_bytes", use->freed_bytes);
  return object;
}

static JsonObject *
checkpoint_use_to_json (const StoreCheckpointUse *checkpoint)
{
  JsonObject *object = use_to_json (&checkpoint->use);

  json_object_set_string_member (object, "id", checkpoint->id);
  json_object_set_string_member (object, "guest", checkpoint->guest);
  json_object_set_string_member (object, "guest_uuid", checkpoint->guest_uuid);
  json_object_set_int_member (object, "created_us", checkpoint->created_us);
  json_object_set_boolean_member (object, "damaged", checkpoint->damaged);
  return object;
}

static JsonObject *
guest_use_to_json (const StoreGuestUse *guest)
{
  JsonObject *object = use_to_json (&guest->use);

  json_object_set_string_member (object, "guest", guest->guest);
  json_object_set_string_member (object, "guest_uuid", guest->guest_uuid);
  json_object_set_int_member (object, "checkpoints", guest->checkpoints);
  return object;
}

static JsonObject *
usage (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (StoreUsage) usage = NULL;

  if (!request_expect (request, error, NULL) || (store = request_store (request, error)) == NULL)
    return NULL;
  usage = store_usage (store, &request->progress, request->cancellable, error);
  if (usage == NULL)
    return NULL;
  JsonObject *result = use_to_json (&usage->all);
  JsonArray *checkpoints = json_array_new(), *guests = json_array_new();
  for (guint i = 0; i < usage->checkpoints->len; i++)
    json_array_add_object_element (checkpoints,
                                   checkpoint_use_to_json (usage->checkpoints->pdata[i]));
  for (guint i = 0; i < usage->guests->len; i++)
    json_array_add_object_element (guests, guest_use_to_json (usage->guests->pdata[i]));
  json_object_set_int_member (result, "unneeded_bytes", usage->unneeded_bytes);
  json_object_set_array_member (result, "checkpoints", checkpoints);
  json_object_set_array_member (result, "guests", guests);
  return result;
}

const Route store_maintain_routes[] = {
  { "POST", "/v1/store/check", check, NULL, TRUE },
  { "POST", "/v1/store/gc", gc, NULL, TRUE },
  { "POST", "/v1/store/stats", stats, NULL, TRUE },
  { "POST", "/v1/store/usage", usage, NULL, TRUE },
  { NULL },
};
