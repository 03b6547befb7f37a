/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   offer     the other host prepares, and listens                       MOVING
 *   send      disks, then memory, while the guest runs; stopped for the last of it
 *   hand over all has arrived, the guest stands still on both sides      GOING ─ go ─▶ MOVED
 *   finish    what it wrote, its claims; the QEMU here is ended
 *
 * Until GOING whatever fails has the guest go on here.
 */
#include "migrate-out.h"

#include "api-error.h"
#include "departures.h"
#include "filling.h"
#include "migrate-call.h"
#include "migrate-domain.h"
#include "migrate-out-store.h"
#include "schedule-move.h"

#include <vmckpt/disk/disk-mirror.h>
#include <vmckpt/policy/schedule.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/unit/live-migration.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#define MAX_RANGES 20000 /* of pages that were written: they fit in a request */
#define SERVED_WAIT_MS 30000
#define ASK_US (5 * (gint64)G_USEC_PER_SEC) /* the other host hears of us that often */

typedef struct {
  Request *request;
  Guest *guest;
  Unit unit;
  const char *to; /* borrowed */
  char *id;
  LiveOptions options;
  gboolean shared_disks, runs;
  GPtrArray *mirrored; /* of char *: names of disks that are copied */
  JsonArray *disks;    /* what is done with each, for the offer and the answer */
  Peer *peer;
  MigrateCall *call;
  KeeperLease *lease;
  LiveReport report;
  gint64 asked_us, began_us, there_us;
  const char *lineage;
  GPtrArray *messages;
} Going;

static void
going_clear (Going *going)
{
  g_clear_pointer (&going->call, migrate_call_free);
  g_clear_pointer (&going->peer, peer_free);
  g_clear_pointer (&going->lease, keeper_lease_free);
  g_clear_pointer (&going->mirrored, g_ptr_array_unref);
  g_clear_pointer (&going->disks, json_array_unref);
  g_clear_pointer (&going->messages, g_ptr_array_unref);
  g_clear_pointer (&going->guest, guest_unref);
  g_free (going->id);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Going, going_clear)

static void
tell (const char *text, gpointer user_data)
{
  Going *going = user_data;
  const UnitWatcher *watcher = &going->request->watcher;

  g_ptr_array_add (going->messages, g_strdup (text));
  if (watcher->message != NULL)
    watcher->message (text, watcher->user_data);
}

/* ---- What is wanted ---- */

static gboolean
parse_number (Request *request, const char *member, guint64 most, guint64 *value, GError **error)
{
  g_autoptr (GError) cause = NULL;

  *value = 0;
  if (!json_object_has_member (request->body, member) ||
      json_object_get_null_member (request->body, member))
    return TRUE;
  if (json_get_uint64 (request->body, member, value, &cause) && *value > 0 && *value <= most)
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE,
               "%s: a number from 1 to %" G_GUINT64_FORMAT " is wanted", member, most);
  return FALSE;
}

static gboolean
parse (Request *request, Going *going, GError **error)
{
  LiveOptions *options = &going->options;
  const char *downtime = NULL;
  gint64 downtime_us = 0;
  guint64 channels;

  if (!request_expect (request, error, "to", "max_downtime", "bandwidth", "postcopy",
                       "auto_converge", "channels", "shared_disks", "disk_directory", "disk_paths",
                       "via_store", NULL) ||
      !request_string (request, "to", &going->to, error) ||
      !request_string (request, "max_downtime", &downtime, error) ||
      (downtime != NULL && !schedule_parse_time (downtime, &downtime_us, error)) ||
      !parse_number (request, "bandwidth", G_MAXINT64, &options->bandwidth, error) ||
      !parse_number (request, "channels", LIVE_CHANNELS_MAX, &channels, error) ||
      !request_bool (request, "postcopy", &options->postcopy, error) ||
      !request_bool (request, "auto_converge", &options->auto_converge, error) ||
      !request_bool (request, "shared_disks", &going->shared_disks, error))
    return FALSE;
  options->channels = (guint)channels;
  options->max_downtime_ms = (guint)CLAMP (downtime_us / 1000, 0, 2000000);
  if (going->to != NULL)
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE, "to: which host is wanted");
  return FALSE;
}

/* How each disk comes to the other side. */
static void
choose_disks (Going *going)
{
  const GuestSpec *spec = going->unit.spec;

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    gboolean written = disk->mode == DISK_CAPTURE || disk->mode == DISK_EXCLUDE;
    gboolean mirror = written && disk->path != NULL && !going->shared_disks &&
                      disk->storage != DISK_STORAGE_NBD && disk->media == DISK_MEDIA_DISK;
    JsonObject *object = json_object_new();
    json_object_set_string_member (object, "name", disk->name);
    json_object_set_string_member (object, "how", mirror ? "mirror" : "shared");
    json_array_add_object_element (going->disks, object);
    if (mirror)
      g_ptr_array_add (going->mirrored, g_strdup (disk->name));
    if (disk->mode == DISK_CAPTURE && going->unit.disk_base != NULL)
      going->options.bitmaps = TRUE;
  }
}

/* ---- Offering ---- */

static JsonObject *
describe_lineage (Going *going)
{
  JsonObject *lineage = json_object_new();
  JsonArray *stores = json_array_new();
  g_autofree char *checkpoint = guest_checkpoint (going->guest);
  g_auto (GStrv) claims = guest_claims (going->guest);

  for (guint i = 0; claims[i] != NULL; i++)
    json_array_add_string_element (stores, claims[i]);
  json_set_string_or_null (lineage, "checkpoint", checkpoint);
  json_object_set_array_member (lineage, "stores", stores);
  if (going->unit.disk_base != NULL)
    json_object_set_object_member (lineage, "disk_base", disk_base_to_json (going->unit.disk_base));
  return lineage;
}

static JsonObject *
describe_offer (Going *going, GError **error)
{
  JsonObject *body = going->request->body;
  JsonObject *machine =
      machine_recorder_record (going->unit.recorder, going->unit.spec, going->unit.monitor, error);
  JsonObject *offer;

  if (machine == NULL)
    return NULL;
  offer = json_object_new();
  json_object_set_string_member (offer, "id", going->id);
  json_object_set_int_member (offer, "protocol", MIGRATION_PROTOCOL);
  json_object_set_string_member (offer, "way", "live");
  json_object_set_string_member (offer, "from", going->request->daemon->runtime->host);
  json_object_set_object_member (offer, "spec", guest_spec_to_json (going->unit.spec));
  json_object_set_object_member (offer, "machine", machine);
  json_object_set_boolean_member (offer, "paused", !going->runs);
  json_object_set_object_member (offer, "options", live_options_to_json (&going->options));
  json_object_set_array_member (offer, "disks", json_array_ref (going->disks));
  json_object_set_object_member (offer, "lineage", describe_lineage (going));
  for (const char *const *member = (const char *const[]){ "disk_directory", "disk_paths", NULL };
       *member != NULL; member++)
    if (json_object_has_member (body, *member))
      json_object_set_member (offer, *member, json_object_dup_member (body, *member));
  return offer;
}

/* ---- Sending ---- */

/* The other host gives up whom it hears nothing of. */
static void
show_life (Going *going)
{
  g_autofree char *path = g_strconcat ("/v1/migrations/", going->id, NULL);
  const PeerListener listener = { .silence_ms = 2000 };
  gint64 now = g_get_monotonic_time();

  if (now - going->asked_us < ASK_US)
    return;
  going->asked_us = now;
  g_autoptr (JsonObject) answer G_GNUC_UNUSED =
      peer_call (going->peer, "GET", path, NULL, &listener, NULL);
}

static void
on_progress (const LiveProgress *progress, gpointer user_data)
{
  Going *going = user_data;
  Request *request = going->request;
  JsonObject *line = json_object_new();

  json_object_set_string_member (line, "phase", progress->phase);
  json_object_set_int_member (line, "transferred_bytes", (gint64)progress->transferred);
  json_object_set_int_member (line, "remaining_bytes", (gint64)progress->remaining);
  json_object_set_int_member (line, "total_bytes", (gint64)progress->total);
  json_object_set_int_member (
      line, "bytes_done", (gint64)(progress->total - MIN (progress->remaining, progress->total)));
  json_object_set_double_member (line, "rate", progress->rate);
  json_object_set_double_member (line, "dirty_rate", progress->dirty_rate);
  json_object_set_double_member (line, "expected_downtime_ms", progress->expected_downtime_ms);
  if (progress->seconds_remaining >= 0)
    json_object_set_double_member (line, "seconds_remaining", progress->seconds_remaining);
  else
    json_object_set_null_member (line, "seconds_remaining");
  request->send_line ("migration", line, request->watcher.user_data);
  show_life (going);
}

static gboolean
on_stopped (gpointer user_data, GError **error)
{
  Going *going = user_data;

  return migrate_call_check (going->call, error) &&
         (going->mirrored->len == 0 ||
          disk_mirror_finish (going->unit.monitor, going->mirrored, error));
}

/* A ProgressFunc: of disks, which may take long. */
static void
on_disk_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Going *going = user_data;

  progress_report (&going->request->progress, phase, done, total);
  show_life (going);
}

static gboolean
copy_disks (Going *going, const char *nbd, GError **error)
{
  const Progress progress = { on_disk_progress, going };

  if (nbd == NULL) {
    g_set_error_literal (error, API_ERROR, API_FAILED, "the other host serves no disks");
    return FALSE;
  }
  return disk_mirror_begin (going->unit.monitor, nbd, going->options.tls, going->options.tls_host,
                            going->mirrored, error) &&
         disk_mirror_wait (going->unit.monitor, going->mirrored, &progress,
                           going->request->cancellable, error);
}

static gboolean
send (Going *going, GError **error)
{
  QmpClient *monitor = going->unit.monitor;
  GCancellable *cancellable = going->request->cancellable;
  const char *uri, *nbd;

  if (!migrate_call_wait_listening (going->call, &uri, &nbd, cancellable, error))
    return FALSE;
  if (going->mirrored->len > 0 && !copy_disks (going, nbd, error))
    return FALSE;
  const LiveSend order = { .options = &going->options,
                           .uri = uri,
                           .progress = on_progress,
                           .stopped = on_stopped,
                           .message = tell,
                           .user_data = going,
                           .cancellable = cancellable };
  return live_send (monitor, &order, &going->report, error);
}

/* ---- Handing over ---- */

/* What it wrote since its checkpoint, which the other side takes for its first one. */
static void
hand_over_written (Going *going)
{
  GuestTracking *tracking = going->unit.tracking;
  g_autofree char *checkpoint = guest_checkpoint (going->guest);
  g_autofree char *path = g_strdup_printf ("/v1/migrations/%s/written", going->id);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) ranges = NULL;
  JsonArray *pages = json_array_new();
  const char *store, *base;

  json_object_set_array_member (body, "pages", pages);
  going->lineage = checkpoint != NULL ? "compared" : "none";
  if (tracking == NULL || !guest_tracking_base (tracking, &store, &base))
    return;
  json_object_set_string_member (body, "store", store);
  json_object_set_string_member (body, "checkpoint", base);
  ranges = guest_tracking_written (tracking, MAX_RANGES, &error);
  /* The memory of a QEMU that is gone tells of no page, as if none was written. */
  g_autofree char *alive = ranges != NULL ? qmp_query_status (going->unit.monitor, &error) : NULL;
  for (guint i = 0; ranges != NULL && i < ranges->len; i++)
    json_array_add_int_element (pages, (gint64)g_array_index (ranges, guint64, i));
  g_autoptr (JsonObject) answer =
      alive != NULL ? peer_call (going->peer, "POST", path, body, NULL, &error) : NULL;
  if (answer == NULL)
    tell (error->message, going);
  else if (g_strcmp0 (json_get_string_or (answer, "lineage", NULL), "written") == 0)
    going->lineage = "written";
}

/* It runs there; memory may still follow. */
static gboolean
finish (Going *going, GError **error)
{
  const LiveSend order = {
    .options = &going->options, .uri = going->to, .progress = on_progress, .user_data = going
  };
  gboolean sent = TRUE;

  if (going->report.postcopied)
    sent = live_wait_sent (going->unit.monitor, &order, &going->report, error);
  hand_over_written (going);
  JsonObject *served = migrate_call_wait_served (going->call, SERVED_WAIT_MS);
  JsonArray *messages = served != NULL ? json_get_array (served, "messages", NULL) : NULL;
  for (guint i = 0; messages != NULL && i < json_array_get_length (messages); i++)
    if (json_array_string_or_null (messages, i) != NULL)
      tell (json_array_string_or_null (messages, i), going);
  const ScheduleMove schedules = { .message = tell, .user_data = going };
  if (sent)
    schedules_move (going->request->daemon, going->guest, going->peer, &schedules);
  if (sent)
    departure_finish (going->request->daemon, going->guest, going->peer);
  return sent;
}

/* It goes on here: whatever was begun is taken back. */
static void
go_on_here (Going *going)
{
  g_autoptr (GError) error = NULL;

  /* The other host ends what it has, so that its disks are free. */
  g_clear_pointer (&going->call, migrate_call_free);
  disk_mirror_undo (going->unit.monitor);
  if (!live_undo (going->unit.monitor, going->runs, &error)) {
    g_warning ("guest %s: %s", guest_name (going->guest), error->message);
    return; /* departures_watch() tries again */
  }
  if (going->lease != NULL)
    keeper_lease_end (going->lease, NULL);
  departure_give_up (going->guest, going->peer);
}

static gboolean
hand_over (Going *going, GError **error)
{
  g_autoptr (GError) cause = NULL;

  /* The keeper would have it go on here if this process died: not from here on. */
  if (!migrate_call_wait_arrived (going->call, going->request->cancellable, error) ||
      !fault_visit (FAULT_MOVE_SENT, error) ||
      !departure_release (going->guest, going->lease, error)) {
    if (going->report.lost)
      g_prefix_error (error, "its QEMU here is gone, and not all of it has arrived: ");
    go_on_here (going);
    return FALSE;
  }
  switch (departure_go (going->guest, going->peer, migrate_call_records (going->call),
                        going->request->daemon->stopping, &cause)) {
  case DEPARTURE_THERE:
    going->there_us = g_get_monotonic_time();
    return finish (going, error);
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

static JsonObject *
describe (Going *going)
{
  JsonObject *result = json_object_new();
  JsonArray *messages = json_array_new();
  const LiveReport *report = &going->report;

  for (guint i = 0; i < json_array_get_length (going->disks); i++) {
    JsonObject *one = json_array_get_object_element (going->disks, i);
    const GuestDisk *disk =
        guest_spec_find_disk (going->unit.spec, json_object_get_string_member (one, "name"));
    gboolean mirror = g_str_equal (json_object_get_string_member (one, "how"), "mirror");
    json_set_string_or_null (one, "left", mirror && disk != NULL ? disk->path : NULL);
  }
  for (guint i = 0; i < going->messages->len; i++)
    json_array_add_string_element (messages, going->messages->pdata[i]);
  json_object_set_string_member (result, "id", going->id);
  json_object_set_string_member (result, "guest", guest_name (going->guest));
  json_object_set_string_member (result, "to", going->to);
  json_object_set_string_member (result, "way", "live");
  json_object_set_double_member (result, "downtime_ms",
                                 going->runs ? (going->there_us - report->stopped_us) / 1000.0 : 0);
  json_object_set_double_member (result, "wall_ms",
                                 (g_get_monotonic_time() - going->began_us) / 1000.0);
  json_object_set_int_member (result, "transferred_bytes", (gint64)report->last.transferred);
  json_object_set_int_member (result, "rounds", report->last.rounds);
  json_object_set_boolean_member (result, "postcopied", report->postcopied);
  json_object_set_string_member (result, "lineage", going->lineage);
  json_object_set_array_member (result, "disks", json_array_ref (going->disks));
  json_object_set_array_member (result, "messages", messages);
  return result;
}

/* Nothing of it comes from a store any more: the other host may not have that. */
static gboolean
wait_for_all (Going *going, GError **error)
{
  Daemon *daemon = going->request->daemon;
  Request *request = going->request;

  return filling_wait (going->guest, &request->progress, request->cancellable, error) &&
         templates_wait (daemon->templates, guest_name (going->guest), request->cancellable,
                         error) &&
         hydrations_wait (daemon->hydrations, guest_name (going->guest), &request->progress,
                          request->cancellable, error);
}

static gboolean
begin (Going *going, GError **error)
{
  Daemon *daemon = going->request->daemon;
  g_autoptr (JsonObject) offer = NULL;

  if (!live_check (going->unit.monitor, going->unit.spec->accel, error) ||
      (going->peer = peer_new (going->to, daemon->tls, error)) == NULL)
    return FALSE;
  going->options.tls_host = peer_address (going->peer);
  going->options.tls = going->options.tls_host != NULL ? daemon->tls : NULL;
  choose_disks (going);
  offer = describe_offer (going, error);
  if (offer == NULL || !departure_begin (going->guest, going->id, going->to, going->runs, error))
    return FALSE;
  going->lease = keeper_lease_checkpoint (going->unit.keeper, -1, going->runs, error);
  going->call =
      going->lease != NULL ? migrate_call_new (going->to, daemon->tls, offer, error) : NULL;
  return going->call != NULL;
}

JsonObject *
migrate_out (Request *request, GError **error)
{
  g_auto (Going)
      going = { .request = request, .began_us = g_get_monotonic_time(), .lineage = "none" };
  g_autoptr (DiskBase) disk_base = NULL;

  if (json_get_bool_or (request->body, "via_store", FALSE))
    return migrate_out_store (request, error);
  if (!parse (request, &going, error))
    return NULL;
  going.id = g_uuid_string_random();
  going.mirrored = g_ptr_array_new_with_free_func (g_free);
  going.messages = g_ptr_array_new_with_free_func (g_free);
  going.disks = json_array_new();
  going.guest =
      domains_find (request->daemon->domains, request->params[0], request->cancellable, error);
  if (going.guest == NULL)
    return NULL;
  ERROR_PREFIX (error, "moving guest %s to %s", guest_name (going.guest), going.to);
  if (!wait_for_all (&going, error))
    return NULL;
  g_autoptr (GuestWork) work = guest_begin_work (going.guest, "a migration", error);
  if (work == NULL || !guest_check_here (going.guest, error) ||
      !guest_as_unit (going.guest, &going.unit, error))
    return NULL;
  disk_base = guest_disk_base (going.guest);
  going.unit.disk_base = disk_base;
  going.runs = !going.unit.paused;
  if (going.unit.spec->driver == GUEST_DRIVER_LIBVIRT) {
    const DomainMove move = { going.to, &going.options, going.shared_disks };
    return live_check (going.unit.monitor, going.unit.spec->accel, error)
               ? migrate_domain (request, going.guest, &move, error)
               : NULL;
  }
  if (begin (&going, error) && send (&going, error))
    return hand_over (&going, error) ? describe (&going) : NULL;
  go_on_here (&going);
  return NULL;
}
