/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store: looking after a store. */
#include "router.h"

#include <vmckpt/store/maintain.h>

static JsonObject *
finding_to_json (const StoreFinding *finding)
{
  JsonObject *object = json_object_new();
  JsonArray *checkpoints = json_array_new();

  for (guint i = 0; finding->checkpoints != NULL && finding->checkpoints[i] != NULL; i++)
    json_array_add_string_element (checkpoints, finding->checkpoints[i]);
  json_object_set_string_member (object, "object", finding->object);
  json_object_set_string_member (object, "problem", finding->problem);
  json_object_set_array_member (object, "checkpoints", checkpoints);
  return object;
}

static JsonObject *
check (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (GPtrArray) findings = NULL;
  gboolean read_data = FALSE;

  if (!request_expect (request, error, "read_data", NULL) ||
      !request_bool (request, "read_data", &read_data, error) ||
      (store = request_store (request, error)) == NULL ||
      !store_check (store, read_data, &findings, &request->progress, request->cancellable, error))
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new();
  for (guint i = 0; i < findings->len; i++)
    json_array_add_object_element (list, finding_to_json (g_ptr_array_index (findings, i)));
  json_object_set_array_member (result, "findings", list);
  json_object_set_boolean_member (result, "read_data", read_data);
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
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "deleted_packs", report.deleted_packs);
  json_object_set_int_member (result, "freed_bytes", report.freed_bytes);
  json_object_set_int_member (result, "rewritten_chunks", report.rewritten_chunks);
  json_object_set_int_member (result, "waiting_packs", report.waiting_packs);
  return result;
}

static JsonObject *
stats (Request *request, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  StoreStats stats = { 0 };

  if (store == NULL || !store_stats (store, request_query_bool (request, "unused"), &stats, error))
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
  return result;
}

const Route store_maintain_routes[] = {
  { "POST", "/v1/store/check", check, NULL, TRUE },
  { "POST", "/v1/store/gc", gc, NULL, TRUE },
  { "GET", "/v1/store/stats", stats, NULL, FALSE },
  { NULL },
};
