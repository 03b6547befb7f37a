/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   first     a live checkpoint, from which the other host starts its QEMU      the guest runs
 *   offer     the other host does so, and waits                         MOVING
 *   last      a checkpoint that follows what is written until little is left,
 *             and leaves the guest standing                                     it stands still
 *   load      the other host loads its devices
 *   hand over                                                GOING ─ go ─▶ MOVED
 *
 * Until GOING whatever fails has the guest go on here.
 */
#include "migrate-out-store.h"

#include "api-error.h"
#include "checkpoint.h"
#include "departures.h"
#include "migrate-call.h"
#include "migrate-life.h"
#include "schedule-move.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/store/maintain.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#define SERVED_WAIT_MS 30000
#define LOAD_SILENCE_MS 60000

typedef struct {
  Request *request;
  Guest *guest;
  const char *to, *store_there; /* borrowed */
  char *id, *last_id;
  gboolean runs, begun;
  Manifest *first, *last;
  Peer *peer;
  MigrateCall *call;
  MigrateLife *life;
  KeeperLease *lease; /* (nullable): of the guest that stands */
  GPtrArray *messages;
  gint64 began_us;
  GThread *loading; /* (nullable): tells the other host to load the last one; uses `peer` */
  JsonObject *loaded;
  GError *load_error;
  /* Times of the pause, by this host's clock, microseconds since 1970. */
  gint64 stopped_us, stored_us, loaded_us, there_us;
} Going;

/* Whatever comes of it; `peer` is this thread's again. */
static void
join_loading (Going *going)
{
  g_clear_pointer (&going->loading, g_thread_join);
}

static void
going_clear (Going *going)
{
  join_loading (going);
  g_clear_pointer (&going->loaded, json_object_unref);
  g_clear_error (&going->load_error);
  g_clear_pointer (&going->call, migrate_call_free);
  g_clear_pointer (&going->life, migrate_life_free);
  g_clear_pointer (&going->peer, peer_free);
  g_clear_pointer (&going->lease, keeper_lease_free);
  g_clear_pointer (&going->first, manifest_free);
  g_clear_pointer (&going->last, manifest_free);
  g_clear_pointer (&going->guest, guest_unref);
  g_clear_pointer (&going->messages, g_ptr_array_unref);
  g_free (going->id);
  g_free (going->last_id);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Going, going_clear)

/* ---- What is wanted ---- */

static gboolean
parse (Request *request, Going *going, GError **error)
{
  gboolean via_store;

  if (!request_expect (request, error, "to", "via_store", "store_there", "disk_directory",
                       "disk_paths", NULL) ||
      !request_bool (request, "via_store", &via_store, error) ||
      !request_string (request, "to", &going->to, error) ||
      !request_string (request, "store_there", &going->store_there, error) ||
      request_store_path (request, error) == NULL)
    return FALSE;
  if (going->store_there == NULL)
    going->store_there = request_query (request, "store");
  if (going->to == NULL)
    g_set_error_literal (error, API_ERROR, API_USAGE, "to: which host is wanted");
  else if (!g_path_is_absolute (going->store_there))
    g_set_error_literal (error, API_ERROR, API_USAGE, "store_there: an absolute path is wanted");
  else
    return TRUE;
  return FALSE;
}

/* ---- Steps ---- */

/* The first one. Its note tells what it is, if it stays. */
static gboolean
take_first (Going *going, const char *note, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_LIVE, .note = note };

  going->first = checkpoint_take (going->request, going->guest, &options, error);
  return going->first != NULL;
}

static JsonObject *
describe_offer (Going *going)
{
  JsonObject *body = going->request->body, *offer = json_object_new();
  JsonObject *options = json_object_new();

  json_object_set_string_member (options, "store", going->store_there);
  json_object_set_string_member (options, "checkpoint", going->first->id);
  json_object_set_string_member (offer, "id", going->id);
  json_object_set_int_member (offer, "protocol", MIGRATION_PROTOCOL);
  json_object_set_string_member (offer, "way", "store");
  json_object_set_string_member (offer, "from", going->request->daemon->runtime->host);
  json_object_set_boolean_member (offer, "paused", !going->runs);
  json_object_set_object_member (offer, "options", options);
  for (const char *const *member = (const char *const[]){ "disk_directory", "disk_paths", NULL };
       *member != NULL; member++)
    if (json_object_has_member (body, *member))
      json_object_set_member (offer, *member, json_object_dup_member (body, *member));
  return offer;
}

static gboolean
offer (Going *going, GError **error)
{
  Daemon *daemon = going->request->daemon;
  g_autoptr (JsonObject) body = describe_offer (going);
  const char *uri, *nbd;

  if (!departure_begin (going->guest, going->id, going->to, going->runs, error))
    return FALSE;
  going->begun = TRUE;
  going->call = migrate_call_new (going->to, daemon->tls, body, error);
  if (going->call == NULL)
    return FALSE;
  going->life = migrate_life_new (going->to, daemon->tls, going->id);
  return migrate_call_wait_listening (going->call, &uri, &nbd, going->request->cancellable, error);
}

/* One step of the pause, with the connection that is there already. */
static JsonObject *
say (Going *going, const char *method, const char *what, JsonObject *body, guint silence_ms,
     GError **error)
{
  g_autofree char *path = g_strdup_printf ("/v1/migrations/%s%s", going->id, what);
  const PeerListener listener = { .cancellable = going->request->cancellable,
                                  .silence_ms = silence_ms };

  return peer_call (going->peer, method, path, body, &listener, error);
}

static gpointer
load_thread (gpointer data)
{
  Going *going = data;
  g_autoptr (JsonObject) body = json_object_new();

  json_object_set_string_member (body, "checkpoint", going->last_id);
  going->loaded = say (going, "POST", "/checkpoint", body, LOAD_SILENCE_MS, &going->load_error);
  going->loaded_us = g_get_real_time();
  return NULL;
}

/* The checkpoint is durable: what the store has to tidy up is done while the other host loads. */
static void
begin_loading (const Manifest *manifest, gpointer user_data)
{
  Going *going = user_data;

  going->stored_us = g_get_real_time();
  going->last_id = g_strdup (manifest->id);
  going->loading = g_thread_new ("migrate-load", load_thread, going);
}

static gboolean
take_last (Going *going, const char *note, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_SUSPEND,
                                .note = note,
                                .hold = &going->lease,
                                .committed = begin_loading,
                                .committed_data = going };
  g_autoptr (JsonObject) warm = say (going, "GET", "", NULL, 0, error);
  Unit unit;

  if (warm == NULL || !migrate_call_check (going->call, error) ||
      !fault_visit (FAULT_MOVE_STREAMING, error))
    return FALSE;
  going->last = checkpoint_take (going->request, going->guest, &options, error);
  if (going->last == NULL)
    return FALSE;
  if (guest_as_unit (going->guest, &unit, NULL))
    going->stopped_us = run_clock_read (unit.clock).stopped_us;
  return fault_visit (FAULT_MOVE_STOPPED, error);
}

static gboolean
wait_loaded (Going *going, GError **error)
{
  join_loading (going);
  if (going->loaded == NULL) {
    g_propagate_error (error, g_steal_pointer (&going->load_error));
    return FALSE;
  }
  if (arrival_state_parse (json_get_string_or (going->loaded, "state", "")) == ARRIVAL_ARRIVED)
    return fault_visit (FAULT_MOVE_SENT, error);
  g_set_error (error, API_ERROR, API_FAILED, "host %s could not load it: %s", going->to,
               json_get_string_or (going->loaded, "reason", "it gave no reason"));
  return FALSE;
}

/* ---- How it ends ---- */

/* It goes on here. Its checkpoints stay: what it writes is known relative to the last of them. */
static void
go_on_here (Going *going)
{
  g_autoptr (GError) error = NULL;
  Unit unit;

  join_loading (going);
  if (!going->begun)
    return;
  /* The other host ends what it has. */
  g_clear_pointer (&going->call, migrate_call_free);
  if (going->last != NULL && (!guest_as_unit (going->guest, &unit, &error) ||
                              !unit_release_hold (&unit, going->lease, going->runs, &error))) {
    g_warning ("guest %s: %s", guest_name (going->guest), error->message);
    return; /* departures_watch() tries again */
  }
  departure_give_up (going->guest, going->peer);
}

/* The first checkpoint was a step of this, and nobody asked for it. */
static void
remove_first (Going *going)
{
  g_autoptr (Store) store = request_store (going->request, NULL);

  if (store != NULL)
    store_manifest_remove (store, going->first->id, NULL);
}

static void
tell (const char *text, gpointer user_data)
{
  Going *going = user_data;
  const UnitWatcher *watcher = &going->request->watcher;

  g_ptr_array_add (going->messages, g_strdup (text));
  if (watcher->message != NULL)
    watcher->message (text, watcher->user_data);
}

static void
finish (Going *going)
{
  const ScheduleMove schedules = { request_query (going->request, "store"), going->store_there,
                                   tell, going };

  migrate_call_wait_served (going->call, SERVED_WAIT_MS);
  schedules_move (going->request->daemon, going->guest, going->peer, &schedules);
  departure_finish (going->request->daemon, going->guest, going->peer);
  remove_first (going);
}

static gboolean
hand_over (Going *going, GError **error)
{
  g_autoptr (GError) cause = NULL;

  /* The keeper would have it go on here if this process died: not from here on. */
  if (!departure_release (going->guest, going->lease, error)) {
    go_on_here (going);
    return FALSE;
  }
  g_clear_pointer (&going->lease, keeper_lease_free);
  switch (departure_go (going->guest, going->peer, migrate_call_records (going->call),
                        going->request->daemon->stopping, &cause)) {
  case DEPARTURE_THERE:
    going->there_us = g_get_real_time();
    finish (going);
    return TRUE;
  case DEPARTURE_HERE:
    go_on_here (going);
    break;
  default:
    break;
  }
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* ---- All of it ---- */

static double
ms_between (gint64 from_us, gint64 to_us)
{
  return from_us != 0 ? (to_us - from_us) / 1000.0 : 0;
}

/* Of what the checkpoint's own report says. */
static double
reported_ms (const Manifest *manifest, const char *phase)
{
  JsonObject *phases = json_get_object (manifest->report, "phases", NULL);

  return phases != NULL ? json_object_get_double_member_with_default (phases, phase, 0) : 0;
}

/* Where the pause went; the parts' sum is the downtime. */
static JsonObject *
describe_pause (Going *going)
{
  JsonObject *pause = json_object_new();
  double here = ms_between (going->stopped_us, going->stored_us);
  double captured = json_object_get_double_member_with_default (going->last->report, "pause_ms", 0);
  double stored = reported_ms (going->last, "store");
  double there = ms_between (going->stored_us, going->loaded_us);
  double read = json_object_get_double_member_with_default (going->loaded, "read_ms", 0);

  captured = MIN (captured, here);
  stored = MIN (stored, here - captured);
  read = CLAMP (read, 0, there);
  json_object_set_double_member (pause, "capture", captured);
  json_object_set_double_member (pause, "store", stored);
  json_object_set_double_member (pause, "commit", here - captured - stored);
  json_object_set_double_member (pause, "read", read);
  json_object_set_double_member (pause, "load", there - read);
  json_object_set_double_member (pause, "go", ms_between (going->loaded_us, going->there_us));
  return pause;
}

static gint64
stored_bytes (const Manifest *manifest)
{
  return (gint64)json_get_uint64_or (manifest->report, "stored_bytes", 0);
}

/* How often its memory was read for that: while it ran, and once at the pause. */
static gint64
read_rounds (const Manifest *manifest)
{
  JsonObject *tracking = json_get_object (manifest->report, "tracking", NULL);

  return 1 + (tracking != NULL ? (gint64)json_get_uint64_or (tracking, "rounds", 0) : 0);
}

static JsonObject *
describe (Going *going)
{
  JsonObject *result = json_object_new();
  JsonArray *messages = json_array_new();

  for (guint i = 0; i < going->messages->len; i++)
    json_array_add_string_element (messages, going->messages->pdata[i]);
  json_object_set_string_member (result, "id", going->id);
  json_object_set_string_member (result, "guest", guest_name (going->guest));
  json_object_set_string_member (result, "to", going->to);
  json_object_set_string_member (result, "way", "store");
  json_object_set_string_member (result, "checkpoint", going->last->id);
  json_object_set_double_member (result, "downtime_ms",
                                 going->runs ? ms_between (going->stopped_us, going->there_us) : 0);
  json_object_set_object_member (result, "pause", describe_pause (going));
  json_object_set_double_member (result, "wall_ms",
                                 (g_get_monotonic_time() - going->began_us) / 1000.0);
  json_object_set_int_member (result, "transferred_bytes",
                              stored_bytes (going->first) + stored_bytes (going->last));
  json_object_set_int_member (result, "rounds",
                              read_rounds (going->first) + read_rounds (going->last));
  json_object_set_boolean_member (result, "postcopied", FALSE);
  json_object_set_string_member (result, "lineage", "written");
  json_object_set_array_member (result, "disks", json_array_new());
  json_object_set_array_member (result, "messages", messages);
  return result;
}

static gboolean
send (Going *going, GError **error)
{
  Daemon *daemon = going->request->daemon;
  g_autofree char *note = g_strdup_printf ("migration to %s", going->to);
  g_autoptr (JsonObject) host = NULL;

  going->peer = peer_new (going->to, daemon->tls, error);
  if (going->peer == NULL ||
      (host = peer_call (going->peer, "GET", "/v1/host", NULL, NULL, error)) == NULL)
    return FALSE;
  return take_first (going, note, error) && offer (going, error) &&
         take_last (going, note, error) && wait_loaded (going, error);
}

JsonObject *
migrate_out_store (Request *request, GError **error)
{
  g_auto (Going) going = { .request = request, .began_us = g_get_monotonic_time() };

  if (!parse (request, &going, error))
    return NULL;
  going.id = g_uuid_string_random();
  going.messages = g_ptr_array_new_with_free_func (g_free);
  going.guest = registry_get (request->daemon->registry, request->params[0], error);
  if (going.guest == NULL)
    return NULL;
  ERROR_PREFIX (error, "moving guest %s to %s", guest_name (going.guest), going.to);
  if (guest_spec (going.guest)->driver != GUEST_DRIVER_QEMU) {
    g_set_error_literal (error, API_ERROR, API_NOT_POSSIBLE,
                         "it is a libvirt domain: suspend it, and resume it on the other host");
    return NULL;
  }
  g_autoptr (GuestWork) work = guest_begin_work (going.guest, "a migration", error);
  if (work == NULL)
    return NULL;
  going.runs = guest_state (going.guest) == GUEST_RUNNING;
  if (send (&going, error))
    return hand_over (&going, error) ? describe (&going) : NULL;
  go_on_here (&going);
  return NULL;
}
