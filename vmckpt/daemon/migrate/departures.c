/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "departures.h"

#include "api-error.h"
#include "claims.h"
#include "disks-left.h"
#include "schedule-move.h"

#include <vmckpt/disk/disk-mirror.h>
#include <vmckpt/unit/live-migration.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#define SETTLE_SECONDS 2
#define ASK_FOR_US (30 * G_USEC_PER_SEC)
#define ASK_INTERVAL_US (500 * 1000)
#define ASK_SILENCE_MS 5000
#define GONE_WAIT_MS 2000 /* for a QEMU that is about to go, as its keeper is gone */

/* ---- What the other side says ---- */

static JsonObject *
call (Peer *peer, const char *method, const char *id, const char *what, GCancellable *cancellable,
      GError **error)
{
  g_autofree char *path = g_strdup_printf ("/v1/migrations/%s%s", id, what);
  g_autoptr (JsonObject) body = g_str_equal (method, "POST") ? json_object_new() : NULL;
  const PeerListener listener = { .cancellable = cancellable, .silence_ms = ASK_SILENCE_MS };

  return peer_call (peer, method, path, body, &listener, error);
}

/* Whatever the answer is. */
static void
say (Peer *peer, const char *method, const char *id, const char *what)
{
  g_autoptr (JsonObject) answer G_GNUC_UNUSED = call (peer, method, id, what, NULL, NULL);
}

/* FALSE: not known. @error: (nullable): the other side's reason for not running it, or ours for not
 * knowing. */
static gboolean
read_end (JsonObject *answer, DepartureEnd *end, GError **error)
{
  const char *reason = json_get_string_or (answer, "reason", NULL);

  switch (arrival_state_parse (json_get_string_or (answer, "state", "receiving"))) {
  case ARRIVAL_RUNNING:
    *end = DEPARTURE_THERE;
    return TRUE;
  case ARRIVAL_UNKNOWN:
  case ARRIVAL_ENDING:
  case ARRIVAL_ENDED:
    *end = DEPARTURE_HERE;
    g_set_error (error, API_ERROR, API_FAILED, "it does not run there: %s",
                 reason != NULL ? reason : "the migration was given up");
    return TRUE;
  default:
    return FALSE;
  }
}

/* A word that is no state is no answer: nothing follows from it. */
static gboolean
is_answer (JsonObject *answer)
{
  const char *state = json_get_string_or (answer, "state", NULL);

  return state != NULL && (arrival_state_parse (state) != ARRIVAL_UNKNOWN ||
                           g_str_equal (state, arrival_state_name (ARRIVAL_UNKNOWN)));
}

/* Who has not the records that the guest was going to knows nothing of it, and calls it unknown. */
static gboolean
has_records (JsonObject *answer, const Departure *departure, GError **error)
{
  const char *records = json_get_string_or (answer, "records", NULL);

  if (records != NULL && g_strcmp0 (records, departure->records) == 0)
    return TRUE;
  g_set_error (error, API_ERROR, API_FAILED,
               "the vmckptd that answers there has other records of migrations than the guest was "
               "going to; it needs the --disks directory that it had");
  return FALSE;
}

/* One question or order. FALSE: it is not known. */
static gboolean
ask_once (Peer *peer, const char *method, const Departure *departure, const char *what,
          DepartureEnd *end, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) answer = call (peer, method, departure->id, what, cancellable, &cause);

  if (answer != NULL && is_answer (answer) && has_records (answer, departure, &cause) &&
      read_end (answer, end, error))
    return TRUE;
  if (error != NULL && *error == NULL)
    g_set_error (error, API_ERROR, API_FAILED, "%s",
                 cause != NULL ? cause->message : "it has not decided yet");
  return FALSE;
}

/* ---- Steps ---- */

gboolean
departure_begin (Guest *guest, const char *id, const char *to, gboolean runs, GError **error)
{
  const Departure departure = {
    .id = (char *)id, .to = (char *)to, .state = DEPARTURE_MOVING, .runs = runs
  };

  /* What an earlier migration left is settled in moments; until then nobody knows whether the guest
   * is to run. */
  if (guest_is_departing (guest)) {
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "an earlier migration of guest %s is still being settled; try again in a moment",
                 guest_name (guest));
    return FALSE;
  }
  return guest_set_departure (guest, &departure, error) && fault_visit (FAULT_MOVE_RECORDED, error);
}

gboolean
departure_release (Guest *guest, KeeperLease *lease, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (lease == NULL || keeper_lease_end (lease, &cause))
    return TRUE;
  /* The keeper goes with its QEMU. */
  if (process_id_wait_gone (guest_process (guest), GONE_WAIT_MS))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

DepartureEnd
departure_go (Guest *guest, Peer *peer, const char *records, GCancellable *cancellable,
              GError **error)
{
  g_autoptr (Departure) departure = guest_departure (guest);
  gint64 deadline = g_get_monotonic_time() + ASK_FOR_US;
  g_autoptr (GError) cause = NULL;
  DepartureEnd end = DEPARTURE_UNKNOWN;

  departure->state = DEPARTURE_GOING;
  departure->records = g_strdup (records);
  if (!guest_set_departure (guest, departure, error) || !fault_visit (FAULT_MOVE_GOING, error))
    return DEPARTURE_HERE; /* nothing was said */
  gboolean known = ask_once (peer, "POST", departure, "/go", &end, cancellable, &cause);
  while (!known && g_get_monotonic_time() < deadline && !g_cancellable_is_cancelled (cancellable)) {
    g_usleep (ASK_INTERVAL_US);
    g_clear_error (&cause);
    /* Again, as the first may not have got there: a question alone would keep both waiting. */
    known = ask_once (peer, "POST", departure, "/go", &end, cancellable, &cause);
  }
  if (end == DEPARTURE_THERE) {
    departure->state = DEPARTURE_MOVED;
    guest_set_departure (guest, departure, NULL);
    fault_visit (FAULT_MOVE_TOLD, NULL);
    return end;
  }
  if (!known) {
    g_set_error (
        error, API_ERROR, API_FAILED,
        "guest %s is handed over to %s, which does not say whether it runs there (%s): it "
        "stands still here until that is known; 'vmckpt continue --take-over %s' has it go "
        "on here if that host is certainly dead",
        guest_name (guest), departure->to, cause->message, guest_name (guest));
    return DEPARTURE_UNKNOWN;
  }
  g_propagate_error (error, g_steal_pointer (&cause));
  return end;
}

void
departure_finish (Daemon *daemon, Guest *guest, Peer *peer)
{
  g_autoptr (Departure) departure = guest_departure (guest);
  g_autoptr (GError) error = NULL;
  g_autofree char *reason = g_strdup_printf ("migrated to %s", departure->to);

  if (peer != NULL)
    schedules_move (daemon, guest, peer, NULL);
  if (!guest_kill (guest, &error)) {
    g_warning ("guest %s runs on %s, and its QEMU here cannot be ended: %s", guest_name (guest),
               departure->to, error->message);
    return;
  }
  guest_set_exited (guest, reason);
  fault_visit (FAULT_MOVE_OVER, NULL);
  disks_left_forget (daemon->runtime, guest_uuid (guest));
  claims_release (guest, daemon->runtime, daemon->stores);
  if (peer != NULL)
    say (peer, "DELETE", departure->id, "");
}

void
departure_give_up (Guest *guest, Peer *peer)
{
  g_autoptr (Departure) departure = guest_departure (guest);

  if (departure == NULL)
    return;
  if (peer != NULL)
    say (peer, "POST", departure->id, "/end");
  guest_set_departure (guest, NULL, NULL);
}

/* ---- What an earlier daemon left, and what could not be known ---- */

typedef struct {
  Daemon *daemon;
  GuestWork *work; /* on the guest */
} Settling;

/* It goes on here. FALSE: it is to be tried again. */
static gboolean
go_on_here (Guest *guest, const Departure *departure)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (QmpClient) monitor = guest_monitor (guest, &error);

  if (monitor != NULL)
    disk_mirror_undo (monitor);
  if (monitor != NULL && live_undo (monitor, departure->runs, &error))
    return TRUE;
  g_message ("guest %s, which did not get to %s: %s", guest_name (guest), departure->to,
             error->message);
  return FALSE;
}

/* It stands still, and who looks sees why. */
static void
tell_doubt (Guest *guest, const Departure *departure, const GError *error)
{
  g_autofree char *reason = g_strdup_printf ("moved to %s: %s", departure->to, error->message);

  if (guest_set_doubt (guest, reason))
    g_message ("guest %s, %s", guest_name (guest), reason);
}

static void
settle (Daemon *daemon, Guest *guest)
{
  g_autoptr (Departure) departure = guest_departure (guest);
  g_autoptr (GError) error = NULL;
  DepartureEnd end = DEPARTURE_UNKNOWN;

  if (departure == NULL)
    return;
  g_autoptr (Peer) peer = peer_new (departure->to, daemon->tls, &error);
  if (departure->state == DEPARTURE_MOVING)
    end = DEPARTURE_HERE;
  else if (departure->state == DEPARTURE_MOVED)
    end = DEPARTURE_THERE;
  else if (peer == NULL || !ask_once (peer, "GET", departure, "", &end, daemon->stopping, &error)) {
    tell_doubt (guest, departure, error);
    return;
  }
  if (end == DEPARTURE_THERE) {
    g_autoptr (QmpClient) monitor = guest_monitor (guest, NULL);
    departure->state = DEPARTURE_MOVED;
    guest_set_departure (guest, departure, NULL);
    if (monitor == NULL || !live_is_fetching (monitor))
      departure_finish (daemon, guest, peer);
    return;
  }
  if (guest_state (guest) == GUEST_EXITED || go_on_here (guest, departure))
    departure_give_up (guest, peer);
}

/* Takes a Settling. */
static gpointer
settle_thread (gpointer data)
{
  g_autofree Settling *settling = data;

  settle (settling->daemon, settling->work->guest);
  guest_end_work (settling->work);
  return NULL;
}

static gboolean
on_settle (gpointer user_data)
{
  Daemon *daemon = user_data;
  g_autoptr (GPtrArray) guests = registry_list (daemon->registry);

  for (guint i = 0; i < guests->len; i++) {
    Guest *guest = guests->pdata[i];
    if (!guest_is_departing (guest))
      continue;
    GuestWork *work = guest_begin_work (guest, "the end of its migration", NULL);
    if (work == NULL)
      continue;
    Settling *settling = g_new (Settling, 1);
    *settling = (Settling){ daemon, work };
    g_thread_unref (g_thread_new ("settle-guest", settle_thread, settling));
  }
  return G_SOURCE_CONTINUE;
}

void
departures_watch (Daemon *daemon)
{
  on_settle (daemon);
  g_timeout_add_seconds (SETTLE_SECONDS, on_settle, daemon);
}
