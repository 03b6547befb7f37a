/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store/keys: what opens an encrypted store. */
#include "api-error.h"
#include "router.h"

static JsonObject *
key_to_json (const StoreKey *key, const char *current)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "id", key->id);
  if (key->damaged)
    json_object_set_null_member (object, "kind");
  else
    json_object_set_string_member (object, "kind", key_kind_name (key->kind));
  if (key->label != NULL)
    json_object_set_string_member (object, "label", key->label);
  else
    json_object_set_null_member (object, "label");
  json_object_set_int_member (object, "created_us", key->created_us);
  json_object_set_boolean_member (object, "current", g_strcmp0 (key->id, current) == 0);
  json_object_set_boolean_member (object, "damaged", key->damaged);
  return object;
}

static JsonObject *
list_keys (Request *request, GError **error)
{
  g_autofree char *current = NULL;
  g_autoptr (Store) store = request_store_and_key (request, &current, error);
  g_autoptr (GPtrArray) keys = store != NULL ? store_key_list (store, error) : NULL;

  if (keys == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new();
  for (guint i = 0; i < keys->len; i++)
    json_array_add_object_element (list, key_to_json (keys->pdata[i], current));
  json_object_set_array_member (result, "keys", list);
  return result;
}

/* FALSE with API_USAGE if the request brings no new key. */
static gboolean
require_new_key (Request *request, GError **error)
{
  if (request->new_key != NULL)
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE,
                       "this call needs the new key in the header " REQUEST_NEW_KEY_HEADER);
  return FALSE;
}

static JsonObject *
answer_id (char *id)
{
  g_autofree char *owned = id;

  if (id == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "id", id);
  return result;
}

static JsonObject *
add_key (Request *request, GError **error)
{
  const char *label = NULL;

  if (!request_expect (request, error, "label", NULL) ||
      !request_string (request, "label", &label, error) || !require_new_key (request, error))
    return NULL;
  g_autoptr (Store) store = request_store (request, error);
  return store != NULL ? answer_id (store_key_add (store, request->new_key, label, error)) : NULL;
}

static JsonObject *
remove_key (Request *request, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  return store != NULL ? answer_id (store_key_remove (store, request->params[0], error)) : NULL;
}

static JsonObject *
change_key (Request *request, GError **error)
{
  g_autofree char *current = NULL;
  g_autoptr (Store) store = NULL;

  if (!request_expect (request, error, NULL) || !require_new_key (request, error) ||
      (store = request_store_and_key (request, &current, error)) == NULL)
    return NULL;
  return answer_id (
      store_key_change (store, current != NULL ? current : "", request->new_key, error));
}

const Route store_key_routes[] = {
  { "GET", "/v1/store/keys", list_keys, NULL, FALSE },
  { "POST", "/v1/store/keys", add_key, NULL, FALSE },
  { "POST", "/v1/store/keys/change", change_key, NULL, FALSE },
  { "DELETE", "/v1/store/keys/:key", remove_key, NULL, FALSE },
  { NULL },
};
