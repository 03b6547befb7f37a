/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arrive-store.h"

#include "api-error.h"
#include "arrivals.h"
#include "domain-restore.h"
#include "peer-spec.h"
#include "restore.h"

#include <vmckpt/store/claim.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

typedef struct {
  Request *request;
  Arrival *arrival;
  RestoreLanding landing;
  RestoreRequest wish;
  const char *id, *from, *checkpoint;
  gulong hangup; /* handler: the source has closed the call */
} Landing;

static void
on_hangup (GCancellable *request, gpointer arrival)
{
  g_cancellable_cancel (arrival_cancellable (arrival));
}

static void
landing_clear (Landing *work)
{
  restore_abandon_landing (work->request, &work->landing);
  restore_request_clear (&work->wish);
  if (work->arrival == NULL)
    return;
  g_cancellable_disconnect (work->request->cancellable, work->hangup);
  arrival_unref (work->arrival);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Landing, landing_clear)

/* ---- The store ---- */

/* Somebody else than the source runs the guest. The source is believed who it is: it may claim. */
static gboolean
check_claim (Landing *work, Store *store, const Manifest *manifest, GError **error)
{
  g_autoptr (Claim) claim = store_claim_get (store, manifest->guest_uuid, NULL);

  if (claim == NULL || g_strcmp0 (claim->host, work->from) == 0)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_CLAIMED,
               "guest %s is claimed by host %s, not by %s, from where it is to come",
               manifest->guest, claim->host, work->from);
  return FALSE;
}

/* libvirt runs a domain as soon as it has it: nobody could decide about that one. */
static gboolean
check_driver (Landing *work, const Manifest *manifest, GError **error)
{
  if (!domain_restore_is_wanted (manifest, &work->wish))
    return TRUE;
  g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
               "guest %s is a libvirt domain, which does not move through a store",
               manifest->guest);
  return FALSE;
}

/* ---- What the source says ---- */

static gboolean
parse (Landing *work, GError **error)
{
  Request *request = work->request;
  guint64 protocol = 0;

  JsonObject *options;

  if (!request_expect (request, error, "id", "protocol", "way", "from", "paused", "options",
                       "disk_directory", "disk_paths", NULL) ||
      !request_string (request, "id", &work->id, error) ||
      !request_string (request, "from", &work->from, error) ||
      !request_bool (request, "paused", &work->wish.paused, error) ||
      !restore_parse_disks (request, &work->wish, error) ||
      !json_get_uint64 (request->body, "protocol", &protocol, error) ||
      (options = json_get_object (request->body, "options", error)) == NULL)
    return FALSE;
  work->checkpoint = json_get_string_or (options, "checkpoint", NULL);
  request_set_store (request, json_get_string_or (options, "store", NULL));
  if (protocol != MIGRATION_PROTOCOL)
    g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
                 "its vmckptd speaks version %" G_GUINT64_FORMAT " of migration, this one %d",
                 protocol, MIGRATION_PROTOCOL);
  else if (work->id == NULL || work->from == NULL || work->checkpoint == NULL)
    g_set_error_literal (error, API_ERROR, API_USAGE, "id, from and options.checkpoint are needed");
  else
    return TRUE;
  return FALSE;
}

/* ---- What it may say, if it is on a network ---- */

static gboolean
check_store (Request *request, GError **error)
{
  const char *path = request_store_path (request, error);

  return path != NULL && (request->peer == NULL ||
                          peer_path_check (request->daemon->guest_files, "store", path, error));
}

static gboolean
check_places (Landing *work, GError **error)
{
  const char *files = work->request->daemon->guest_files;
  GHashTableIter iter;
  const char *path;

  if (work->wish.disk_directory != NULL &&
      !peer_path_check (files, "disk directory", work->wish.disk_directory, error))
    return FALSE;
  if (work->wish.disk_paths == NULL)
    return TRUE;
  g_hash_table_iter_init (&iter, work->wish.disk_paths);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&path))
    if (!peer_path_check (files, "disk", path, error))
      return FALSE;
  return TRUE;
}

/* A checkpoint is a program with arguments: whoever is on the network may have written it. Boot
 * files and captured disks come out of it. */
static gboolean
check_machine (Landing *work, const Manifest *manifest, GError **error)
{
  g_autoptr (GPtrArray) inside = g_ptr_array_new();
  JsonObject *recorded = json_get_object (manifest->machine, "spec", error);
  g_autoptr (GuestSpec) spec = recorded != NULL ? guest_spec_from_json (recorded, error) : NULL;

  if (spec == NULL)
    return FALSE;
  if (work->request->peer == NULL)
    return TRUE;
  g_clear_pointer (&spec->kernel, g_free);
  g_clear_pointer (&spec->initrd, g_free);
  for (guint i = 0; i < spec->disks->len; i++) {
    GuestDisk *disk = spec->disks->pdata[i];
    if (manifest_find_part (manifest, "disk", disk->name) != NULL ||
        (work->wish.disk_paths != NULL &&
         g_hash_table_contains (work->wish.disk_paths, disk->name)))
      g_ptr_array_add (inside, disk->name);
  }
  return check_places (work, error) &&
         peer_spec_check (work->request->daemon->guest_files, spec, inside, error);
}

/* @line: (transfer full). */
static void
send (Landing *work, const char *type, JsonObject *line)
{
  work->request->send_line (type, line, work->request->watcher.user_data);
}

/* RestoreLanding's started. */
static gboolean
mark (const char *directory, gpointer user_data, GError **error)
{
  const Landing *work = user_data;

  return arrival_mark (work->arrival, directory, error);
}

/* RestoreLanding's decide. */
static gboolean
wait_decided (QmpClient *monitor, KeeperLease *lease, gpointer user_data, GError **error)
{
  Landing *work = user_data;
  const ArrivedGuest guest = { monitor, lease, work->wish.paused };

  /* Told only then: `go` may come at once. */
  if (!fault_visit (FAULT_MOVE_ARRIVED, error) || !arrival_announce (work->arrival, &guest, error))
    return FALSE;
  send (work, "arrived", json_object_new());
  return arrival_wait_decided (work->arrival, error);
}

/* ---- The guest ---- */

/* As far as can be gone while it runs there. One with disks in the checkpoint has to wait: its QEMU
 * is told which checkpoint they come from. */
static gboolean
prepare (Landing *work, Store *store, const Manifest *manifest, GError **error)
{
  if (!check_driver (work, manifest, error) || !check_machine (work, manifest, error) ||
      !check_claim (work, store, manifest, error))
    return FALSE;
  if (manifest_find_part (manifest, "disk", NULL) == NULL &&
      !restore_prepare_landing (work->request, store, manifest, &work->wish, error))
    return FALSE;
  if (!fault_visit (FAULT_MOVE_LISTENING, error))
    return FALSE;
  g_autofree char *records = arrivals_records (work->request->daemon->arrivals, error);
  if (records == NULL)
    return FALSE;
  JsonObject *line = json_object_new();
  json_object_set_string_member (line, "records", records);
  send (work, "listening", line);
  return TRUE;
}

static JsonObject *
land (Landing *work, Store *store, GError **error)
{
  g_autofree char *id = arrival_wait_told (work->arrival, error);
  g_autoptr (Manifest) manifest = id != NULL ? store_manifest_find (store, id, error) : NULL;

  if (manifest == NULL || !check_driver (work, manifest, error) ||
      !check_machine (work, manifest, error) || !check_claim (work, store, manifest, error))
    return NULL;
  arrival_note_read (work->arrival);
  return restore_checkpoint (work->request, store, manifest, &work->wish, error);
}

/* From here on its end is decided once; whoever asks is told. */
static JsonObject *
receive (Landing *work, Store *store, const Manifest *manifest, GError **error)
{
  Request *request = work->request;
  g_autoptr (GError) cause = NULL;
  JsonObject *result = NULL;

  request->watcher.cancellable = arrival_cancellable (work->arrival);
  if (prepare (work, store, manifest, &cause))
    result = land (work, store, &cause);
  request->watcher.cancellable = request->cancellable;
  restore_abandon_landing (request, &work->landing);
  if (result != NULL) {
    JsonObject *guest = json_get_object (result, "guest", NULL);
    g_autofree char *directory =
        runtime_guest_directory (request->daemon->runtime, json_get_string_or (guest, "name", ""));
    arrival_unmark (directory);
    json_object_set_string_member (result, "state", arrival_state_name (ARRIVAL_RUNNING));
    return result;
  }
  arrival_set_ended (work->arrival, cause);
  g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

JsonObject *
arrive_store (Request *request, GError **error)
{
  g_auto (Landing) work = { .request = request };
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  work.landing = (RestoreLanding){ .decide = wait_decided, .started = mark, .user_data = &work };
  work.wish.landing = &work.landing;
  if (!parse (&work, error) || !check_store (request, error) ||
      (store = request_store_for_peer (request, error)) == NULL ||
      (manifest = store_manifest_find (store, work.checkpoint, error)) == NULL)
    return NULL;
  work.arrival =
      arrivals_add (request->daemon->arrivals, work.id, manifest->guest, work.from, error);
  if (work.arrival == NULL)
    return NULL;
  work.hangup = g_cancellable_connect (request->cancellable, G_CALLBACK (on_hangup),
                                       arrival_ref (work.arrival), (GDestroyNotify)arrival_unref);
  return receive (&work, store, manifest, error);
}
