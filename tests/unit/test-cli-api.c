/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api.h"
#include "cli-error.h"
#include "fake-daemon.h"

#include <glib/gstdio.h>
#include <string.h>

#define NDJSON "application/x-ndjson"

typedef struct {
  FakeDaemon *fake;
  GCancellable *cancellable;
  Api *api;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->fake = fake_daemon_new();
  f->cancellable = g_cancellable_new();
  fake_daemon_set_cancellable (f->fake, f->cancellable);
  f->api = api_new (fake_daemon_runtime (f->fake), NULL, f->cancellable, NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  api_free (f->api);
  fake_daemon_free (f->fake);
  g_object_unref (f->cancellable);
}

static JsonObject *
get (Fixture *f, GError **error)
{
  g_autoptr (GString) path = api_path ("x", NULL);

  return api_call (f->api, "GET", path, NULL, error);
}

static void
note_line (JsonObject *line, const char *type, gpointer user_data)
{
  GString *seen = user_data;
  g_autofree char *text = json_to_line (line);

  g_string_append_printf (seen, "%s|", type);
}

static JsonObject *
post_long (Fixture *f, GString *seen, GError **error)
{
  g_autoptr (GString) path = api_path ("x", NULL);
  g_autoptr (JsonObject) body = json_object_new();

  return api_call_long (f->api, path, body, note_line, seen, error);
}

static void
test_paths_are_encoded (Fixture *f, gconstpointer data)
{
  g_autoptr (GString) path = api_path ("guests", "a/b?c d", "g@t", NULL);

  api_path_add (path, "store", "/x y&z");
  api_path_add (path, "follow", "true");
  g_assert_cmpstr (path->str, ==, "/v1/guests/a%2Fb%3Fc%20d/g@t?store=/x%20y%26z&follow=true");
}

static void
test_answer (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) path = api_path ("x", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) answer = NULL;
  g_autofree char *requests = NULL;

  json_object_set_int_member (body, "n", 7);
  fake_daemon_answer (f->fake, "POST /v1/x", 201, NULL, "{\"a\":1}", FAKE_END);
  answer = api_call (f->api, "POST", path, body, &error);
  g_assert_no_error (error);
  g_assert_cmpint (json_object_get_int_member (answer, "a"), ==, 1);
  requests = fake_daemon_take_requests (f->fake);
  g_assert_cmpstr (requests, ==, "POST /v1/x {\"n\":7}\n");
}

static void
test_refusals (Fixture *f, gconstpointer data)
{
  static const struct {
    guint status;
    const char *body;
    CliError code;
    const char *text;
  } cases[] = {
    { 404, "{\"error\":{\"kind\":\"not-found\",\"message\":\"no guest g1\"}}", CLI_ERROR_NOT_FOUND,
      "no guest g1" },
    { 422, "{\"error\":{\"kind\":\"damaged\",\"message\":\"rot\"}}", CLI_ERROR_DAMAGED, "rot" },
    { 500, "{\"error\":{\"kind\":\"odd\"}}", CLI_ERROR_FAILED, "gave no reason" },
    { 500, "<html>", CLI_ERROR_FAILED, "HTTP status 500" },
    { 200, "[]", CLI_ERROR_FAILED, "not an object" },
    { 200, "{\"a\":", CLI_ERROR_FAILED, "not acceptable" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    fake_daemon_answer (f->fake, "GET /v1/x", cases[i].status, NULL, cases[i].body, FAKE_END);
    g_assert_null (get (f, &error));
    g_assert_error (error, CLI_ERROR, (int)cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].text));
  }
}

/* A daemon that takes the call and says nothing does not hold us for ever. */
static void
test_hung_daemon (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  api_set_deadline (f->api, 50);
  fake_daemon_answer (f->fake, "GET /v1/x", 200, NULL, "", FAKE_HANG);
  g_assert_null (get (f, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "said nothing"));
  g_assert_true (fake_daemon_wait_left (f->fake));
}

static void
test_stream (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) seen = g_string_new (NULL);
  g_autoptr (JsonObject) result = NULL;

  fake_daemon_answer (f->fake, "POST /v1/x", 200, NDJSON,
                      "{\"type\":\"status\",\"phase\":\"store\"}\n"
                      "{\"type\":\"from-the-future\"}\n"
                      "{\"type\":\"message\",\"text\":\"hm\"}\n"
                      "{\"type\":\"result\",\"id\":\"ab\"}\n",
                      FAKE_END);
  result = post_long (f, seen, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (json_object_get_string_member (result, "id"), ==, "ab");
  g_assert_cmpstr (seen->str, ==, "status|message|");
}

static void
ignore_sent (guint64 sent, gpointer user_data)
{
}

static JsonObject *
upload (Fixture *f, GString *seen, GError **error)
{
  g_autoptr (GString) path = api_path ("imports", NULL);
  g_autoptr (GString) probe = api_path ("x", NULL);
  g_autoptr (GInputStream) body = g_memory_input_stream_new_from_data ("file", 4, NULL);

  fake_daemon_answer (f->fake, "GET /v1/x", 200, NULL, "{}", FAKE_END);
  return api_upload (f->api, probe, path, body, 4, ignore_sent, note_line, seen, error);
}

/* When all is sent the work goes on, which the daemon tells. */
static void
test_upload (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) seen = g_string_new (NULL);
  g_autofree char *requests = NULL;

  fake_daemon_answer (f->fake, "POST /v1/imports", 200, NDJSON,
                      "{\"type\":\"status\",\"phase\":\"commit\"}\n"
                      "{\"type\":\"result\",\"id\":\"ab\"}\n",
                      FAKE_END);
  g_autoptr (JsonObject) result = upload (f, seen, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (json_object_get_string_member (result, "id"), ==, "ab");
  g_assert_cmpstr (seen->str, ==, "status|");
  requests = fake_daemon_take_requests (f->fake);
  g_assert_nonnull (strstr (requests, "POST /v1/imports file\n"));
}

/* An error has its kind, in lines as well as in a status; silence after the first line is one. */
static void
test_upload_fails (Fixture *f, gconstpointer data)
{
  static const struct {
    guint status;
    const char *type, *body;
    FakeEnding ending;
    CliError code;
  } cases[] = {
    { 200, NDJSON, "{\"type\":\"error\",\"kind\":\"damaged\",\"message\":\"cut\"}\n", FAKE_END,
      CLI_ERROR_DAMAGED },
    { 422, NULL, "{\"error\":{\"kind\":\"damaged\",\"message\":\"cut\"}}", FAKE_END,
      CLI_ERROR_DAMAGED },
    { 200, NDJSON, "{\"type\":\"status\",\"phase\":\"commit\"}\n", FAKE_HANG, CLI_ERROR_FAILED },
    { 200, NDJSON, "{\"type\":\"status\",\"phase\":\"commit\"}\n", FAKE_CUT, CLI_ERROR_FAILED },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GString) seen = g_string_new (NULL);
    g_autoptr (GError) error = NULL;
    api_set_deadline (f->api, cases[i].ending == FAKE_HANG ? 500 : 10000);
    fake_daemon_answer (f->fake, "POST /v1/imports", cases[i].status, cases[i].type, cases[i].body,
                        cases[i].ending);
    g_assert_null (upload (f, seen, &error));
    g_assert_error (error, CLI_ERROR, (int)cases[i].code);
  }
}

/* A long call may also be answered at once. */
static void
test_stream_not_needed (Fixture *f, gconstpointer data)
{
  g_autoptr (GString) seen = g_string_new (NULL);
  g_autoptr (JsonObject) result = NULL;

  fake_daemon_answer (f->fake, "POST /v1/x", 200, NULL, "{\"id\":\"ab\"}", FAKE_END);
  result = post_long (f, seen, NULL);
  g_assert_cmpstr (json_object_get_string_member (result, "id"), ==, "ab");
}

static void
test_stream_faults (Fixture *f, gconstpointer data)
{
  static const struct {
    const char *lines;
    FakeEnding ending;
    CliError code;
    const char *text;
  } cases[] = {
    { "{\"type\":\"error\",\"kind\":\"not-possible\",\"message\":\"too old\"}\n", FAKE_END,
      CLI_ERROR_NOT_POSSIBLE, "too old" },
    { "{\"type\":\"status\"}\n", FAKE_END, CLI_ERROR_FAILED, "ended before the work" },
    { "{\"type\":\"status\"}\n", FAKE_CUT, CLI_ERROR_FAILED, "daemon" },
    { "{\"type\":\"status\"}\n{\"type\":", FAKE_HANG, CLI_ERROR_FAILED, "said nothing" },
    { "{\"no-type\":1}\n", FAKE_END, CLI_ERROR_FAILED, "'type' is missing" },
    { "nonsense\n", FAKE_END, CLI_ERROR_FAILED, "not acceptable" },
  };

  api_set_deadline (f->api, 200);
  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GString) seen = g_string_new (NULL);
    fake_daemon_answer (f->fake, "POST /v1/x", 200, NDJSON, cases[i].lines, cases[i].ending);
    g_assert_null (post_long (f, seen, &error));
    g_assert_error (error, CLI_ERROR, (int)cases[i].code);
    if (strstr (error->message, cases[i].text) == NULL)
      g_error ("case %zu: %s", i, error->message);
  }
}

/* Ctrl-C closes the connection, which the daemon takes as a cancellation. */
static void
test_cancelled_stream (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) seen = g_string_new (NULL);

  fake_daemon_answer (f->fake, "POST /v1/x", 200, NDJSON, "{\"type\":\"status\"}\n", FAKE_CANCEL);
  g_assert_null (post_long (f, seen, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_INTERRUPTED);
  g_assert_true (fake_daemon_wait_left (f->fake));
}

static gboolean
collect (gconstpointer bytes, gsize len, gpointer user_data)
{
  g_string_append_len (user_data, bytes, len);
  return TRUE;
}

static void
test_text (Fixture *f, gconstpointer data)
{
  g_autoptr (GString) path = api_path ("x", NULL);
  g_autoptr (GString) text = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  fake_daemon_answer (f->fake, "GET /v1/x", 200, "text/plain", "boot\r\n", FAKE_END);
  g_assert_true (api_copy_text (f->api, path, TRUE, collect, text, &error));
  g_assert_cmpstr (text->str, ==, "boot\r\n");
}

static int starts;

static gboolean
note_start (const char *runtime, GCancellable *cancellable, GError **error)
{
  starts++;
  if (starts > 1)
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_FAILED, "no more");
  return starts == 1;
}

/* Where nobody listens, a daemon is started once; if that does not help, the call fails. */
static void
test_nobody_listens (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autofree char *runtime = g_dir_make_tmp ("vmckpt-cli-XXXXXX", NULL);
  g_autoptr (Api) api = api_new (runtime, note_start, cancellable, NULL);
  g_autoptr (GString) path = api_path ("x", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_null (api_call (api, "GET", path, NULL, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_FAILED);
  g_assert_cmpint (starts, ==, 1);
  g_clear_error (&error);
  g_assert_null (api_call (api, "GET", path, NULL, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_FAILED);
  g_assert_cmpstr (error->message, ==, "no more");
  g_rmdir (runtime);
}

static void
test_long_runtime (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autofree char *name = g_strnfill (120, 'x');
  g_autofree char *runtime = g_strconcat ("/", name, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_null (api_new (runtime, NULL, cancellable, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
}

#define ADD(name, func) g_test_add ("/cli-api/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("paths-are-encoded", test_paths_are_encoded);
  ADD ("answer", test_answer);
  ADD ("refusals", test_refusals);
  ADD ("hung-daemon", test_hung_daemon);
  ADD ("stream", test_stream);
  ADD ("upload", test_upload);
  ADD ("upload-fails", test_upload_fails);
  ADD ("stream-not-needed", test_stream_not_needed);
  ADD ("stream-faults", test_stream_faults);
  ADD ("cancelled-stream", test_cancelled_stream);
  ADD ("text", test_text);
  g_test_add_func ("/cli-api/nobody-listens", test_nobody_listens);
  g_test_add_func ("/cli-api/long-runtime", test_long_runtime);
  return g_test_run();
}
