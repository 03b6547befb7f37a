/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client against servers that are odd, broken, slow or hostile. */
#include <vmckpt/qmp/client.h>

#include "fake-peer.h"
#include "message.h"
#include "session.h"
#include "transport.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Starts a peer with @script and connects to it. */
static QmpClient *
meet (FakeScript script, gpointer data, FakePeer **peer, GError **error)
{
  int fd;

  *peer = fake_peer_start (script, data, &fd);
  return qmp_client_new_for_fd (fd, 30000, error);
}

/* The error that @script's server ends in when a command is sent to it. */
static GError *
failure_of_command (FakeScript script, gpointer data)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  GError *failure = NULL;
  g_autoptr (QmpClient) client = meet (script, data, &peer, &error);

  g_assert_no_error (error);
  g_assert_null (qmp_client_execute (client, "query-name", NULL, -1, 0, NULL, &failure));
  return failure;
}

/* --- greetings -----------------------------------------------------------------------------------
 */

static void
minimal_server (FakePeer *peer, gpointer data)
{
  fake_peer_greet (peer, FALSE);
  fake_peer_answer (peer, fake_peer_expect (peer, "yank"), "[1]");
  fake_peer_wait_closed (peer);
}

static void
test_minimal_greeting (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (minimal_server, NULL, &peer, &error);

  g_assert_no_error (error);
  const QmpGreeting *greeting = qmp_client_greeting (client);
  g_assert_cmpuint (greeting->major, ==, 0);
  g_assert_cmpstr (greeting->package, ==, "");
  g_assert_false (greeting->oob);
  /* Out of band is not offered, so in band. */
  g_autoptr (JsonNode) answer = qmp_client_execute_oob (client, "yank", NULL, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (json_array_get_length (json_node_get_array (answer)), ==, 1);
}

static void
say_and_wait (FakePeer *peer, gpointer data)
{
  fake_peer_send (peer, data);
  fake_peer_wait_closed (peer);
}

static void
say_and_leave (FakePeer *peer, gpointer data)
{
  fake_peer_send (peer, data);
}

static void
test_bad_greetings (void)
{
  static const struct {
    FakeScript script;
    const char *text;
    QmpError code;
  } cases[] = {
    { say_and_wait, "SSH-2.0-OpenSSH_9.2\r\n", QMP_ERROR_PROTOCOL },
    { say_and_wait, "[]\n", QMP_ERROR_PROTOCOL },
    { say_and_wait, "\n", QMP_ERROR_PROTOCOL },
    { say_and_wait, "{\"return\": {}}\n", QMP_ERROR_PROTOCOL },
    { say_and_wait, "{\"QMP\": []}\n", QMP_ERROR_PROTOCOL },
    { say_and_wait, "\377\376\n", QMP_ERROR_PROTOCOL },
    { say_and_leave, "", QMP_ERROR_LOST },
    { say_and_leave, "{\"QMP\": {}}\n", QMP_ERROR_LOST },
    { say_and_leave, "{\"QMP\": {}}", QMP_ERROR_LOST },
    { say_and_wait, "{\"QMP\": {}}\n{\"error\": {\"class\": \"X\", \"desc\": \"y\"}, \"id\": 1}\n",
      QMP_ERROR_COMMAND },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (FakePeer) peer = NULL;
    g_autoptr (GError) error = NULL;
    g_assert_null (meet (cases[i].script, (gpointer)cases[i].text, &peer, &error));
    g_assert_error (error, QMP_ERROR, (int)cases[i].code);
  }
}

static void
test_silence (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  int fd;

  peer = fake_peer_start (say_and_wait, (gpointer) "", &fd);
  g_assert_null (qmp_client_new_for_fd (fd, 50, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT);
}

/* A server that lets nobody in: connect(2) itself would block once the queue is full. */
static void
test_full_queue (void)
{
  g_autofree char *dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (dir, "socket", NULL);
  g_auto (AutoFd) listener = fd_listen_unix (path, NULL);

  g_assert_no_errno (listen (listener, 0));
  for (int i = 0; i < 3; i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (qmp_client_connect (path, 50, &error));
    g_assert_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT);
  }
  unlink (path);
  rmdir (dir);
}

/* --- bounds --------------------------------------------------------------------------------------
 */

static void
greet_and_say (FakePeer *peer, gpointer data)
{
  fake_peer_greet (peer, TRUE);
  fake_peer_expect (peer, "query-name");
  fake_peer_send (peer, data);
  fake_peer_wait_closed (peer);
}

static void
test_garbled_lines (void)
{
  static const char *const lines[] = { "}{\n", "true\n", "{\"return\": \n", "{\"a\": \"\xff\"}\n",
                                       "{\"error\": {\"class\": \"X\", \"desc\": \"parse\"}}\n" };

  for (gsize i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autoptr (GError) error = failure_of_command (greet_and_say, (gpointer)lines[i]);
    g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
  }
}

/* An answer with id 2 (the first after the negotiation) of so many nested arrays. */
static char *
nested_answer (guint depth)
{
  GString *line = g_string_new ("{\"return\": ");

  for (guint i = 0; i < depth; i++)
    g_string_append_c (line, '[');
  for (guint i = 0; i < depth; i++)
    g_string_append_c (line, ']');
  g_string_append (line, ", \"id\": 2}\n");
  return g_string_free (line, FALSE);
}

static void
test_nesting (void)
{
  g_autofree char *deepest = nested_answer (QMP_MAX_NESTING - 1);
  g_autofree char *deeper = nested_answer (QMP_MAX_NESTING);
  g_autofree char *absurd = nested_answer (1000000);
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (greet_and_say, deepest, &peer, &error);
  g_autoptr (JsonNode) answer =
      qmp_client_execute (client, "query-name", NULL, -1, 0, NULL, &error);

  g_assert_no_error (error);
  g_clear_pointer (&client, qmp_client_unref);
  error = failure_of_command (greet_and_say, deeper);
  g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
  g_clear_error (&error);
  error = failure_of_command (greet_and_say, absurd);
  g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
}

static void
endless_line (FakePeer *peer, gpointer data)
{
  g_autofree char *chunk = g_malloc (1024 * 1024);

  fake_peer_greet (peer, TRUE);
  fake_peer_expect (peer, "query-name");
  memset (chunk, 'x', 1024 * 1024);
  for (int i = 0; i < 20; i++)
    fake_peer_send_bytes (peer, chunk, 1024 * 1024);
}

static void
test_endless_line (void)
{
  g_autoptr (GError) error = failure_of_command (endless_line, NULL);

  g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
  g_assert_nonnull (strstr (error->message, "16777216 bytes"));
}

/* --- order ---------------------------------------------------------------------------------------
 */

static void
odd_order (FakePeer *peer, gpointer data)
{
  fake_peer_greet (peer, TRUE);
  gint64 first = fake_peer_expect (peer, "first");
  fake_peer_signal (peer);
  gint64 second = fake_peer_expect (peer, "second");
  /* One nobody asked for, one that is late, then the right one, byte by byte. */
  fake_peer_answer (peer, 4711, "\"unknown\"");
  fake_peer_answer (peer, first, "\"late\"");
  g_autofree char *line = g_strdup_printf ("{\"id\": %d, \"return\": \"right\"}\r\n", (int)second);
  for (char *at = line; *at != '\0'; at++)
    fake_peer_send_bytes (peer, at, 1);
  fake_peer_wait_closed (peer);
}

static void
test_late_answer_is_dropped (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (odd_order, NULL, &peer, &error);

  g_assert_no_error (error);
  g_assert_null (qmp_client_execute (client, "first", NULL, -1, 1, NULL, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT);
  g_clear_error (&error);
  /* What is submitted is sent before deadlines are looked at, however short they are. */
  fake_peer_wait_signal (peer);
  g_autoptr (JsonNode) answer = qmp_client_execute (client, "second", NULL, -1, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (json_node_get_string (answer), ==, "right");
}

static void
count_timeout (GObject *source, GAsyncResult *result, gpointer user_data)
{
  gpointer *data = user_data;
  g_autoptr (GError) error = NULL;

  g_assert_null (qmp_client_execute_finish (data[0], result, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT);
  *(int *)data[1] += 1;
}

/* Whoever was told of the timeout is not told again. */
static void
test_late_answer_calls_nobody (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (odd_order, NULL, &peer, &error);
  int count = 0;
  gpointer data[] = { client, &count };

  g_assert_no_error (error);
  qmp_client_execute_async (client, "first", NULL, -1, 1, NULL, count_timeout, data);
  while (count == 0)
    g_main_context_iteration (NULL, TRUE);
  g_autoptr (JsonNode) answer = qmp_client_execute (client, "second", NULL, -1, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (count, ==, 1);
}

#define FLOOD 5000

static void
flood (FakePeer *peer, gpointer data)
{
  g_autoptr (GString) text = g_string_new (NULL);

  fake_peer_greet (peer, TRUE);
  gint64 id = fake_peer_expect (peer, "query-name");
  for (int i = 0; i < FLOOD; i++)
    g_string_append_printf (text, "{\"event\": \"E\", \"data\": {\"n\": %d}}\n", i);
  fake_peer_send_bytes (peer, text->str, text->len);
  fake_peer_answer (peer, id, "{}");
  fake_peer_wait_closed (peer);
}

static void
count_in_order (QmpClient *client, const char *event, JsonObject *data, gint64 time_us,
                gpointer user_data)
{
  int *count = user_data;

  g_assert_cmpint (json_object_get_int_member (data, "n"), ==, *count);
  g_assert_cmpint (time_us, ==, 0);
  (*count)++;
}

static void
test_flood_of_events (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (flood, NULL, &peer, &error);
  int count = 0;

  g_assert_no_error (error);
  qmp_client_set_event_func (client, count_in_order, &count);
  g_autoptr (JsonNode) answer =
      qmp_client_execute (client, "query-name", NULL, -1, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (count, ==, FLOOD);
}

/* --- sending -------------------------------------------------------------------------------------
 */

#define ASKED 20

/* Takes as many commands as are sent without an answer, and an out-of-band one. */
static void
busy_server (FakePeer *peer, gpointer data)
{
  gint64 ids[ASKED];
  int count = 0;

  fake_peer_greet (peer, TRUE);
  for (int i = 0; i < QMP_MAX_IN_FLIGHT + 1; i++) {
    g_autoptr (JsonObject) command = fake_peer_read (peer);
    gint64 id = json_object_get_int_member (command, "id");
    if (json_object_has_member (command, "exec-oob"))
      fake_peer_answer (peer, id, "{}");
    else
      ids[count++] = id;
  }
  g_assert_cmpint (count, ==, QMP_MAX_IN_FLIGHT);
  for (int i = 0; i < ASKED; i++) {
    if (i == count)
      ids[count++] = fake_peer_expect (peer, "slow");
    fake_peer_answer (peer, ids[i], "{}");
  }
  fake_peer_wait_closed (peer);
}

static void
count_answer (GObject *source, GAsyncResult *result, gpointer user_data)
{
  gpointer *data = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) answer = qmp_client_execute_finish (data[0], result, &error);

  g_assert_no_error (error);
  *(int *)data[1] += 1;
}

static void
test_out_of_band_overtakes (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (busy_server, NULL, &peer, &error);
  int count = 0;
  gpointer data[] = { client, &count };

  g_assert_no_error (error);
  for (int i = 0; i < ASKED; i++)
    qmp_client_execute_async (client, "slow", NULL, -1, 0, NULL, count_answer, data);
  g_autoptr (JsonNode) answer = qmp_client_execute_oob (client, "yank", NULL, 0, NULL, &error);
  g_assert_no_error (error);
  while (count < ASKED)
    g_main_context_iteration (NULL, TRUE);
}

#define LONG_ARGUMENT (8 * 1024 * 1024)

static void
slow_reader (FakePeer *peer, gpointer data)
{
  fake_peer_greet (peer, TRUE);
  g_autoptr (JsonObject) command = fake_peer_read (peer);
  JsonObject *arguments = json_object_get_object_member (command, "arguments");
  const char *text = json_object_get_string_member (arguments, "text");
  g_auto (AutoFd) passed = fake_peer_take_fd (peer);
  g_assert_cmpint (passed, >=, 0);
  g_assert_cmpuint (strlen (text), ==, LONG_ARGUMENT);
  fake_peer_answer (peer, json_object_get_int_member (command, "id"), "{}");
  fake_peer_wait_closed (peer);
}

static void
test_long_command_with_descriptor (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (slow_reader, NULL, &peer, &error);
  g_autofree char *text = g_strnfill (LONG_ARGUMENT, 'a');
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "text", text);
  g_autoptr (JsonNode) answer =
      qmp_client_execute (client, "getfd", arguments, STDIN_FILENO, 0, NULL, &error);
  g_assert_no_error (error);
}

/* --- giving up -----------------------------------------------------------------------------------
 */

/* Reads one command, says so, answers nothing. */
static void
mute (FakePeer *peer, gpointer data)
{
  fake_peer_greet (peer, TRUE);
  fake_peer_expect (peer, "query-name");
  fake_peer_signal (peer);
  fake_peer_wait_closed (peer);
}

typedef struct {
  FakePeer *peer;
  QmpClient *client;
  GCancellable *cancellable;
} Interrupter;

static gpointer
cancel_when_asked (gpointer data)
{
  Interrupter *interrupter = data;

  fake_peer_wait_signal (interrupter->peer);
  g_cancellable_cancel (interrupter->cancellable);
  return NULL;
}

static gpointer
close_when_asked (gpointer data)
{
  Interrupter *interrupter = data;

  fake_peer_wait_signal (interrupter->peer);
  qmp_client_close (interrupter->client);
  return NULL;
}

/* Waits for an answer at home while @interrupt runs in another thread. */
static void
interrupted (GThreadFunc interrupt, GQuark domain, int code)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (QmpClient) client = meet (mute, NULL, &peer, &error);
  Interrupter interrupter = { peer, client, cancellable };

  g_assert_no_error (error);
  GThread *thread = g_thread_new ("interrupt", interrupt, &interrupter);
  g_assert_null (qmp_client_execute (client, "query-name", NULL, -1, 0, cancellable, &error));
  g_assert_error (error, domain, code);
  g_thread_join (thread);
}

static void
test_cancel (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancelled = g_cancellable_new();

  interrupted (cancel_when_asked, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  /* Cancelled from the start: nothing is sent. */
  g_cancellable_cancel (cancelled);
  g_autoptr (QmpClient) client = meet (minimal_server, NULL, &peer, &error);
  g_assert_null (qmp_client_execute (client, "query-name", NULL, -1, 0, cancelled, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_autoptr (JsonNode) answer = qmp_client_execute (client, "yank", NULL, -1, 0, NULL, &error);
  g_assert_no_error (error);
}

static void
test_close (void)
{
  interrupted (close_when_asked, QMP_ERROR, QMP_ERROR_LOST);
}

static void
forbid_event (QmpClient *client, const char *event, JsonObject *data, gint64 time_us,
              gpointer user_data)
{
  g_assert_not_reached();
}

typedef struct {
  QmpClient *client;
  int timeout_ms;
  QmpError expected;
} Asker;

static gpointer
ask_from_elsewhere (gpointer data)
{
  Asker *asker = data;
  g_autoptr (GError) error = NULL;

  g_assert_null (
      qmp_client_execute (asker->client, "query-name", NULL, -1, asker->timeout_ms, NULL, &error));
  g_assert_error (error, QMP_ERROR, (int)asker->expected);
  return NULL;
}

/* Home does not run at all: other threads keep their deadlines, and a closed monitor is an error at
 * once. */
static void
test_home_stands_still (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) client = meet (say_and_wait,
                                       (gpointer) "{\"QMP\": {}}\n"
                                                  "{\"return\": {}, \"id\": 1}\n",
                                       &peer, &error);

  g_assert_no_error (error);
  qmp_client_set_event_func (client, forbid_event, NULL);
  Asker asker = { client, 50, QMP_ERROR_TIMEOUT };
  g_thread_join (g_thread_new ("asker", ask_from_elsewhere, &asker));
  qmp_client_close (client);
  g_assert_false (qmp_client_connected (client));
  asker = (Asker){ client, 0, QMP_ERROR_LOST };
  g_thread_join (g_thread_new ("asker", ask_from_elsewhere, &asker));
  while (g_main_context_iteration (NULL, FALSE)) {
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp-hostile/minimal-greeting", test_minimal_greeting);
  g_test_add_func ("/qmp-hostile/bad-greetings", test_bad_greetings);
  g_test_add_func ("/qmp-hostile/silence", test_silence);
  g_test_add_func ("/qmp-hostile/full-queue", test_full_queue);
  g_test_add_func ("/qmp-hostile/garbled-lines", test_garbled_lines);
  g_test_add_func ("/qmp-hostile/nesting", test_nesting);
  g_test_add_func ("/qmp-hostile/endless-line", test_endless_line);
  g_test_add_func ("/qmp-hostile/late-answer-is-dropped", test_late_answer_is_dropped);
  g_test_add_func ("/qmp-hostile/late-answer-calls-nobody", test_late_answer_calls_nobody);
  g_test_add_func ("/qmp-hostile/flood-of-events", test_flood_of_events);
  g_test_add_func ("/qmp-hostile/out-of-band-overtakes", test_out_of_band_overtakes);
  g_test_add_func ("/qmp-hostile/long-command-with-descriptor", test_long_command_with_descriptor);
  g_test_add_func ("/qmp-hostile/cancel", test_cancel);
  g_test_add_func ("/qmp-hostile/close", test_close);
  g_test_add_func ("/qmp-hostile/home-stands-still", test_home_stands_still);
  return g_test_run();
}
