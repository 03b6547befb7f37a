/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store: what takes two stores, copy and repair. */
#include "api-error.h"
#include "router.h"
#include "store-json.h"

#include <vmckpt/util/json.h>

/* The store that a member of the body names (transfer full); it is not the call's own. */
static Store *
other_store (Request *request, const char *member, const char *path, GError **error)
{
  if (!g_path_is_absolute (path)) {
    g_set_error (error, API_ERROR, API_USAGE, "'%s' must be an absolute directory", member);
    return NULL;
  }
  return stores_get (request->daemon->stores, path, request->other_key, NULL, error);
}

static gboolean
refuse_same (Store *one, Store *other, GError **error)
{
  if (!stores_same_place (one, other))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE, "both are the same store");
  return FALSE;
}

/* The checkpoints that the body's list names, or all. (transfer full) (element-type Manifest) */
static GPtrArray *
wanted_checkpoints (Request *request, Store *store, GError **error)
{
  g_autoptr (GPtrArray) wanted = g_ptr_array_new_with_free_func ((GDestroyNotify)manifest_free);
  g_autoptr (GError) cause = NULL;

  if (!json_object_has_member (request->body, "checkpoints"))
    return store_manifest_list (store, NULL, NULL, error);
  JsonArray *list = json_get_array (request->body, "checkpoints", &cause);
  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++) {
    JsonNode *node = json_array_get_element (list, i);
    if (json_node_get_value_type (node) != G_TYPE_STRING) {
      list = NULL;
      break;
    }
    Manifest *manifest = store_manifest_find (store, json_node_get_string (node), error);
    if (manifest == NULL)
      return NULL;
    g_ptr_array_add (wanted, manifest);
  }
  if (list == NULL) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "'checkpoints' must be a list of references");
    return NULL;
  }
  return g_steal_pointer (&wanted);
}

static JsonObject *
copy (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Store) to = NULL;
  g_autoptr (GPtrArray) wanted = NULL;
  g_autoptr (GPtrArray) copied = NULL;
  const char *path = NULL;

  if (!request_expect (request, error, "to", "checkpoints", NULL) ||
      !request_string (request, "to", &path, error))
    return NULL;
  if (path == NULL) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "'to' must name the store to copy into");
    return NULL;
  }
  if ((store = request_store (request, error)) == NULL ||
      (to = other_store (request, "to", path, error)) == NULL || !refuse_same (store, to, error) ||
      (wanted = wanted_checkpoints (request, store, error)) == NULL ||
      !store_copy (store, to, wanted, &copied, &request->progress, request->cancellable, error))
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new();
  for (guint i = 0; i < copied->len; i++)
    json_array_add_object_element (list, store_copied_to_json (copied->pdata[i]));
  json_object_set_array_member (result, "checkpoints", list);
  return result;
}

static JsonObject *
repair (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Store) from = NULL;
  g_autoptr (StoreRepair) report = NULL;
  const char *path = NULL;
  gboolean dry_run = FALSE;

  if (!request_expect (request, error, "from", "dry_run", NULL) ||
      !request_string (request, "from", &path, error) ||
      !request_bool (request, "dry_run", &dry_run, error) ||
      (store = request_store (request, error)) == NULL ||
      (path != NULL && ((from = other_store (request, "from", path, error)) == NULL ||
                        !refuse_same (store, from, error))))
    return NULL;
  report = store_repair (store, from, dry_run, &request->progress, request->cancellable, error);
  return report != NULL ? store_repair_to_json (report) : NULL;
}

const Route store_copy_routes[] = {
  { "POST", "/v1/store/copy", copy, NULL, TRUE },
  { "POST", "/v1/store/repair", repair, NULL, TRUE },
  { NULL },
};
