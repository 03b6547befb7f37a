/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending a guest by QEMU's live migration: when it counts as sent, and that it runs on here, if it
 * ran, whenever it does not. */
#include <vmckpt/unit/live-migration.h>

#include "fake-peer.h"

#include <string.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>

#define ACTIVE                                                                                     \
  "{\"status\": \"active\", \"ram\": {\"remaining\": 1, \"mbps\": 1, \"dirty-sync-count\": 1}}"
#define STOPPED "{\"status\": \"pre-switchover\"}"
#define FAILED "{\"status\": \"failed\", \"error-desc\": \"no route\"}"
#define COMPLETED "{\"status\": \"completed\"}"
#define GONE NULL /* QEMU ends instead of an answer */

/* A QEMU, and who sends its guest. */
typedef struct {
  guint n;
  const char *answers[3]; /* to query-migrate, from `migrate` on; the last again and again */
  gboolean paused;        /* before */
  GCancellable *cancels;  /* (nullable): when progress is told */
  gboolean fails_stopped; /* what belongs to the moment of the stop */
  char *orders;           /* (out): commands that were carried out; after the peer's end */
  LiveReport report;      /* (out) */
  guint stops;            /* (out): how often it was told that the guest is stopped */
} Case;

static const char *
answer_query (const Case *at, guint *next, gboolean *halted)
{
  const char *answer = at->answers[*next];

  if (*next + 1 < at->n)
    ++*next;
  *halted |= answer != NULL && strstr (answer, "pre-switchover") != NULL;
  return answer;
}

/* One that has an outgoing migration, or none. */
static void
be_qemu (FakePeer *peer, gpointer data)
{
  Case *at = data;
  g_autoptr (GString) orders = g_string_new (NULL);
  gboolean migrates = FALSE, cancelled = FALSE, halted = at->paused;
  guint next = 0;

  fake_peer_greet (peer, FALSE);
  for (;;) {
    g_autoptr (JsonObject) message = fake_peer_read (peer);
    const char *command =
        message != NULL ? json_object_get_string_member (message, "execute") : NULL;
    const char *answer = "{}";
    if (command == NULL)
      break;
    if (g_str_equal (command, "query-status"))
      answer = halted ? "{\"status\": \"paused\"}" : "{\"status\": \"running\"}";
    else if (g_str_equal (command, "query-migrate") && migrates)
      answer = cancelled ? "{\"status\": \"cancelled\"}" : answer_query (at, &next, &halted);
    else if (g_str_equal (command, "migrate") || g_str_equal (command, "migrate_cancel") ||
             g_str_equal (command, "migrate-continue") || g_str_equal (command, "cont"))
      g_string_append_printf (orders, "%s ", command);
    if (answer == NULL)
      break;
    migrates |= g_str_equal (command, "migrate");
    cancelled |= g_str_equal (command, "migrate_cancel");
    halted &= !g_str_equal (command, "cont");
    fake_peer_answer (peer, json_object_get_int_member (message, "id"), answer);
  }
  at->orders = g_strdup (orders->str);
}

static void
on_progress (const LiveProgress *progress, gpointer user_data)
{
  const Case *at = user_data;

  if (at->cancels != NULL)
    g_cancellable_cancel (at->cancels);
}

static gboolean
on_stopped (gpointer user_data, GError **error)
{
  Case *at = user_data;

  at->stops++;
  if (at->fails_stopped)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "disks");
  return !at->fails_stopped;
}

static gboolean
send_guest (Case *at, const LiveOptions *options, GError **error)
{
  g_autoptr (FakePeer) peer = NULL;
  int fd;
  const LiveSend send = { .options = options,
                          .uri = "tcp:h:1",
                          .progress = on_progress,
                          .stopped = on_stopped,
                          .user_data = at,
                          .cancellable = at->cancels };

  peer = fake_peer_start (be_qemu, at, &fd);
  g_autoptr (QmpClient) monitor = qmp_client_new_for_fd (fd, 30000, NULL);
  g_assert_nonnull (monitor);
  return live_send (monitor, &send, &at->report, error);
}

/* @orders: all that QEMU was told */
static void
assert_sent (Case at, const char *orders, gboolean lost)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (send_guest (&at, &(LiveOptions){ 0 }, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (at.orders, ==, orders);
  g_assert_cmpint (at.report.lost, ==, lost);
  g_assert_false (at.report.postcopied);
  g_assert_cmpuint (at.stops, ==, 1);
  g_free (at.orders);
}

static void
assert_not_sent (Case at, const char *orders, GQuark domain, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (send_guest (&at, &(LiveOptions){ 0 }, &error));
  g_assert_error (error, domain, code);
  g_assert_cmpstr (at.orders, ==, orders);
  g_assert_false (at.report.lost);
  g_free (at.orders);
}

static void
test_sent (void)
{
  assert_sent ((Case){ 3, { ACTIVE, STOPPED, COMPLETED } }, "migrate migrate-continue ", FALSE);
}

/* Only the destination knows then. */
static void
test_qemu_gone_at_the_end (void)
{
  assert_sent ((Case){ 3, { ACTIVE, STOPPED, GONE } }, "migrate migrate-continue ", TRUE);
}

static void
test_qemu_gone_before (void)
{
  g_test_expect_message ("vmckpt", G_LOG_LEVEL_WARNING, "*is given up*");
  assert_not_sent ((Case){ 2, { ACTIVE, GONE } }, "migrate ", QMP_ERROR, QMP_ERROR_LOST);
  g_test_assert_expected_messages();
}

/* It goes on here, whatever state it was in. */
static void
test_failures (void)
{
  assert_not_sent ((Case){ 1, { FAILED } }, "migrate ", RAM_ERROR, RAM_ERROR_FAILED);
  assert_not_sent ((Case){ 2, { STOPPED, FAILED } }, "migrate migrate-continue cont ", RAM_ERROR,
                   RAM_ERROR_FAILED);
  assert_not_sent ((Case){ 1, { STOPPED }, .fails_stopped = TRUE }, "migrate migrate_cancel cont ",
                   G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  assert_not_sent ((Case){ 2, { "[]", ACTIVE } }, "migrate migrate_cancel ", QMP_ERROR,
                   QMP_ERROR_PROTOCOL);
}

static void
test_paused_guests_stay_paused (void)
{
  assert_not_sent ((Case){ 2, { STOPPED, FAILED }, .paused = TRUE }, "migrate migrate-continue ",
                   RAM_ERROR, RAM_ERROR_FAILED);
}

static void
test_cancelled (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();

  assert_not_sent ((Case){ 1, { ACTIVE }, .cancels = cancellable }, "migrate migrate_cancel ",
                   G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_options (void)
{
  const LiveOptions both = { .channels = 2, .postcopy = TRUE };
  const LiveOptions most = { .channels = LIVE_CHANNELS_MAX, .bitmaps = TRUE };
  g_autoptr (JsonObject) object = live_options_to_json (&most);
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) too_many = NULL;
  LiveOptions read;
  Case at = { 1, { COMPLETED } };

  g_assert_false (send_guest (&at, &both, &error));
  g_assert_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE);
  g_assert_cmpstr (at.orders, ==, "");
  g_free (at.orders);
  g_assert_true (live_options_from_json (object, &read, NULL));
  g_assert_cmpuint (read.channels, ==, LIVE_CHANNELS_MAX);
  g_assert_true (read.bitmaps && !read.postcopy);
  json_object_set_int_member (object, "channels", G_GINT64_CONSTANT (1) << 32);
  g_assert_false (live_options_from_json (object, &read, &too_many));
  g_assert_error (too_many, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/live-migration/sent", test_sent);
  g_test_add_func ("/live-migration/gone-at-the-end", test_qemu_gone_at_the_end);
  g_test_add_func ("/live-migration/gone-before", test_qemu_gone_before);
  g_test_add_func ("/live-migration/failures", test_failures);
  g_test_add_func ("/live-migration/paused", test_paused_guests_stay_paused);
  g_test_add_func ("/live-migration/cancelled", test_cancelled);
  g_test_add_func ("/live-migration/options", test_options);
  return g_test_run();
}
