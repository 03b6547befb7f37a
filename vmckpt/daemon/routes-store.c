/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store: making a store. */
#include "router.h"

static JsonObject *
init (Request *request, GError **error)
{
  const char *path = request_store_path (request, error);
  g_autoptr (Backend) backend = NULL;
  g_autoptr (Store) store = NULL;

  if (path == NULL || !request_expect (request, error, NULL))
    return NULL;
  backend = backend_directory_open (path, TRUE, error);
  if (backend == NULL || !store_init (backend, error))
    return NULL;
  store = request_store (request, error);
  if (store == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "location", store_location (store));
  json_object_set_string_member (result, "id", store_id (store));
  return result;
}

const Route store_routes[] = {
  { "POST", "/v1/store/init", init, NULL, FALSE },
  { NULL },
};
