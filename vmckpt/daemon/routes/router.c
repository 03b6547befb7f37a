/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "router.h"

#include "api-error.h"
#include "call.h"
#include "import.h"
#include "request-headers.h"

#include <string.h>

static const Route *const tables[] = { daemon_routes,
                                       guest_routes,
                                       guest_checkpoint_routes,
                                       guest_resume_routes,
                                       power_routes,
                                       checkpoint_routes,
                                       store_routes,
                                       store_maintain_routes,
                                       store_copy_routes,
                                       store_key_routes,
                                       store_quota_routes,
                                       forget_routes,
                                       look_routes,
                                       nbd_routes,
                                       migrate_routes,
                                       host_routes,
                                       domain_routes };

/* A path's segment as text; FALSE if it is not UTF-8. */
static gboolean
take_param (const char *escaped, char **param)
{
  *param = g_uri_unescape_string (escaped, "/");
  return *param != NULL && g_utf8_validate (*param, -1, NULL);
}

/* Matches the path's segments; parameters are unescaped into @params. */
static gboolean
match_path (const char *pattern, const char *path, char **params)
{
  g_auto (GStrv) want = g_strsplit (pattern, "/", -1);
  g_auto (GStrv) have = g_strsplit (path, "/", 16);
  guint n = 0;

  if (g_strv_length (want) != g_strv_length (have))
    return FALSE;
  for (guint i = 0; want[i] != NULL; i++)
    if (want[i][0] != ':' && !g_str_equal (want[i], have[i]))
      return FALSE;
  for (guint i = 0; want[i] != NULL; i++)
    if (want[i][0] == ':' && !take_param (have[i], &params[n++]))
      return FALSE;
  return TRUE;
}

static void
clear_params (char **params)
{
  for (guint i = 0; i < REQUEST_MAX_PARAMS; i++)
    g_clear_pointer (&params[i], g_free);
}

/* The route, with @params filled; NULL with *@path_known telling whether another method would do.
 */
static const Route *
find_route (const char *method, const char *path, char **params, gboolean *path_known)
{
  *path_known = FALSE;
  for (guint t = 0; t < G_N_ELEMENTS (tables); t++)
    for (const Route *route = tables[t]; route->method != NULL; route++) {
      if (match_path (route->path, path, params)) {
        *path_known = TRUE;
        if (g_str_equal (route->method, method))
          return route;
      }
      clear_params (params);
    }
  return NULL;
}

static void
refuse (SoupServerMessage *message, ApiKind kind, const char *text)
{
  g_autoptr (GError) error = g_error_new_literal (API_ERROR, kind, text);
  call_refuse (message, error);
}

/* Parses what the client said, and has it answered. */
static void
answer (SoupServerMessage *message, const Route *route, Request *request, GHashTable *query)
{
  g_autoptr (Request) owned = request;
  g_autoptr (GBytes) body =
      import_is_meant (message)
          ? g_bytes_new (NULL, 0)
          : soup_message_body_flatten (soup_server_message_get_request_body (message));
  g_autoptr (GError) error = NULL;

  request->query = query != NULL ? g_hash_table_ref (query) : NULL;
  if (!request_headers_take_key (message, REQUEST_KEY_HEADER, &request->key, &error) ||
      !request_headers_take_key (message, REQUEST_NEW_KEY_HEADER, &request->new_key, &error) ||
      !request_headers_take_key (message, REQUEST_OTHER_KEY_HEADER, &request->other_key, &error) ||
      !request_parse_body (request, body, &error))
    call_refuse (message, error);
  else if (route->raw != NULL)
    route->raw (request->daemon, message, request);
  else
    call_start (message, g_steal_pointer (&owned), route->handler,
                route->is_long && request_headers_want_stream (message));
}

static void
on_request (SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
            gpointer user_data)
{
  g_autoptr (Request) request = g_new0 (Request, 1);
  gboolean path_known;

  request->daemon = user_data;
  const Route *route =
      find_route (soup_server_message_get_method (message), path, request->params, &path_known);
  if (route != NULL)
    answer (message, route, g_steal_pointer (&request), query);
  else
    refuse (message, path_known ? API_USAGE : API_NOT_FOUND,
            path_known ? "this path has no such method" : "no such path; see docs/api.md");
}

/* The address of this host that the client has connected to; newly allocated. */
static char *
local_address (SoupServerMessage *message)
{
  GSocketAddress *address = soup_server_message_get_local_address (message);

  return address != NULL && G_IS_INET_SOCKET_ADDRESS (address)
             ? g_inet_address_to_string (
                   g_inet_socket_address_get_address (G_INET_SOCKET_ADDRESS (address)))
             : NULL;
}

/* Another host asks: what it may not call is not there. */
static void
on_peer_request (SoupServer *server, SoupServerMessage *message, const char *path,
                 GHashTable *query, gpointer user_data)
{
  g_autoptr (Request) request = g_new0 (Request, 1);
  const char *remote = soup_server_message_get_remote_host (message);
  gboolean path_known;

  request->daemon = user_data;
  request->peer = g_strdup (remote != NULL ? remote : "unknown");
  request->local = local_address (message);
  const Route *route =
      find_route (soup_server_message_get_method (message), path, request->params, &path_known);
  if (route != NULL && route->for_peers)
    answer (message, route, g_steal_pointer (&request), query);
  else
    refuse (message, API_NOT_FOUND, "other hosts may not call this");
}

/* A body beyond the bound is not collected: the request is refused when its headers are read. */
static void
on_got_headers (SoupServerMessage *message, gpointer user_data)
{
  SoupMessageHeaders *headers = soup_server_message_get_request_headers (message);

  /* libsoup 3.2 keeps the descriptor of a kept-alive UNIX connection whose client has gone. */
  if (soup_message_headers_get_one (headers, "Upgrade") == NULL)
    soup_message_headers_replace (soup_server_message_get_response_headers (message), "Connection",
                                  "close");
  if (!import_is_meant (message) &&
      (soup_message_headers_get_encoding (headers) == SOUP_ENCODING_CHUNKED ||
       soup_message_headers_get_content_length (headers) > REQUEST_MAX_BODY)) {
    /* Read and dropped, not collected. */
    soup_message_body_set_accumulate (soup_server_message_get_request_body (message), FALSE);
    refuse (message, API_USAGE, "the request's body must have a length, of at most 1 MiB");
  }
}

static void
on_request_started (SoupServer *server, SoupServerMessage *message, gpointer user_data)
{
  g_signal_connect (message, "got-headers", G_CALLBACK (on_got_headers), NULL);
}

void
router_attach (SoupServer *server, Daemon *daemon)
{
  g_signal_connect (server, "request-started", G_CALLBACK (on_request_started), NULL);
  /* libsoup asks one path's handlers only, and imports have an early one. */
  import_attach (server, daemon);
  soup_server_add_handler (server, IMPORT_PATH, on_request, daemon, NULL);
  soup_server_add_handler (server, NULL, on_request, daemon, NULL);
}

/* As on_got_headers(), but connections are kept: the next call of a migration has no time for a
 * handshake. */
static void
on_got_peer_headers (SoupServerMessage *message, gpointer user_data)
{
  SoupMessageHeaders *headers = soup_server_message_get_request_headers (message);

  if (soup_message_headers_get_encoding (headers) != SOUP_ENCODING_CHUNKED &&
      soup_message_headers_get_content_length (headers) <= REQUEST_MAX_BODY)
    return;
  soup_message_body_set_accumulate (soup_server_message_get_request_body (message), FALSE);
  soup_message_headers_replace (soup_server_message_get_response_headers (message), "Connection",
                                "close");
  refuse (message, API_USAGE, "the request's body must have a length, of at most 1 MiB");
}

static void
on_peer_request_started (SoupServer *server, SoupServerMessage *message, gpointer user_data)
{
  g_signal_connect (message, "got-headers", G_CALLBACK (on_got_peer_headers), NULL);
}

void
router_attach_peers (SoupServer *server, Daemon *daemon)
{
  g_signal_connect (server, "request-started", G_CALLBACK (on_peer_request_started), NULL);
  soup_server_add_handler (server, NULL, on_peer_request, daemon, NULL);
}
