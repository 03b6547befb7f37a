/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/store: making a store. */
#include "api-error.h"
#include "router.h"

/* An encrypted store needs a key; who gives one does not want a store in the clear. */
static gboolean
check_key (Request *request, gboolean encrypt, const char *label, GError **error)
{
  if (encrypt && request->key == NULL)
    g_set_error_literal (error, API_ERROR, API_KEY,
                         "an encrypted store needs its first key: a password, or a key file");
  else if (!encrypt && (request->key != NULL || label != NULL))
    g_set_error_literal (error, API_ERROR, API_USAGE,
                         "a key is given, but the store is not to be encrypted: give --encrypt, or "
                         "no key");
  else
    return TRUE;
  return FALSE;
}

static JsonObject *
init (Request *request, GError **error)
{
  const char *path = request_store_path (request, error);
  g_autoptr (Backend) backend = NULL;
  g_autoptr (Store) store = NULL;

  gboolean encrypt = FALSE;
  const char *label = NULL;

  if (path == NULL || !request_expect (request, error, "encrypt", "label", NULL) ||
      !request_bool (request, "encrypt", &encrypt, error) ||
      !request_string (request, "label", &label, error) ||
      !check_key (request, encrypt, label, error))
    return NULL;
  backend = backend_directory_open (path, TRUE, error);
  if (backend == NULL || !(encrypt ? store_init_encrypted (backend, request->key, label, error)
                                   : store_init (backend, error)))
    return NULL;
  store = request_store (request, error);
  if (store == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "location", store_location (store));
  json_object_set_string_member (result, "id", store_id (store));
  json_object_set_boolean_member (result, "encrypted", store_is_encrypted (store));
  return result;
}

const Route store_routes[] = {
  { "POST", "/v1/store/init", init, NULL, FALSE },
  { NULL },
};
