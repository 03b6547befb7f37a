/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest agent's client, against agents that answer well, late, badly or not at all. */
#include <vmckpt/qmp/guest-agent.h>

#include "fake-peer.h"

#include <string.h>

#define LONG_MS 30000 /* never waited for */
#define SHORT_MS 60   /* waited for */

/* ---- What agents do; each returns when the client hangs up ---- */

/* Reads a sync, whose first byte is no JSON, and answers it after @before. */
static void
answer_sync (FakePeer *peer, const char *before)
{
  g_autoptr (JsonObject) sync = fake_peer_read (peer);
  g_assert_nonnull (sync);
  g_assert_cmpstr (json_object_get_string_member (sync, "execute"), ==, "guest-sync-delimited");
  g_autofree char *line = g_strdup_printf (
      "%s\xff{\"return\": %" G_GINT64_FORMAT "}\n", before,
      json_object_get_int_member (json_object_get_object_member (sync, "arguments"), "id"));
  fake_peer_send (peer, line);
}

static void
expect (FakePeer *peer, const char *command)
{
  g_autoptr (JsonObject) message = fake_peer_read (peer);
  g_assert_nonnull (message);
  g_assert_cmpstr (json_object_get_string_member (message, "execute"), ==, command);
}

/* Answers whatever it is asked with @data, one line. */
static void
answer_all (FakePeer *peer, gpointer data)
{
  answer_sync (peer, "");
  for (;;) {
    g_autoptr (JsonObject) message = fake_peer_read (peer);
    if (message == NULL)
      return;
    fake_peer_send (peer, data);
  }
}

static void
silent (FakePeer *peer, gpointer data)
{
  fake_peer_wait_closed (peer);
}

static void
hang_up (FakePeer *peer, gpointer data)
{
  answer_sync (peer, "");
}

/* Full of what an earlier client left: half an answer, and a sync that nobody waited for. */
static void
left_over (FakePeer *peer, gpointer data)
{
  answer_sync (peer, "{\"return\": {\"half\xff{\"return\": 7}\n{\"return\": {}}\n");
  expect (peer, "guest-ping");
  fake_peer_send (peer, "{\"return\": {}}\n");
  fake_peer_wait_closed (peer);
}

/* Answers the first command only when the client has given up on it. */
static void
late (FakePeer *peer, gpointer data)
{
  answer_sync (peer, "");
  expect (peer, "guest-fsfreeze-freeze");
  fake_peer_wait_signal (peer);
  fake_peer_send (peer, "{\"return\": 4}\n");
  answer_sync (peer, "");
  expect (peer, "guest-fsfreeze-thaw");
  fake_peer_send (peer, "{\"return\": 3}\n");
  fake_peer_wait_closed (peer);
}

static void
endless_line (FakePeer *peer, gpointer data)
{
  g_autofree char *many = g_strnfill (1 << 20, '{');

  answer_sync (peer, "");
  expect (peer, "guest-ping");
  for (guint i = 0; i <= GUEST_AGENT_MAX_LINE >> 20; i++)
    fake_peer_send (peer, many);
  fake_peer_wait_closed (peer);
}

/* ---- Tests ---- */

static GuestAgent *
meet (FakeScript script, const char *data, FakePeer **peer)
{
  g_autoptr (GError) error = NULL;
  int fd;

  *peer = fake_peer_start (script, (gpointer)data, &fd);
  GuestAgent *agent = guest_agent_new_for_fd (fd, LONG_MS, NULL, &error);
  g_assert_no_error (error);
  return agent;
}

static void
test_left_over (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (left_over, NULL, &peer);
  g_autoptr (GError) error = NULL;

  guest_agent_ping (agent, LONG_MS, &error);
  g_assert_no_error (error);
}

static void
test_absent (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) error = NULL;
  int fd;

  peer = fake_peer_start (silent, NULL, &fd);
  g_assert_null (guest_agent_new_for_fd (fd, SHORT_MS, NULL, &error));
  g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_ABSENT);
  g_clear_error (&error);
  g_assert_null (guest_agent_connect ("/nonexistent/agent.sock", SHORT_MS, NULL, &error));
  g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_ABSENT);
}

/* The answer to the freeze must not be taken for that to the thaw. */
static void
test_late (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (late, NULL, &peer);
  g_autoptr (GError) error = NULL;
  guint count = 0;

  g_assert_false (guest_agent_freeze (agent, SHORT_MS, &count, &error));
  g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT);
  fake_peer_signal (peer);
  g_clear_error (&error);
  guest_agent_thaw (agent, LONG_MS, &count, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count, ==, 3);
}

static void
test_gone (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (hang_up, NULL, &peer);
  g_autoptr (GError) error = NULL;

  g_assert_false (guest_agent_ping (agent, LONG_MS, &error));
  g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT);
}

static void
test_cancelled (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;
  int fd;

  g_cancellable_cancel (cancellable);
  peer = fake_peer_start (silent, NULL, &fd);
  g_assert_null (guest_agent_new_for_fd (fd, LONG_MS, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* A line that never ends, and lines that are no answers. */
static void
test_nonsense (void)
{
  static const char *const answers[] = {
    "\n",
    "{}\n",
    "[]\n",
    "{\"return\": \"thawed\"}\n",
    "{\"return\": [{}]}\n",
    "{\"return\": \xc3\x28}\n",
    "{\"error\": 3}\n",
    "{\"return\": [[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]}\n",
  };

  for (guint i = 0; i < G_N_ELEMENTS (answers); i++) {
    g_autoptr (FakePeer) peer = NULL;
    g_autoptr (GuestAgent) agent = meet (answer_all, answers[i], &peer);
    g_autoptr (GError) error = NULL;
    g_assert_false (guest_agent_ping (agent, LONG_MS, &error));
    g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_PROTOCOL);
  }
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (endless_line, NULL, &peer);
  g_autoptr (GError) error = NULL;
  g_assert_false (guest_agent_ping (agent, LONG_MS, &error));
  g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_PROTOCOL);
}

static void
test_refused (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (
      answer_all, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not today\"}}\n", &peer);
  g_autoptr (GError) error = NULL;
  guint count;

  g_assert_false (guest_agent_freeze (agent, LONG_MS, &count, &error));
  g_assert_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_COMMAND);
  g_assert_nonnull (strstr (error->message, "not today"));
}

static void
test_status (void)
{
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (answer_all, "{\"return\": \"frozen\"}\r\n", &peer);
  g_autoptr (GError) error = NULL;
  gboolean frozen = FALSE;

  guest_agent_is_frozen (agent, LONG_MS, &frozen, &error);
  g_assert_no_error (error);
  g_assert_true (frozen);
}

/* The first answer of each is to guest-exec, the rest to questions how it ended. */
static void
run_script (FakePeer *peer, gpointer data)
{
  answer_sync (peer, "");
  expect (peer, "guest-exec");
  fake_peer_send (peer, "{\"return\": {\"pid\": 41}}\n");
  expect (peer, "guest-exec-status");
  fake_peer_send (peer, "{\"return\": {\"exited\": false}}\n");
  expect (peer, "guest-exec-status");
  fake_peer_send (peer, data);
  fake_peer_wait_closed (peer);
}

static void
run (const char *answer, GuestAgentResult *result)
{
  static const char *const argv[] = { "prog", "word", NULL };
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GuestAgent) agent = meet (run_script, answer, &peer);
  g_autoptr (GError) error = NULL;

  guest_agent_run (agent, argv, LONG_MS, result, &error);
  g_assert_no_error (error);
}

static void
test_run (void)
{
  g_auto (GuestAgentResult) result = { 0 };
  g_autofree guchar *large = g_malloc0 (GUEST_AGENT_MAX_OUTPUT + 3);
  g_autofree char *base64 = g_base64_encode (large, GUEST_AGENT_MAX_OUTPUT + 3);
  g_autofree char *flood = g_strdup_printf (
      "{\"return\": {\"exited\": true, \"signal\": 9, \"out-data\": \"%s\"}}\n", base64);

  run ("{\"return\": {\"exited\": true, \"exitcode\": 3, \"out-data\": \"aGk=\"}}\n", &result);
  g_assert_true (result.exited);
  g_assert_cmpint (result.status, ==, 3);
  g_assert_cmpmem (g_bytes_get_data (result.out, NULL), g_bytes_get_size (result.out), "hi", 2);
  g_assert_cmpuint (g_bytes_get_size (result.err), ==, 0);
  g_assert_false (result.truncated);
  guest_agent_result_clear (&result);

  run (flood, &result);
  g_assert_false (result.exited);
  g_assert_cmpint (result.status, ==, 9);
  g_assert_cmpuint (g_bytes_get_size (result.out), ==, GUEST_AGENT_MAX_OUTPUT);
  g_assert_true (result.truncated);
}

/* A command that goes on is given up, a process without a number at once. */
static void
test_run_fails (void)
{
  static const char *const argv[] = { "prog", NULL };
  static const struct {
    const char *answer;
    GuestAgentError code;
  } cases[] = {
    { "{\"return\": {\"pid\": 1, \"exited\": false}}\n", GUEST_AGENT_ERROR_TIMEOUT },
    { "{\"return\": {\"exited\": true}}\n", GUEST_AGENT_ERROR_PROTOCOL },
    { "{\"return\": 3}\n", GUEST_AGENT_ERROR_PROTOCOL },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (FakePeer) peer = NULL;
    g_autoptr (GuestAgent) agent = meet (answer_all, cases[i].answer, &peer);
    g_autoptr (GError) error = NULL;
    g_auto (GuestAgentResult) result = { 0 };
    g_assert_false (guest_agent_run (agent, argv, SHORT_MS * 5, &result, &error));
    g_assert_error (error, GUEST_AGENT_ERROR, (int)cases[i].code);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/guest-agent/left-over", test_left_over);
  g_test_add_func ("/guest-agent/absent", test_absent);
  g_test_add_func ("/guest-agent/late", test_late);
  g_test_add_func ("/guest-agent/gone", test_gone);
  g_test_add_func ("/guest-agent/cancelled", test_cancelled);
  g_test_add_func ("/guest-agent/nonsense", test_nonsense);
  g_test_add_func ("/guest-agent/refused", test_refused);
  g_test_add_func ("/guest-agent/status", test_status);
  g_test_add_func ("/guest-agent/run", test_run);
  g_test_add_func ("/guest-agent/run-fails", test_run_fails);
  return g_test_run();
}
