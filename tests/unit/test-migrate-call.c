/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The source's side of the long call to the host that a guest goes to: what it has said counts, and
 * nothing else; and a call that is over never says that all has arrived. */
#include "migrate-call.h"

#include "api-error.h"
#include "fake-host.h"
#include "peer.h"

#include <string.h>
#include <vmckpt/util/json.h>

#define LISTENING                                                                                  \
  "{\"type\": \"listening\", \"uri\": \"tcp:h:1\", \"nbd\": \"h:2\", \"records\": \"R\"}\n"
#define ARRIVED "{\"type\": \"arrived\"}\n"
#define RESULT "{\"type\": \"result\", \"guest\": \"g\"}\n"
#define FAILED "{\"type\": \"error\", \"kind\": \"not-possible\", \"message\": \"no room\"}\n"

typedef struct {
  const char *lines;
  gboolean stays;        /* the call goes on after them */
  GCancellable *cancels; /* (nullable) after them */
  gboolean over;         /* atomic */
} Script;

static gboolean
follow (FakeHost *host, const char *request, const char *body, gpointer data)
{
  Script *script = data;

  g_assert_cmpstr (request, ==, "POST /v1/migrations");
  g_assert_cmpstr (body, ==, "{\"id\":\"U\"}");
  fake_host_begin_lines (host);
  fake_host_send (host, script->lines);
  if (script->cancels != NULL)
    g_cancellable_cancel (script->cancels);
  if (script->stays)
    fake_host_wait_closed (host);
  g_atomic_int_set (&script->over, TRUE);
  return FALSE;
}

static MigrateCall *
begin (FakeHost *host)
{
  g_autoptr (JsonObject) offer = json_object_new();
  g_autoptr (GError) error = NULL;

  json_object_set_string_member (offer, "id", "U");
  MigrateCall *call = migrate_call_new (fake_host_name (host), NULL, offer, &error);
  g_assert_no_error (error);
  return call;
}

static void
test_all_goes_well (void)
{
  Script script = { "{\"type\": \"status\"}\n" LISTENING
                    "{\"type\": \"listening\", \"uri\": \"tcp:elsewhere:1\"}\n" ARRIVED RESULT };
  g_autoptr (FakeHost) host = fake_host_start (follow, &script);
  g_autoptr (MigrateCall) call = begin (host);
  g_autoptr (GError) error = NULL;
  const char *uri, *nbd;

  g_assert_nonnull (migrate_call_wait_served (call, 30000)); /* all has been said */
  g_assert_true (migrate_call_wait_listening (call, &uri, &nbd, NULL, &error));
  g_assert_cmpstr (uri, ==, "tcp:h:1");
  g_assert_cmpstr (nbd, ==, "h:2");
  g_assert_cmpstr (migrate_call_records (call), ==, "R");
  JsonObject *served = migrate_call_wait_served (call, 0);
  g_assert_cmpstr (json_get_string_or (served, "guest", NULL), ==, "g");
}

/* It says that all is there, and waits for the word. */
static void
test_arrived_while_the_call_lasts (void)
{
  Script script = { LISTENING ARRIVED, .stays = TRUE };
  g_autoptr (FakeHost) host = fake_host_start (follow, &script);
  g_autoptr (MigrateCall) call = begin (host);
  g_autoptr (GError) error = NULL;

  g_assert_true (migrate_call_wait_arrived (call, NULL, &error));
  g_assert_true (migrate_call_check (call, &error));
  g_assert_null (migrate_call_wait_served (call, 0)); /* nobody knows yet */
}

/* What both waits end with where the host says @lines and then no more. */
static void
assert_fails (const char *lines, gboolean listened, GQuark domain, int code)
{
  Script script = { lines };
  g_autoptr (FakeHost) host = fake_host_start (follow, &script);
  g_autoptr (MigrateCall) call = begin (host);
  g_autoptr (GError) not_listening = NULL;
  g_autoptr (GError) not_arrived = NULL;
  g_autoptr (GError) over = NULL;
  const char *uri, *nbd;

  g_assert_cmpint (migrate_call_wait_listening (call, &uri, &nbd, NULL, &not_listening), ==,
                   listened);
  g_assert_null (migrate_call_wait_served (call, 30000)); /* it is over now */
  g_assert_false (migrate_call_wait_arrived (call, NULL, &not_arrived));
  g_assert_error (not_arrived, domain, code);
  g_assert_false (migrate_call_check (call, &over));
  g_assert_error (over, domain, code);
}

static void
test_failures (void)
{
  assert_fails ("", FALSE, PEER_ERROR, PEER_ERROR_LOST);
  assert_fails (FAILED, FALSE, API_ERROR, API_NOT_POSSIBLE);
  assert_fails ("nonsense\n", FALSE, PEER_ERROR, PEER_ERROR_ANSWER);
  assert_fails (LISTENING, TRUE, PEER_ERROR, PEER_ERROR_LOST);
  assert_fails (LISTENING FAILED, TRUE, API_ERROR, API_NOT_POSSIBLE);
  assert_fails (LISTENING ARRIVED, TRUE, PEER_ERROR, PEER_ERROR_LOST);
  assert_fails (LISTENING ARRIVED FAILED, TRUE, API_ERROR, API_NOT_POSSIBLE);
}

/* Whose records are not known cannot be believed later on. */
static void
test_listening_without_records (void)
{
  static const char *const lines[] = {
    "{\"type\": \"listening\", \"uri\": \"tcp:h:1\"}\n",
    "{\"type\": \"listening\", \"uri\": 7, \"records\": [\"R\"]}\n",
  };

  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    Script script = { lines[i], .stays = TRUE };
    g_autoptr (FakeHost) host = fake_host_start (follow, &script);
    g_autoptr (MigrateCall) call = begin (host);
    g_autoptr (GError) error = NULL;
    const char *uri, *nbd;
    g_assert_false (migrate_call_wait_listening (call, &uri, &nbd, NULL, &error));
    g_assert_error (error, API_ERROR, API_FAILED);
    g_assert_null (migrate_call_records (call));
  }
}

static void
test_waits_are_cancelled (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  Script script = { "{\"type\": \"status\"}\n", .stays = TRUE, .cancels = cancellable };
  g_autoptr (FakeHost) host = fake_host_start (follow, &script);
  g_autoptr (MigrateCall) call = begin (host);
  g_autoptr (GError) listening = NULL;
  g_autoptr (GError) arrived = NULL;
  const char *uri, *nbd;

  g_assert_false (migrate_call_wait_listening (call, &uri, &nbd, cancellable, &listening));
  g_assert_error (listening, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_false (migrate_call_wait_arrived (call, cancellable, &arrived));
  g_assert_error (arrived, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* Which the other host takes as the wish to stop. */
static void
test_freeing_leaves_the_call (void)
{
  Script script = { LISTENING, .stays = TRUE };
  g_autoptr (FakeHost) host = fake_host_start (follow, &script);
  MigrateCall *call = begin (host);
  const char *uri, *nbd;

  g_assert_true (migrate_call_wait_listening (call, &uri, &nbd, NULL, NULL));
  gint64 deadline = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
  migrate_call_free (call);
  while (!g_atomic_int_get (&script.over) && g_get_monotonic_time() < deadline)
    g_usleep (1000);
  g_assert_true (g_atomic_int_get (&script.over));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/migrate-call/well", test_all_goes_well);
  g_test_add_func ("/migrate-call/arrived", test_arrived_while_the_call_lasts);
  g_test_add_func ("/migrate-call/failures", test_failures);
  g_test_add_func ("/migrate-call/records", test_listening_without_records);
  g_test_add_func ("/migrate-call/cancelled", test_waits_are_cancelled);
  g_test_add_func ("/migrate-call/left", test_freeing_leaves_the_call);
  return g_test_run();
}
