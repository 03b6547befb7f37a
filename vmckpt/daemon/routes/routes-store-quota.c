/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store/quota: limits, and what is used of them. */
#include "api-error.h"
#include "router.h"

#include <vmckpt/store/quota.h>
#include <vmckpt/util/name.h>

#include <string.h>

static void
set_limit (JsonObject *object, const char *member, const guint64 *limit)
{
  if (limit != NULL && *limit > 0)
    json_object_set_int_member (object, member, (gint64)*limit);
  else
    json_object_set_null_member (object, member);
}

/* Every guest that has checkpoints or a limit, by name. */
static JsonArray *
guests_to_json (const StoreQuota *quota, GHashTable *used)
{
  g_autoptr (GHashTable) all = g_hash_table_new (g_str_hash, g_str_equal);
  GHashTable *const tables[] = { quota->guests, used };
  JsonArray *array = json_array_new();
  GHashTableIter iter;
  gpointer name;

  for (guint i = 0; i < G_N_ELEMENTS (tables); i++) {
    g_hash_table_iter_init (&iter, tables[i]);
    while (g_hash_table_iter_next (&iter, &name, NULL))
      g_hash_table_add (all, name);
  }
  g_autoptr (GList) names = g_list_sort (g_hash_table_get_keys (all), (GCompareFunc)strcmp);
  for (GList *at = names; at != NULL; at = at->next) {
    const guint64 *bytes = g_hash_table_lookup (used, at->data);
    JsonObject *object = json_object_new();
    json_object_set_string_member (object, "guest", at->data);
    json_object_set_int_member (object, "bytes", bytes != NULL ? (gint64)*bytes : 0);
    set_limit (object, "limit", g_hash_table_lookup (quota->guests, at->data));
    json_array_add_object_element (array, object);
  }
  return array;
}

/* The limits and what is used now. */
static JsonObject *
quota_to_json (Store *store, GError **error)
{
  g_autoptr (StoreQuota) quota = store_quota_get (store, error);
  g_autoptr (GHashTable) used = NULL;
  guint64 bytes = 0;

  if (quota == NULL || !store_quota_used (store, &bytes, error) ||
      (used = store_quota_used_by_guests (store, error)) == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "store_bytes", (gint64)bytes);
  set_limit (result, "store_limit", &quota->store_limit);
  json_object_set_array_member (result, "guests", guests_to_json (quota, used));
  return result;
}

/* A limit of the body; null takes it away, which is 0. */
static gboolean
parse_limit (JsonNode *node, const char *what, guint64 *limit, GError **error)
{
  gboolean number = JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_INT64;

  *limit = 0;
  if (JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (number && json_node_get_int (node) > 0 &&
      json_node_get_int (node) <= (gint64)QUOTA_LIMIT_MAX) {
    *limit = (guint64)json_node_get_int (node);
    return TRUE;
  }
  g_set_error (error, API_ERROR, API_USAGE,
               "the limit of %.64s is neither null nor a number of bytes from 1 to 2^60", what);
  return FALSE;
}

static gboolean
parse_guests (JsonObject *body, GHashTable *limits, GError **error)
{
  JsonNode *node = json_object_get_member (body, "guests");
  JsonObject *guests =
      node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  g_autoptr (GList) names = guests != NULL ? json_object_get_members (guests) : NULL;

  if (node != NULL && guests == NULL && !JSON_NODE_HOLDS_NULL (node)) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "'guests' is not an object of limits");
    return FALSE;
  }
  for (GList *name = names; name != NULL; name = name->next) {
    guint64 limit;
    if (!name_check (name->data, "guest name", error) ||
        !parse_limit (json_object_get_member (guests, name->data), name->data, &limit, error))
      return FALSE;
    g_hash_table_insert (limits, g_strdup (name->data), g_memdup2 (&limit, sizeof limit));
  }
  return TRUE;
}

static JsonObject *
get_quota (Request *request, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);

  return store != NULL ? quota_to_json (store, error) : NULL;
}

static JsonObject *
set_quota (Request *request, GError **error)
{
  g_autoptr (GHashTable) guests = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (Store) store = NULL;
  guint64 store_limit = 0;

  if (!request_expect (request, error, "store_limit", "guests", NULL))
    return NULL;
  JsonNode *limit = json_object_get_member (request->body, "store_limit");
  if ((limit != NULL && !parse_limit (limit, "the store", &store_limit, error)) ||
      !parse_guests (request->body, guests, error))
    return NULL;
  if (limit == NULL && g_hash_table_size (guests) == 0) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "no limit is given");
    return NULL;
  }
  store = request_store (request, error);
  if (store == NULL ||
      !store_quota_change (store, limit != NULL ? &store_limit : NULL, guests, error))
    return NULL;
  return quota_to_json (store, error);
}

const Route store_quota_routes[] = {
  { "GET", "/v1/store/quota", get_quota, NULL, FALSE },
  { "POST", "/v1/store/quota", set_quota, NULL, FALSE },
  { NULL },
};
