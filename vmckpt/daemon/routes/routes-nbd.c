/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/checkpoints/…/nbd, /v1/nbd: disks of checkpoints, served to who speaks NBD. */
#include "api-error.h"
#include "router.h"

#include <vmckpt/store/manifest.h>
#include <vmckpt/util/json.h>

#include <string.h>

static gboolean
parse_wish (Request *request, DiskExportWish *wish, gboolean *detach, GError **error)
{
  return request_expect (request, error, "disk", "socket", "listen", "tls", "writable", "insecure",
                         "detach", NULL) &&
         request_string (request, "disk", &wish->disk, error) &&
         request_string (request, "socket", &wish->socket, error) &&
         request_string (request, "listen", &wish->listen, error) &&
         request_string (request, "tls", &wish->tls, error) &&
         request_bool (request, "writable", &wish->writable, error) &&
         request_bool (request, "insecure", &wish->insecure, error) &&
         request_bool (request, "detach", detach, error);
}

static gboolean
check_wish (Request *request, const DiskExportWish *wish, GError **error)
{
  const char *paths[] = { wish->socket, wish->tls };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    if (paths[i] == NULL || g_path_is_absolute (paths[i]))
      continue;
    g_set_error (error, API_ERROR, API_USAGE, "'%s' is not an absolute path", paths[i]);
    return FALSE;
  }
  if (wish->socket == NULL || wish->listen == NULL)
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE, "either a socket or an address, not both");
  return FALSE;
}

/* Serves until the client leaves or somebody stops it. */
static JsonObject *
serve_attached (Request *request, JsonObject *served, GError **error)
{
  DiskExports *exports = request->daemon->exports;
  g_autoptr (JsonObject) result = served;
  guint64 number = json_object_get_int_member (served, "number");
  g_autofree char *text = json_to_line (served);

  request->send_line (
      "serving",
      json_parse_bounded (text, strlen (text), REQUEST_MAX_BODY, REQUEST_MAX_DEPTH, NULL),
      request->watcher.user_data);
  if (!disk_exports_wait (exports, number, request->cancellable, error)) {
    disk_exports_stop (exports, number, NULL);
    return NULL;
  }
  json_object_set_string_member (result, "state", "stopped");
  return g_steal_pointer (&result);
}

static JsonObject *
serve_checkpoint (Request *request, GError **error)
{
  DiskExportWish wish = { .key = request->key };
  gboolean detach = FALSE;
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  if (!parse_wish (request, &wish, &detach, error) || !check_wish (request, &wish, error) ||
      (store = request_store (request, error)) == NULL ||
      (manifest = store_manifest_find (store, request->params[0], error)) == NULL)
    return NULL;
  wish.store = store;
  wish.store_path = request_store_path (request, error);
  wish.manifest = manifest;
  wish.attached = !detach;
  if (request->key != NULL)
    disk_exports_offer_key (request->daemon->exports, wish.store_path, request->key);
  JsonObject *served = disk_exports_start (request->daemon->exports, &wish, error);
  return served == NULL || detach ? served : serve_attached (request, served, error);
}

static JsonObject *
list_exports (Request *request, GError **error)
{
  JsonObject *result = json_object_new();

  json_object_set_array_member (result, "exports", disk_exports_list (request->daemon->exports));
  return result;
}

static JsonObject *
stop_export (Request *request, GError **error)
{
  guint64 number;

  if (!g_ascii_string_to_unsigned (request->params[0], 10, 1, G_MAXUINT32, &number, NULL)) {
    g_set_error (error, API_ERROR, API_USAGE, "'%s' is not the number of an export",
                 request->params[0]);
    return NULL;
  }
  if (!disk_exports_stop (request->daemon->exports, number, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "number", number);
  json_object_set_string_member (result, "state", "stopped");
  return result;
}

const Route nbd_routes[] = {
  { "POST", "/v1/checkpoints/:ref/nbd", serve_checkpoint, NULL, TRUE },
  { "GET", "/v1/nbd", list_exports, NULL, FALSE },
  { "DELETE", "/v1/nbd/:number", stop_export, NULL, FALSE },
  { NULL },
};
