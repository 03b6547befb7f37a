/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The real server and routes of a daemon without guests, asked over its socket. */
#include "router.h"

#include "api-error.h"

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <vmckpt/util/json.h>

typedef struct {
  Daemon daemon;
  SoupServer *server;
  SoupSession *client;
  char *directory;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  GError *error = NULL;

  f->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  f->daemon.runtime = runtime_open (f->directory, NULL, &error);
  g_assert_no_error (error);
  f->daemon.stores = stores_new();
  f->daemon.registry = registry_new (f->daemon.runtime, f->daemon.stores);
  f->daemon.domains = domains_new (f->daemon.registry, NULL);
  f->daemon.loop = g_main_loop_new (NULL, FALSE);
  f->daemon.stopping = g_cancellable_new();
  f->server = soup_server_new (NULL, NULL);
  router_attach (f->server, &f->daemon);
  int fd = fd_listen_unix (f->daemon.runtime->socket, &error);
  g_assert_no_error (error);
  g_autoptr (GSocket) socket = g_socket_new_from_fd (fd, &error);
  g_assert_true (soup_server_listen_socket (f->server, socket, 0, &error));
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (f->daemon.runtime->socket);
  f->client = g_object_new (SOUP_TYPE_SESSION, "remote-connectable", address, NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  /* Every call has let go of the daemon. */
  while (g_atomic_int_get (&f->daemon.calls) > 0)
    g_main_context_iteration (NULL, TRUE);
  g_clear_object (&f->client);
  soup_server_disconnect (f->server);
  g_clear_object (&f->server);
  domains_free (f->daemon.domains);
  registry_free (f->daemon.registry);
  stores_free (f->daemon.stores);
  g_main_loop_unref (f->daemon.loop);
  g_object_unref (f->daemon.stopping);
  g_unlink (f->daemon.runtime->socket);
  g_rmdir (f->daemon.runtime->guests);
  g_autofree char *lock = g_build_filename (f->directory, "lock", NULL);
  g_unlink (lock);
  g_assert_cmpint (g_rmdir (f->directory), ==, 0);
  runtime_free (f->daemon.runtime);
  g_free (f->directory);
}

static void
on_answer (GObject *session, GAsyncResult *result, gpointer user_data)
{
  GBytes **answer = user_data;
  GError *error = NULL;

  *answer = soup_session_send_and_read_finish (SOUP_SESSION (session), result, &error);
  g_assert_no_error (error);
}

/* Asks, and returns the answer's body and status. */
static GBytes *
ask (Fixture *f, const char *method, const char *path, const char *body, const char *accept,
     guint *status)
{
  g_autofree char *uri = g_strconcat ("http://localhost", path, NULL);
  g_autoptr (SoupMessage) message = soup_message_new (method, uri);
  GBytes *answer = NULL;

  if (body != NULL) {
    g_autoptr (GBytes) bytes = g_bytes_new (body, strlen (body));
    soup_message_set_request_body_from_bytes (message, "application/json", bytes);
  }
  if (accept != NULL)
    soup_message_headers_append (soup_message_get_request_headers (message), "Accept", accept);
  soup_session_send_and_read_async (f->client, message, G_PRIORITY_DEFAULT, NULL, on_answer,
                                    &answer);
  while (answer == NULL)
    g_main_context_iteration (NULL, TRUE);
  *status = soup_message_get_status (message);
  return answer;
}

static JsonObject *
parse (const char *text, gsize len)
{
  GError *error = NULL;
  JsonObject *object = json_parse_bounded (text, len, REQUEST_MAX_BODY, 8, &error);

  g_assert_no_error (error);
  return object;
}

static void
assert_refused (Fixture *f, const char *method, const char *path, const char *body, guint status,
                const char *kind)
{
  guint found;
  g_autoptr (GBytes) answer = ask (f, method, path, body, NULL, &found);
  g_autoptr (JsonObject) object =
      parse (g_bytes_get_data (answer, NULL), g_bytes_get_size (answer));
  JsonObject *error = json_get_object (object, "error", NULL);

  g_assert_cmpuint (found, ==, status);
  g_assert_cmpstr (json_get_string_or (error, "kind", ""), ==, kind);
}

static void
test_the_daemon_presents_itself (Fixture *f, gconstpointer data)
{
  guint status;
  g_autoptr (GBytes) answer = ask (f, "GET", "/v1", NULL, NULL, &status);
  g_autoptr (JsonObject) object =
      parse (g_bytes_get_data (answer, NULL), g_bytes_get_size (answer));

  g_assert_cmpuint (status, ==, 200);
  g_assert_cmpstr (json_get_string_or (object, "name", ""), ==, "vmckptd");
  g_assert_cmpuint (json_get_uint64_or (object, "guests", 1), ==, 0);
}

static void
test_what_is_refused (Fixture *f, gconstpointer data)
{
  assert_refused (f, "GET", "/v2", NULL, 404, "not-found");
  assert_refused (f, "PATCH", "/v1/guests", NULL, 400, "usage");
  assert_refused (f, "GET", "/v1/guests/none", NULL, 404, "not-found");
  assert_refused (f, "GET", "/v1/guests/none/log", NULL, 404, "not-found");
  assert_refused (f, "GET", "/v1/guests/%ff", NULL, 404, "not-found");
  assert_refused (f, "GET", "/v1/checkpoints", NULL, 400, "usage");
  assert_refused (f, "GET", "/v1/checkpoints?store=/no/such/store", NULL, 500, "failed");
  assert_refused (f, "POST", "/v1/guests", "{", 400, "usage");
  assert_refused (f, "POST", "/v1/guests", "{\"name\":\"a\",\"rma_bytes\":1}", 400, "usage");
  assert_refused (f, "POST", "/v1/guests", "{\"name\":\"../a\"}", 400, "usage");
  assert_refused (f, "POST", "/v1/guests/a/pause", "{\"hard\":true}", 400, "usage");
}

static void
test_a_body_beyond_the_bound_is_not_taken (Fixture *f, gconstpointer data)
{
  g_autofree char *large = g_strnfill (REQUEST_MAX_BODY + 1, ' ');
  assert_refused (f, "POST", "/v1/guests", large, 400, "usage");
}

/* Bad rules and limits are refused before the store is looked at. */
static void
test_bad_rules_and_limits (Fixture *f, gconstpointer data)
{
  static const char *const rules[] = {
    "{}",
    "{\"keep_last\":0}",
    "{\"keep_last\":-2}",
    "{\"keep_last\":\"1\"}",
    "{\"keep_last\":1.5}",
    "{\"keep_daily\":99999999999}",
    "{\"keep_within\":\"7w\"}",
    "{\"keep_within_daily\":7}",
    "{\"keep_tags\":[\"\"]}",
    "{\"keep_tags\":[\"a,,b\"]}",
    "{\"keep_tags\":\"a\"}",
    "{\"keep_tags\":[1]}",
    "{\"keep_tags\":[]}",
    "{\"keep_last\":1,\"tags\":[\"a b\"]}",
    "{\"keep_last\":1,\"guests\":{}}",
    "{\"keep_last\":1,\"group_by\":\"x\"}",
    "{\"keep_last\":1,\"gc\":1}",
    "{\"keep_lost\":1}",
  };
  static const char *const limits[] = {
    "{}",
    "{\"store_limit\":0}",
    "{\"store_limit\":-5}",
    "{\"store_limit\":\"1G\"}",
    "{\"store_limit\":1152921504606846977}",
    "{\"guests\":[]}",
    "{\"guests\":{\"a/b\":1}}",
    "{\"guests\":{\"a\":true}}",
    "{\"guests\":{}}",
    "{\"store_limits\":1}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (rules); i++)
    assert_refused (f, "POST", "/v1/store/forget?store=/no/such/store", rules[i], 400, "usage");
  for (guint i = 0; i < G_N_ELEMENTS (limits); i++)
    assert_refused (f, "POST", "/v1/store/quota?store=/no/such/store", limits[i], 400, "usage");
  assert_refused (f, "POST", "/v1/store/forget?store=/no/such/store", "{\"keep_last\":-1}", 500,
                  "failed");
  assert_refused (f, "POST", "/v1/store/quota?store=/no/such/store", "{\"store_limit\":null}", 500,
                  "failed");
}

/* With the header for it, a long call's last line is the result or the error, with status 200. */
static void
test_a_stream_ends_with_its_result (Fixture *f, gconstpointer data)
{
  guint status;
  g_autoptr (GBytes) answer =
      ask (f, "POST", "/v1/store/gc?store=/no/such/store", "{}", "application/x-ndjson", &status);
  g_autofree char *text = g_strndup (g_bytes_get_data (answer, NULL), g_bytes_get_size (answer));
  g_auto (GStrv) lines = g_strsplit (g_strchomp (text), "\n", -1);
  const char *last = lines[g_strv_length (lines) - 1];
  g_autoptr (JsonObject) object = parse (last, strlen (last));

  g_assert_cmpuint (status, ==, 200);
  g_assert_cmpstr (json_get_string_or (object, "type", ""), ==, "error");
  g_assert_cmpstr (json_get_string_or (object, "kind", ""), ==, "failed");
}

/* So is an import that had its error long before its body was read; without the header it is the
 * answer's status. */
static void
test_an_import_streams_too (Fixture *f, gconstpointer data)
{
  static const char path[] = "/v1/imports?store=/no/such/store";
  g_autofree char *body = g_strnfill (3 << 20, 'x');
  guint status;
  g_autoptr (GBytes) answer = ask (f, "POST", path, body, "application/x-ndjson", &status);
  g_autofree char *text = g_strndup (g_bytes_get_data (answer, NULL), g_bytes_get_size (answer));
  g_auto (GStrv) lines = g_strsplit (g_strchomp (text), "\n", -1);
  const char *last = lines[g_strv_length (lines) - 1];
  g_autoptr (JsonObject) object = parse (last, strlen (last));

  g_assert_cmpuint (status, ==, 200);
  g_assert_cmpstr (json_get_string_or (object, "type", ""), ==, "error");
  g_assert_cmpstr (json_get_string_or (object, "kind", ""), ==, "failed");
  assert_refused (f, "POST", path, body, 500, "failed");
}

#define ADD(path, func) g_test_add ("/router/" path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_main_context_acquire (NULL);
  ADD ("daemon", test_the_daemon_presents_itself);
  ADD ("refused", test_what_is_refused);
  ADD ("bad-rules-and-limits", test_bad_rules_and_limits);
  ADD ("large-body", test_a_body_beyond_the_bound_is_not_taken);
  ADD ("stream", test_a_stream_ends_with_its_result);
  ADD ("import", test_an_import_streams_too);
  return g_test_run();
}
