/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to other hosts, whatever these answer: what is certain afterwards decides whether a guest
 * may run here. */
#include "peer.h"

#include "api-error.h"
#include "fake-host.h"

#include <string.h>
#include <vmckpt/util/json.h>

#define SHORT_MS 50 /* waited for */
#define LINES "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

static void
test_names (void)
{
  static const char *const bad[] = { "",           "unix:", "unix:relative", "user@host", "h/path",
                                     "host?query", "ho st", "host#1",        "host:port", "\xff" };
  g_autofree char *long_path = g_strdup_printf ("/%0200d", 0);
  g_autofree char *long_name = g_strdup_printf ("%01025d", 0);
  const char *const long_ones[] = { long_path, long_name };
  g_autoptr (GError) no_tls = NULL;
  g_autoptr (Peer) local = peer_new ("/run/other", NULL, NULL);

  g_assert_cmpstr (peer_host (local), ==, "/run/other");
  g_assert_null (peer_address (local));
  for (guint i = 0; i < G_N_ELEMENTS (bad) + G_N_ELEMENTS (long_ones); i++) {
    const char *name = i < G_N_ELEMENTS (bad) ? bad[i] : long_ones[i - G_N_ELEMENTS (bad)];
    g_autoptr (GError) error = NULL;
    g_assert_null (peer_new (name, NULL, &error));
    g_assert_error (error, API_ERROR, API_USAGE);
  }
  g_assert_null (peer_new ("host:1", NULL, &no_tls));
  g_assert_error (no_tls, API_ERROR, API_NOT_POSSIBLE);
}

/* ---- What the other host does, once for each request ---- */

typedef struct {
  const char *text;      /* sent as it is, or NULL */
  const char *repeated;  /* and then again and again, until the client has gone; or NULL */
  gboolean waits;        /* does not close by itself */
  GCancellable *cancels; /* (nullable) */
  char *request, *body;  /* what came */
} Script;

static gboolean
follow (FakeHost *host, const char *request, const char *body, gpointer data)
{
  Script *script = data;
  gsize sent = 0;

  g_free (script->request);
  g_free (script->body);
  script->request = g_strdup (request);
  script->body = g_strdup (body);
  if (script->text != NULL)
    fake_host_send (host, script->text);
  while (script->repeated != NULL && fake_host_send (host, script->repeated)) {
    sent += strlen (script->repeated);
    g_assert_cmpuint (sent, <, 2 * PEER_MAX_ANSWER); /* nobody takes it for ever */
  }
  if (script->cancels != NULL)
    g_cancellable_cancel (script->cancels);
  if (script->waits)
    fake_host_wait_closed (host);
  return FALSE;
}

static void
note_line (JsonObject *line, const char *type, gpointer user_data)
{
  g_string_append_printf (user_data, "%s ", type);
}

/* What a call to a host comes to that does so; @lines: (nullable): types of the lines that came. */
static JsonObject *
call (Script *script, GString *lines, GError **error)
{
  g_autoptr (FakeHost) host = fake_host_start (follow, script);
  g_autoptr (Peer) peer = peer_new (fake_host_name (host), NULL, NULL);
  g_autoptr (JsonObject) body = json_object_new();
  const PeerListener listener = { lines != NULL ? note_line : NULL, lines, script->cancels,
                                  script->waits && script->cancels == NULL ? SHORT_MS : 0 };

  json_object_set_int_member (body, "n", 7);
  JsonObject *answer = peer_call (peer, "POST", "/v1/x", body, &listener, error);
  g_assert_cmpuint (fake_host_requests (host), <=, 1); /* whatever came back: not ordered twice */
  return answer;
}

static void
script_clear (Script *script)
{
  g_free (script->request);
  g_free (script->body);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Script, script_clear)

/* @domain, @code: the error of such a call, naming the host; @refused: whether it is certain that
 * nothing was done */
static void
assert_fails (Script script, GString *lines, GQuark domain, int code, gboolean refused)
{
  g_autoptr (GError) error = NULL;
  g_auto (Script) owned = script;

  g_assert_null (call (&owned, lines, &error));
  g_assert_error (error, domain, code);
  g_assert_true (g_str_has_prefix (error->message, "host unix:/"));
  g_assert_cmpint (peer_call_was_refused (error), ==, refused);
}

/* ---- Answers as a whole ---- */

static void
test_answer (void)
{
  g_auto (Script) script = { HEAD "Content-Length: 8\r\n\r\n{\"a\": 1}" };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = call (&script, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpint (json_object_get_int_member (answer, "a"), ==, 1);
  g_assert_cmpstr (script.request, ==, "POST /v1/x");
  g_assert_cmpstr (script.body, ==, "{\"n\":7}");
}

#define REFUSAL(status, body) "HTTP/1.1 " status " No\r\nConnection: close\r\n\r\n" body

static void
test_refusals (void)
{
  assert_fails ((Script){ REFUSAL ("409", "{\"error\": {\"kind\": \"conflict\"}}") }, NULL,
                API_ERROR, API_CONFLICT, TRUE);
  assert_fails ((Script){ REFUSAL ("500", "{\"error\": {\"kind\": [], \"message\": 1}}") }, NULL,
                API_ERROR, API_FAILED, TRUE);
  assert_fails ((Script){ REFUSAL ("409", "{\"error\": \"conflict\"}") }, NULL, PEER_ERROR,
                PEER_ERROR_ANSWER, FALSE);
  assert_fails ((Script){ REFUSAL ("502", "<html>") }, NULL, PEER_ERROR, PEER_ERROR_ANSWER, FALSE);
  assert_fails ((Script){ "HTTP/1.1 302 No\r\nLocation: /v1/y\r\nContent-Length: 0\r\n\r\n" }, NULL,
                PEER_ERROR, PEER_ERROR_ANSWER, FALSE);
}

static void
test_no_answers (void)
{
  static const char *const bad[] = {
    HEAD "Content-Length: 0\r\n\r\n",     HEAD "Content-Length: 2\r\n\r\n[]",
    HEAD "Content-Length: 1\r\n\r\n7",    HEAD "Connection: close\r\n\r\n{\"a\": ",
    HEAD "Content-Length: 1\r\n\r\n\xff",
  };
  g_autofree char *deep = g_strnfill (33, '[');
  g_autofree char *too_deep = g_strconcat (HEAD "Connection: close\r\n\r\n{\"a\":", deep, NULL);
  g_autofree char *spaces = g_strnfill (1 << 16, ' ');

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_fails ((Script){ bad[i] }, NULL, PEER_ERROR, PEER_ERROR_ANSWER, FALSE);
  assert_fails ((Script){ too_deep }, NULL, PEER_ERROR, PEER_ERROR_ANSWER, FALSE);
  assert_fails ((Script){ HEAD "Connection: close\r\n\r\n{}", spaces }, NULL, PEER_ERROR,
                PEER_ERROR_ANSWER, FALSE);
}

/* ---- Whether it was done ---- */

/* Only who was not reached has certainly done nothing. */
static void
test_lost_is_not_refused (void)
{
  g_autoptr (Peer) nobody = peer_new ("/nowhere", NULL, NULL);
  g_autoptr (GError) error = NULL;

  assert_fails ((Script){ NULL }, NULL, PEER_ERROR, PEER_ERROR_LOST, FALSE);
  assert_fails ((Script){ "HTTP/1.1 200" }, NULL, PEER_ERROR, PEER_ERROR_LOST, FALSE);
  assert_fails ((Script){ "nonsense\r\n\r\n" }, NULL, PEER_ERROR, PEER_ERROR_LOST, FALSE);
  assert_fails ((Script){ HEAD "Content-Length: 9\r\n\r\n{}" }, NULL, PEER_ERROR, PEER_ERROR_LOST,
                FALSE);
  g_assert_null (peer_call (nobody, "POST", "/v1/x", NULL, NULL, &error));
  g_assert_error (error, PEER_ERROR, PEER_ERROR_UNREACHABLE);
  g_assert_true (peer_call_was_refused (error));
}

/* A machine may be so busy that the request itself has not gone out in time: then it is no test. */
static void
assert_late (Script script, GString *lines)
{
  for (guint i = 0; i < 100; i++) {
    g_autoptr (GError) error = NULL;
    g_auto (Script) owned = script;
    g_assert_null (call (&owned, lines, &error));
    if (g_error_matches (error, PEER_ERROR, PEER_ERROR_UNREACHABLE))
      continue;
    g_assert_error (error, PEER_ERROR, PEER_ERROR_LOST);
    return;
  }
  g_error ("a host that took the request and says nothing counts as not reached");
}

static void
test_silence_is_not_refused (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GString) lines = g_string_new (NULL);

  assert_late ((Script){ .waits = TRUE }, NULL);
  assert_late ((Script){ HEAD "Content-Length: 9\r\n\r\n{}", .waits = TRUE }, NULL);
  assert_late ((Script){ LINES "{\"type\": \"status\"}\n", .waits = TRUE }, lines);
  assert_fails ((Script){ .waits = TRUE, .cancels = cancellable }, NULL, G_IO_ERROR,
                G_IO_ERROR_CANCELLED, FALSE);
}

/* ---- Answers of many lines ---- */

static void
test_lines (void)
{
  g_auto (Script) script = { LINES "{\"type\": \"status\"}\n{\"type\": \"listening\"}\n"
                                   "{\"type\": \"result\", \"a\": 1}\n{\"type\": \"more\"}\n" };
  g_autoptr (GString) lines = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = call (&script, lines, &error);

  g_assert_no_error (error);
  g_assert_cmpint (json_object_get_int_member (answer, "a"), ==, 1);
  g_assert_cmpstr (lines->str, ==, "status listening ");
}

static void
test_lines_that_fail (void)
{
  static const char *const bad[] = { "\n", "[]\n", "{}\n", "{\"type\": 7}\n",
                                     "{\"type\": \"a\"\n" };
  g_autoptr (GString) lines = g_string_new (NULL);
  g_autofree char *no_end = g_strnfill (1 << 16, 'x');

  assert_fails ((Script){ LINES "{\"type\": \"error\", \"kind\": \"damaged\"}\n" }, lines,
                API_ERROR, API_DAMAGED, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autofree char *text = g_strconcat (LINES, bad[i], NULL);
    assert_fails ((Script){ text }, lines, PEER_ERROR, PEER_ERROR_ANSWER, FALSE);
  }
  assert_fails ((Script){ LINES, no_end }, lines, PEER_ERROR, PEER_ERROR_ANSWER, FALSE);
  assert_fails ((Script){ LINES "{\"type\": \"status\"}\n{\"type\": \"resu" }, lines, PEER_ERROR,
                PEER_ERROR_LOST, FALSE);
  g_assert_cmpstr (lines->str, ==, "status ");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/peer/names", test_names);
  g_test_add_func ("/peer/answer", test_answer);
  g_test_add_func ("/peer/refusals", test_refusals);
  g_test_add_func ("/peer/no-answers", test_no_answers);
  g_test_add_func ("/peer/lost", test_lost_is_not_refused);
  g_test_add_func ("/peer/silence", test_silence_is_not_refused);
  g_test_add_func ("/peer/lines", test_lines);
  g_test_add_func ("/peer/lines-that-fail", test_lines_that_fail);
  return g_test_run();
}
