/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/unit/live-migration.h>

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define FIRST_GOOD_TCG 9 /* older QEMUs lose writes under TCG (README.md) */
#define PAGE_BYTES 4096
#define POLL_US 50000      /* while it copies */
#define POLL_CLOSE_US 5000 /* when it may stop the guest any moment */
#define POLL_STOPPED_US 1000
#define PROGRESS_US 250000
#define STALL_ROUNDS 4 /* of which each leaves as much as the one before: it does not converge */
#define UNDO_US (30 * G_USEC_PER_SEC)
#define TLS_OBJECT "vmckpt-migration-tls"

/* ---- Options ---- */

JsonObject *
live_options_to_json (const LiveOptions *options)
{
  JsonObject *object = json_object_new();

  json_object_set_int_member (object, "channels", options->channels);
  json_object_set_boolean_member (object, "postcopy", options->postcopy);
  json_object_set_boolean_member (object, "bitmaps", options->bitmaps);
  return object;
}

gboolean
live_options_from_json (JsonObject *object, LiveOptions *options, GError **error)
{
  guint64 channels = json_get_uint64_or (object, "channels", 0);

  *options = (LiveOptions){ .channels = (guint)channels,
                            .postcopy = json_get_bool_or (object, "postcopy", FALSE),
                            .bitmaps = json_get_bool_or (object, "bitmaps", FALSE) };
  if (channels <= LIVE_CHANNELS_MAX)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "at most %d channels are possible",
               LIVE_CHANNELS_MAX);
  return FALSE;
}

/* What differs from QEMU's defaults; both sides but where it says. */
typedef enum { SIDE_SOURCE, SIDE_DESTINATION } Side;

static gboolean
run (QmpClient *monitor, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);

  return answer != NULL;
}

static gboolean
set_capabilities (QmpClient *monitor, const LiveOptions *options, Side side, GError **error)
{
  gboolean source = side == SIDE_SOURCE;
  const QmpCapability wanted[] = {
    { "events", TRUE },
    { "return-path", TRUE },
    { "multifd", options->channels > 0 },
    { "postcopy-ram", options->postcopy },
    { "dirty-bitmaps", options->bitmaps },
    { "auto-converge", source && options->auto_converge },
    { "pause-before-switchover", source },
    { "late-block-activate", !source },
  };

  return qmp_migrate_set_capabilities (monitor, wanted, G_N_ELEMENTS (wanted), error);
}

/* The certificates are read by QEMU itself. */
static gboolean
add_credentials (QmpClient *monitor, const LiveOptions *options, Side side, GError **error)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "qom-type", "tls-creds-x509");
  json_object_set_string_member (object, "id", TLS_OBJECT);
  json_object_set_string_member (object, "dir", options->tls);
  json_object_set_string_member (object, "endpoint", side == SIDE_SOURCE ? "client" : "server");
  json_object_set_boolean_member (object, "verify-peer", TRUE);
  return run (monitor, "object-add", object, error);
}

static gboolean
set_parameters (QmpClient *monitor, const LiveOptions *options, Side side, GError **error)
{
  JsonObject *object = json_object_new();

  if (side == SIDE_SOURCE) {
    guint downtime = options->max_downtime_ms > 0 ? options->max_downtime_ms : LIVE_DOWNTIME_MS;
    json_object_set_int_member (object, "downtime-limit", downtime);
    /* 0 is no limit in none of QEMU's versions alike; this is one that nothing reaches. */
    json_object_set_int_member (object, "max-bandwidth",
                                options->bandwidth > 0 ? (gint64)options->bandwidth
                                                       : G_GINT64_CONSTANT (1) << 40);
  }
  if (options->channels > 0)
    json_object_set_int_member (object, "multifd-channels", options->channels);
  json_object_set_string_member (object, "tls-creds", options->tls != NULL ? TLS_OBJECT : "");
  json_object_set_string_member (
      object, "tls-hostname",
      side == SIDE_SOURCE && options->tls != NULL && options->tls_host != NULL ? options->tls_host
                                                                               : "");
  return run (monitor, "migrate-set-parameters", object, error);
}

static gboolean
apply_options (QmpClient *monitor, const LiveOptions *options, Side side, GError **error)
{
  if (options->channels > 0 && options->postcopy) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "QEMU has several channels or postcopy, not both");
    return FALSE;
  }
  live_forget_options (monitor);
  return (options->tls == NULL || add_credentials (monitor, options, side, error)) &&
         set_capabilities (monitor, options, side, error) &&
         set_parameters (monitor, options, side, error);
}

void
live_forget_options (QmpClient *monitor)
{
  static const char *const ours[] = { "return-path",        "multifd",
                                      "postcopy-ram",       "dirty-bitmaps",
                                      "auto-converge",      "pause-before-switchover",
                                      "late-block-activate" };
  JsonObject *parameters = json_object_new();
  JsonObject *object = json_object_new();

  for (guint i = 0; i < G_N_ELEMENTS (ours); i++)
    qmp_migrate_set_capability (monitor, ours[i], FALSE, NULL);
  json_object_set_string_member (parameters, "tls-creds", "");
  json_object_set_string_member (parameters, "tls-hostname", "");
  run (monitor, "migrate-set-parameters", parameters, NULL);
  json_object_set_string_member (object, "id", TLS_OBJECT);
  run (monitor, "object-del", object, NULL);
}

gboolean
live_check (QmpClient *monitor, const char *accel, GError **error)
{
  const QmpGreeting *greeting = qmp_client_greeting (monitor);

  if (greeting->major >= FIRST_GOOD_TCG || g_strcmp0 (accel, "tcg") != 0)
    return TRUE;
  g_set_error (
      error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
      "QEMU %u.%u under TCG loses what a guest writes while its memory is sent (QEMU 9 does "
      "not): use --via-store, which reads the memory in another way",
      greeting->major, greeting->minor);
  return FALSE;
}

/* ---- What query-migrate tells ---- */

typedef struct {
  char *status, *error_desc;
  LiveProgress progress;
  char *address; /* (nullable): "tcp:HOST:PORT" that it listens at */
} Status;

static void
status_clear (Status *status)
{
  g_free (status->status);
  g_free (status->error_desc);
  g_free (status->address);
  *status = (Status){ 0 };
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Status, status_clear)

static double
get_double (JsonObject *object, const char *member)
{
  return json_object_get_double_member_with_default (object, member, 0);
}

/* When it converges: memory that is written faster than it is sent never is all there. */
static double
predict (const LiveProgress *progress)
{
  double net = progress->rate - progress->dirty_rate;

  return progress->rate <= 0 ? 0 : net <= 0 ? -1 : (double)progress->remaining / net;
}

static void
read_ram (JsonObject *ram, LiveProgress *progress)
{
  double page = (double)json_get_uint64_or (ram, "page-size", PAGE_BYTES);

  progress->transferred = json_get_uint64_or (ram, "transferred", 0);
  progress->remaining = json_get_uint64_or (ram, "remaining", 0);
  progress->total = json_get_uint64_or (ram, "total", 0);
  progress->rate = get_double (ram, "mbps") * 1e6 / 8;
  progress->dirty_rate = get_double (ram, "dirty-pages-rate") * page;
  progress->rounds = (guint)json_get_uint64_or (ram, "dirty-sync-count", 0);
}

static char *
read_address (JsonObject *answer)
{
  JsonArray *addresses = json_get_array (answer, "socket-address", NULL);
  JsonNode *first = addresses != NULL && json_array_get_length (addresses) > 0
                        ? json_array_get_element (addresses, 0)
                        : NULL;
  JsonObject *address =
      first != NULL && JSON_NODE_HOLDS_OBJECT (first) ? json_node_get_object (first) : NULL;
  const char *host = address != NULL ? json_get_string_or (address, "host", NULL) : NULL;
  const char *port = address != NULL ? json_get_string_or (address, "port", NULL) : NULL;

  if (host == NULL || port == NULL)
    return NULL;
  return g_strdup_printf (strchr (host, ':') != NULL ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

static const char *
phase_of (const char *status)
{
  if (g_str_has_prefix (status, "postcopy"))
    return "postcopy";
  if (g_str_equal (status, "pre-switchover") || g_str_equal (status, "device") ||
      g_str_equal (status, "completed"))
    return "switch";
  return g_str_equal (status, "active") ? "copy" : "setup";
}

static gboolean
ask (QmpClient *monitor, Status *status, GError **error)
{
  g_autoptr (JsonNode) node =
      qmp_client_execute (monitor, "query-migrate", NULL, -1, 0, NULL, error);

  status_clear (status);
  if (node == NULL)
    return FALSE;
  if (!JSON_NODE_HOLDS_OBJECT (node)) {
    g_set_error_literal (error, QMP_ERROR, QMP_ERROR_PROTOCOL, "query-migrate: no object");
    return FALSE;
  }
  JsonObject *answer = json_node_get_object (node);
  JsonObject *ram =
      json_object_has_member (answer, "ram") ? json_get_object (answer, "ram", NULL) : NULL;
  status->status = g_strdup (json_get_string_or (answer, "status", "none"));
  status->error_desc = g_strdup (json_get_string_or (answer, "error-desc", NULL));
  status->address = read_address (answer);
  if (ram != NULL)
    read_ram (ram, &status->progress);
  status->progress.phase = phase_of (status->status);
  status->progress.expected_downtime_ms =
      (double)json_get_uint64_or (answer, "expected-downtime", 0);
  status->progress.seconds_remaining = predict (&status->progress);
  return TRUE;
}

static gboolean
status_is (const Status *status, const char *name)
{
  return g_str_equal (status->status, name);
}

static gboolean
has_failed (const Status *status, GError **error)
{
  if (!status_is (status, "failed") && !status_is (status, "cancelled") &&
      !status_is (status, "cancelling"))
    return FALSE;
  g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU has given it up: %s",
               status->error_desc != NULL ? status->error_desc : status->status);
  return TRUE;
}

/* ---- Destination ---- */

char *
live_listen (QmpClient *monitor, const LiveOptions *options, const char *uri, GError **error)
{
  ERROR_PREFIX (error, "waiting for a guest at %s", uri);
  g_auto (Status) status = { 0 };

  if (!apply_options (monitor, options, SIDE_DESTINATION, error) ||
      !qmp_migrate_incoming (monitor, uri, error) || !ask (monitor, &status, error))
    return NULL;
  if (g_str_has_prefix (uri, "unix:"))
    return g_strdup (uri);
  if (status.address == NULL)
    g_set_error_literal (error, QMP_ERROR, QMP_ERROR_PROTOCOL, "QEMU does not say at which port");
  return g_steal_pointer (&status.address);
}

gboolean
live_wait_loaded (QmpClient *monitor, gboolean *postcopied, GCancellable *cancellable,
                  GError **error)
{
  ERROR_PREFIX (error, "loading the guest");
  g_auto (Status) status = { 0 };

  *postcopied = FALSE;
  while (!g_cancellable_set_error_if_cancelled (cancellable, error)) {
    if (!ask (monitor, &status, error) || has_failed (&status, error))
      return FALSE;
    gboolean switched = status_is (&status, "postcopy-active");
    if (status_is (&status, "completed") || switched) {
      /* QEMU says so a moment before its run state does. */
      g_autofree char *run_state = qmp_query_status (monitor, error);
      if (run_state == NULL)
        return FALSE;
      *postcopied = switched;
      if (!g_str_equal (run_state, "inmigrate"))
        return TRUE;
    }
    g_usleep (POLL_STOPPED_US * 2);
  }
  return FALSE;
}

/* FALSE with @error if a postcopy migration does not go on. */
static gboolean
check_postcopy (const Status *status, GError **error)
{
  if (has_failed (status, error))
    return FALSE;
  if (!status_is (status, "postcopy-paused"))
    return TRUE;
  g_set_error_literal (error, RAM_ERROR, RAM_ERROR_STALLED, "the connection is broken");
  return FALSE;
}

gboolean
live_wait_received (QmpClient *monitor, GError **error)
{
  ERROR_PREFIX (error, "fetching the rest of the guest's memory");
  g_auto (Status) status = { 0 };

  while (ask (monitor, &status, error) && check_postcopy (&status, error)) {
    if (status_is (&status, "completed"))
      return TRUE;
    g_usleep (POLL_US);
  }
  return FALSE;
}

/* ---- Source ---- */

typedef struct {
  QmpClient *monitor;
  const LiveSend *send;
  LiveReport *report;
  gint64 told_us;
  guint rounds, stalled; /* the last round that was looked at; how many did not help */
  guint64 left;          /* after that */
  gboolean diverges, switched;
} Sending;

static void
tell (Sending *sending, const Status *status, gboolean always)
{
  gint64 now = g_get_monotonic_time();

  sending->report->last = status->progress;
  if (!always && now - sending->told_us < PROGRESS_US)
    return;
  sending->told_us = now;
  sending->send->progress (&status->progress, sending->send->user_data);
}

/* Whether a round has brought it nearer to its end. */
static void
judge_round (Sending *sending, const LiveProgress *progress)
{
  if (progress->rounds == sending->rounds || progress->rounds < 2)
    return;
  gboolean helps = sending->left == 0 || progress->remaining < sending->left / 10 * 9;
  sending->stalled = helps ? 0 : sending->stalled + 1;
  sending->rounds = progress->rounds;
  sending->left = progress->remaining;
}

static gboolean
note_divergence (Sending *sending, const LiveProgress *progress, GError **error)
{
  const LiveSend *send = sending->send;

  judge_round (sending, progress);
  if (sending->stalled < STALL_ROUNDS || sending->diverges)
    return TRUE;
  sending->diverges = TRUE;
  g_autofree char *text = g_strdup_printf (
      "it does not converge: the guest writes %.0f MB/s, and %.0f MB/s are sent; %s",
      progress->dirty_rate / 1e6, progress->rate / 1e6,
      send->options->postcopy ? "the rest is fetched while it runs there"
      : send->options->auto_converge
          ? "its CPUs are slowed down until it does"
          : "--postcopy, --auto-converge or a longer --max-downtime helps");
  if (send->message != NULL)
    send->message (text, send->user_data);
  sending->switched = send->options->postcopy;
  return !sending->switched || run (sending->monitor, "migrate-start-postcopy", NULL, error);
}

static gboolean
go_on_from_stop (Sending *sending, GError **error)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "state", "pre-switchover");
  return run (sending->monitor, "migrate-continue", arguments, error);
}

/* Whether it may be stopped before the next look, if that is as late as usual. */
static gboolean
is_close (const Status *status)
{
  const LiveProgress *now = &status->progress;

  return status_is (status, "active") && now->rounds > 0 && now->rate > 0 &&
         (double)now->remaining < now->rate;
}

static void
wait_a_little (const Status *status, gboolean stopped)
{
  g_usleep (stopped ? POLL_STOPPED_US : is_close (status) ? POLL_CLOSE_US : POLL_US);
}

/* Everything else is there, and the guest stands still. */
static gboolean
send_last (Sending *sending, GError **error)
{
  const LiveSend *send = sending->send;

  return fault_visit (FAULT_MOVE_STOPPED, error) && send->stopped (send->user_data, error) &&
         go_on_from_stop (sending, error) && fault_visit (FAULT_MOVE_FLUSHING, error);
}

/* A QEMU that has gone may have sent everything before; not if memory was to be fetched from it. */
static gboolean
is_lost_at_end (Sending *sending, gboolean stopped, const GError *error)
{
  sending->report->lost =
      stopped && !sending->switched && g_error_matches (error, QMP_ERROR, QMP_ERROR_LOST);
  return sending->report->lost;
}

/* Until all is sent, or all but memory that follows. */
static gboolean
follow (Sending *sending, GError **error)
{
  const LiveSend *send = sending->send;
  gboolean begun = FALSE, stopped = FALSE;
  g_auto (Status) status = { 0 };

  while (stopped || !g_cancellable_set_error_if_cancelled (send->cancellable, error)) {
    gint64 asked_us = g_get_monotonic_time();
    g_autoptr (GError) unanswered = NULL;
    if (!ask (sending->monitor, &status, &unanswered)) {
      if (is_lost_at_end (sending, stopped, unanswered))
        return TRUE;
      g_propagate_error (error, g_steal_pointer (&unanswered));
      return FALSE;
    }
    if (has_failed (&status, error))
      return FALSE;
    tell (sending, &status, FALSE);
    if (status_is (&status, "completed") || status_is (&status, "postcopy-active")) {
      sending->report->postcopied = !status_is (&status, "completed");
      tell (sending, &status, TRUE);
      return TRUE;
    }
    if (status_is (&status, "active")) {
      if (!begun && !fault_visit (FAULT_MOVE_STREAMING, error))
        return FALSE;
      begun = TRUE;
      if (!note_divergence (sending, &status.progress, error))
        return FALSE;
    }
    if (status_is (&status, "pre-switchover") && !stopped) {
      sending->report->stopped_us = asked_us;
      if (!send_last (sending, error))
        return FALSE;
      stopped = TRUE;
    }
    wait_a_little (&status, stopped);
  }
  return FALSE;
}

gboolean
live_send (QmpClient *monitor, const LiveSend *send, LiveReport *report, GError **error)
{
  ERROR_PREFIX (error, "sending the guest to %s", send->uri);
  Sending sending = { .monitor = monitor, .send = send, .report = report };
  g_autofree char *before = qmp_query_status (monitor, error);

  *report = (LiveReport){ .stopped_us = g_get_monotonic_time() };
  if (before == NULL || !apply_options (monitor, send->options, SIDE_SOURCE, error))
    return FALSE;
  if (qmp_migrate (monitor, send->uri, error) && follow (&sending, error))
    return TRUE;
  g_autoptr (GError) undo = NULL;
  if (!live_undo (monitor, g_str_equal (before, "running"), &undo))
    g_warning ("a migration is given up: %s", undo->message);
  return FALSE;
}

gboolean
live_wait_sent (QmpClient *monitor, const LiveSend *send, LiveReport *report, GError **error)
{
  ERROR_PREFIX (error, "sending the rest of the guest's memory to %s", send->uri);
  Sending sending = { .monitor = monitor, .send = send, .report = report };
  g_auto (Status) status = { 0 };

  while (ask (monitor, &status, error) && check_postcopy (&status, error)) {
    if (status_is (&status, "completed"))
      return TRUE;
    tell (&sending, &status, FALSE);
    g_usleep (POLL_US);
  }
  return FALSE;
}

gboolean
live_is_fetching (QmpClient *monitor)
{
  g_auto (Status) status = { 0 };

  return ask (monitor, &status, NULL) && g_str_has_prefix (status.status, "postcopy");
}

/* ---- Going on here ---- */

/* FALSE while it is not over. */
static gboolean
is_over (const Status *status)
{
  return status_is (status, "none") || status_is (status, "completed") ||
         status_is (status, "failed") || status_is (status, "cancelled");
}

static gboolean
end_outgoing (QmpClient *monitor, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + UNDO_US;
  g_auto (Status) status = { 0 };

  while (ask (monitor, &status, error)) {
    if (is_over (&status))
      return TRUE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error (error, RAM_ERROR, RAM_ERROR_STALLED, "QEMU is still at it: %s", status.status);
      return FALSE;
    }
    if (!status_is (&status, "cancelling") && !qmp_migrate_cancel (monitor, error))
      return FALSE;
    g_usleep (POLL_CLOSE_US);
  }
  return FALSE;
}

/* Other QEMUs may have its disks open a moment longer. */
static gboolean
let_run (QmpClient *monitor, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + UNDO_US;

  for (;;) {
    g_autoptr (GError) refused = NULL;
    g_autofree char *run_state = qmp_query_status (monitor, error);
    if (run_state == NULL)
      return FALSE;
    if (g_str_equal (run_state, "running") || qmp_cont (monitor, &refused))
      return TRUE;
    if (!g_error_matches (refused, QMP_ERROR, QMP_ERROR_COMMAND) ||
        g_get_monotonic_time() > deadline) {
      g_propagate_error (error, g_steal_pointer (&refused));
      return FALSE;
    }
    g_usleep (POLL_US);
  }
}

gboolean
live_undo (QmpClient *monitor, gboolean run, GError **error)
{
  ERROR_PREFIX (error, "going on here");

  if (!end_outgoing (monitor, error))
    return FALSE;
  live_forget_options (monitor);
  return !run || let_run (monitor, error);
}
