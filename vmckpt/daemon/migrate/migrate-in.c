/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   prepare   preflight, name, files of disks; QEMU waits, under a restore lease, marked
 *   receive   the stream;  arrived: what it writes is known from here on
 *   decide    arrivals.h
 *   serve     the guest is a guest of this host, with what it was on the other
 *
 * Until it is decided that the guest runs here, the end of this call, of this process or of the
 * connection ends its QEMU.
 */
#include "migrate-in.h"

#include "api-error.h"
#include "claims.h"
#include "disk-homes.h"
#include "disks-left.h"
#include "peer-spec.h"

#include <vmckpt/disk/disk-mirror.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/store/claim.h>
#include <vmckpt/unit/live-migration.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>

#define INCOMING_SOCKET "incoming.sock"
#define DISKS_SOCKET "mirror.sock"
#define MAX_STORES 64
#define SERVE_WAIT_MS 20000
#define HEX_DIGITS 16

typedef struct {
  const char *id, *from; /* borrowed from the request */
  GuestSpec *spec;
  JsonObject *machine;
  gboolean paused;
  LiveOptions options;
  GPtrArray *mirrored;    /* of char *: names of the disks that are copied */
  const char *checkpoint; /* (nullable) */
  GStrv stores;
  DiskBase *disk_base; /* (nullable) */
} Offer;

static void
offer_clear (Offer *offer)
{
  guest_spec_free (offer->spec);
  g_clear_pointer (&offer->mirrored, g_ptr_array_unref);
  g_strfreev (offer->stores);
  disk_base_free (offer->disk_base);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Offer, offer_clear)

/* ---- What the source says ---- */

static gboolean
usage (GError **error, const char *text)
{
  g_set_error_literal (error, API_ERROR, API_USAGE, text);
  return FALSE;
}

static gboolean
parse_lineage (JsonObject *body, Offer *offer, GError **error)
{
  JsonObject *lineage =
      json_object_has_member (body, "lineage") ? json_get_object (body, "lineage", error) : NULL;
  g_autoptr (GStrvBuilder) stores = g_strv_builder_new();

  if (lineage != NULL) {
    JsonArray *paths = json_get_array (lineage, "stores", NULL);
    JsonObject *base = json_object_has_member (lineage, "disk_base")
                           ? json_get_object (lineage, "disk_base", NULL)
                           : NULL;
    offer->checkpoint = json_get_string_or (lineage, "checkpoint", NULL);
    offer->disk_base = base != NULL ? disk_base_from_json (base) : NULL;
    for (guint i = 0; paths != NULL && i < MIN (json_array_get_length (paths), MAX_STORES); i++) {
      const char *path = json_array_string_or_null (paths, i);
      if (path != NULL && g_path_is_absolute (path))
        g_strv_builder_add (stores, path);
    }
  }
  offer->stores = g_strv_builder_end (stores);
  return lineage != NULL || !json_object_has_member (body, "lineage");
}

static gboolean
parse_disks (JsonObject *body, Offer *offer, GError **error)
{
  JsonArray *disks =
      json_object_has_member (body, "disks") ? json_get_array (body, "disks", error) : NULL;

  offer->mirrored = g_ptr_array_new_with_free_func (g_free);
  if (disks == NULL)
    return !json_object_has_member (body, "disks");
  for (guint i = 0; i < json_array_get_length (disks); i++) {
    JsonNode *node = json_array_get_element (disks, i);
    JsonObject *disk = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    const char *name = disk != NULL ? json_get_string_or (disk, "name", NULL) : NULL;
    const char *how = disk != NULL ? json_get_string_or (disk, "how", NULL) : NULL;
    if (name == NULL || guest_spec_find_disk (offer->spec, name) == NULL ||
        (g_strcmp0 (how, "mirror") != 0 && g_strcmp0 (how, "shared") != 0))
      return usage (error,
                    "disks: the name of each, and how it comes, mirror or shared, is wanted");
    if (g_str_equal (how, "mirror"))
      g_ptr_array_add (offer->mirrored, g_strdup (name));
  }
  return TRUE;
}

static gboolean
parse (Request *request, Offer *offer, GError **error)
{
  JsonObject *body = request->body, *spec, *options;
  const char *way = "live";
  guint64 protocol;

  if (!request_expect (request, error, "id", "protocol", "way", "from", "spec", "machine", "paused",
                       "options", "disks", "lineage", "disk_directory", "disk_paths", NULL) ||
      !json_get_uint64 (body, "protocol", &protocol, error) ||
      !request_string (request, "way", &way, error) ||
      !request_bool (request, "paused", &offer->paused, error) ||
      (offer->id = json_get_string (body, "id", error)) == NULL ||
      (offer->from = json_get_string (body, "from", error)) == NULL ||
      (spec = json_get_object (body, "spec", error)) == NULL ||
      (offer->machine = json_get_object (body, "machine", error)) == NULL)
    return FALSE;
  if (protocol != MIGRATION_PROTOCOL || !g_str_equal (way, "live")) {
    g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
                 "this vmckptd takes guests the live way by protocol %d, not by %s, %u",
                 MIGRATION_PROTOCOL, way, (guint)protocol);
    return FALSE;
  }
  options = json_object_has_member (body, "options") ? json_get_object (body, "options", error)
                                                     : json_object_new();
  if (options == NULL || !live_options_from_json (options, &offer->options, error) ||
      (offer->spec = guest_spec_from_json (spec, error)) == NULL)
    return FALSE;
  return parse_disks (body, offer, error) && parse_lineage (body, offer, error);
}

/* ---- What it may say, if it is on a network ---- */

/* Where its disks' copies go; a directory of this daemon's own is no question. */
static gboolean
check_copies (Request *request, GError **error)
{
  const char *files = request->daemon->guest_files;
  const char *directory = json_get_string_or (request->body, "disk_directory", NULL);
  JsonNode *node = json_object_get_member (request->body, "disk_paths");
  JsonObject *paths =
      node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  g_autoptr (GList) names = paths != NULL ? json_object_get_members (paths) : NULL;

  for (GList *name = names; name != NULL; name = name->next)
    if (!peer_path_check (files, "disk", json_get_string_or (paths, name->data, ""), error))
      return FALSE;
  return directory == NULL || peer_path_check (files, "disk directory", directory, error);
}

/* Its QEMU is not even asked what it is before that. */
static gboolean
check_offer (Request *request, const Offer *offer, GError **error)
{
  if (request->peer == NULL)
    return TRUE;
  /* What is behind an image that is here is read from that, not believed. */
  for (guint i = 0; i < offer->spec->disks->len; i++) {
    GuestDisk *disk = offer->spec->disks->pdata[i];
    if (!g_ptr_array_find_with_equal_func (offer->mirrored, disk->name, g_str_equal, NULL))
      disk->virtual_size = 0;
  }
  return check_copies (request, error) &&
         peer_spec_check (request->daemon->guest_files, offer->spec, offer->mirrored, error);
}

/* The same of the images that were found behind its disks. */
static gboolean
check_found (Request *request, const Offer *offer, GError **error)
{
  return request->peer == NULL ||
         peer_spec_check (request->daemon->guest_files, offer->spec, offer->mirrored, error);
}

/* ---- Preparing ---- */

typedef struct {
  Request *request;
  const Offer *offer;
  Arrival *arrival;
  Guest *guest;
  QemuGuest qemu;
  GuestRam *ram;
  KeeperLease *lease;
  GuestTracking *tracking;
  char *home;       /* (nullable): directory that was made for its disks */
  GPtrArray *files; /* that were made for them */
  gboolean postcopied;
  GPtrArray *messages;
} Coming;

static void
coming_clear (Coming *coming)
{
  g_clear_pointer (&coming->tracking, guest_tracking_free);
  g_clear_pointer (&coming->lease, keeper_lease_free);
  qemu_guest_clear (&coming->qemu);
  g_clear_pointer (&coming->ram, guest_ram_unref);
  g_clear_pointer (&coming->guest, guest_unref);
  g_clear_pointer (&coming->arrival, arrival_unref);
  g_clear_pointer (&coming->files, g_ptr_array_unref);
  g_clear_pointer (&coming->messages, g_ptr_array_unref);
  g_free (coming->home);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Coming, coming_clear)

static void
note (Coming *coming, const char *what, const GError *cause)
{
  g_ptr_array_add (coming->messages, g_strdup_printf ("%s: %s", what, cause->message));
}

/* Where the copy of a disk goes: as asked, or a new directory. */
static char *
choose_path (Coming *coming, const GuestDisk *disk, GError **error)
{
  JsonObject *body = coming->request->body;
  JsonObject *paths = json_object_has_member (body, "disk_paths") &&
                              !json_object_get_null_member (body, "disk_paths")
                          ? json_get_object (body, "disk_paths", NULL)
                          : NULL;
  const char *path = paths != NULL ? json_get_string_or (paths, disk->name, NULL) : NULL;
  const char *directory = json_get_string_or (body, "disk_directory", NULL);

  if (path != NULL && g_path_is_absolute (path))
    return g_strdup (path);
  if (path != NULL || (directory != NULL && !g_path_is_absolute (directory))) {
    usage (error, "disk_directory, disk_paths: absolute paths are wanted");
    return NULL;
  }
  if (directory == NULL && coming->home == NULL) {
    coming->home =
        disk_home_make (coming->request->daemon->runtime->disks, coming->offer->spec->name, error);
    if (coming->home == NULL)
      return NULL;
  }
  g_autofree char *file = g_strdup_printf ("%s.%s", disk->name, disk->format);
  return g_build_filename (directory != NULL ? directory : coming->home, file, NULL);
}

/* Empty files for the disks that are copied; the spec names them from here on. */
static gboolean
make_disks (Coming *coming, GError **error)
{
  const Offer *offer = coming->offer;

  for (guint i = 0; i < offer->mirrored->len; i++) {
    GuestDisk *disk = guest_spec_find_disk (offer->spec, offer->mirrored->pdata[i]);
    gboolean qcow2 = g_strcmp0 (disk->format, "qcow2") == 0;
    guint64 bytes = disk->virtual_size > 0 ? disk->virtual_size : disk->size;
    g_autofree char *path = choose_path (coming, disk, error);
    if (path == NULL || !disk_mirror_make_file (path, qcow2, bytes, error))
      return FALSE;
    g_ptr_array_add (coming->files, g_strdup (path));
    guest_disk_move (disk, path);
    g_ptr_array_set_size (disk->backing, 0);
  }
  return TRUE;
}

/* QEMU is there, and waits; nothing of it outlives a failure. */
static gboolean
start_qemu (Coming *coming, GError **error)
{
  const char *directory = guest_directory (coming->guest);

  return unit_start (guest_spec (coming->guest), directory, TRUE, &coming->ram, &coming->qemu,
                     error) &&
         arrival_mark (coming->arrival, directory, error) &&
         (coming->lease = keeper_lease_restore (coming->qemu.keeper, error)) != NULL;
}

/* Where the source's QEMU finds ours, at @uri, and our disks, at @nbd (nullable). */
static gboolean
say_listening (Coming *coming, const char *uri, const char *nbd, GError **error)
{
  Request *request = coming->request;
  g_autofree char *records = arrivals_records (request->daemon->arrivals, error);

  if (records == NULL)
    return FALSE;
  JsonObject *line = json_object_new();
  json_object_set_string_member (line, "uri", uri);
  json_object_set_string_member (line, "records", records);
  json_set_string_or_null (line, "nbd", nbd);
  request->send_line ("listening", line, request->watcher.user_data);
  return fault_visit (FAULT_MOVE_LISTENING, error);
}

/* Beside whose API the source found this host: there its QEMU finds ours. */
static gboolean
listen_for_source (Coming *coming, GError **error)
{
  Request *request = coming->request;
  const char *local = request->local;
  const char *directory = guest_directory (coming->guest);
  LiveOptions options = coming->offer->options;
  g_autofree char *wanted = NULL;
  g_autofree char *disks = NULL;

  if (local == NULL)
    wanted = g_strdup_printf ("unix:%s/%s", directory, INCOMING_SOCKET);
  else
    wanted = g_strdup_printf (strchr (local, ':') != NULL ? "tcp:[%s]:0" : "tcp:%s:0", local);
  options.tls = local != NULL ? request->daemon->tls : NULL;
  if (coming->offer->mirrored->len > 0) {
    g_autofree char *socket = g_build_filename (directory, DISKS_SOCKET, NULL);
    disks = disk_mirror_serve (coming->qemu.monitor, local == NULL ? socket : NULL, local,
                               options.tls, coming->offer->mirrored, error);
  }
  g_autofree char *uri = coming->offer->mirrored->len == 0 || disks != NULL
                             ? live_listen (coming->qemu.monitor, &options, wanted, error)
                             : NULL;
  return uri != NULL && say_listening (coming, uri, disks, error);
}

/* ---- Arriving ---- */

/* What it writes here counts for its first checkpoint here; if that cannot be known, it compares.
 */
static void
follow_writes (Coming *coming)
{
  g_autoptr (GError) error = NULL;

  if (coming->ram == NULL || coming->postcopied)
    return;
  coming->tracking = guest_tracking_new (coming->ram, &error);
  if (coming->tracking != NULL) {
    guest_tracking_set_keeper (coming->tracking, guest_directory (coming->guest));
    if (guest_tracking_begin_arrived (coming->tracking, coming->offer->id, &error))
      return;
  }
  note (coming, "its first checkpoint here compares all of its memory", error);
}

/* What the next daemon must know of it, should this one die right after the decision. */
static gboolean
keep_lineage (Coming *coming, GError **error)
{
  const Offer *offer = coming->offer;

  if (offer->checkpoint != NULL)
    guest_set_checkpoint (coming->guest, offer->checkpoint);
  return offer->disk_base == NULL || !offer->options.bitmaps ||
         guest_set_disk_base (coming->guest, offer->disk_base, error);
}

static gboolean
receive (Coming *coming, GError **error)
{
  Request *request = coming->request;
  QmpClient *monitor = coming->qemu.monitor;
  GCancellable *cancellable = arrival_cancellable (coming->arrival);

  if (!live_wait_loaded (monitor, &coming->postcopied, cancellable, error))
    return FALSE;
  follow_writes (coming);
  if (!keep_lineage (coming, error) || !fault_visit (FAULT_MOVE_ARRIVED, error))
    return FALSE;
  const ArrivedGuest arrived = { .monitor = monitor,
                                 .lease = coming->lease,
                                 .paused = coming->offer->paused };
  return arrival_announce (coming->arrival, &arrived, error) &&
         (request->send_line ("arrived", json_object_new(), request->watcher.user_data),
          arrival_wait_decided (coming->arrival, error));
}

/* ---- In service ---- */

static gboolean
may_claim (Request *request, const char *store, GError **error)
{
  return request->peer == NULL ||
         peer_path_check (request->daemon->guest_files, "store", store, error);
}

/* A claim of neither host is of somebody who runs that guest. */
static gboolean
check_claim (Coming *coming, Store *store, GError **error)
{
  g_autoptr (Claim) claim = store_claim_get (store, guest_uuid (coming->guest), NULL);

  if (claim == NULL || g_str_equal (claim->host, coming->offer->from) ||
      g_str_equal (claim->host, coming->request->daemon->runtime->host))
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_CLAIMED, "host %s has it", claim->host);
  return FALSE;
}

/* The stores in which its claims go with it. */
static void
take_claims (Coming *coming)
{
  Daemon *daemon = coming->request->daemon;
  GStrv stores = coming->offer->stores;

  for (guint i = 0; stores[i] != NULL; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (Store) store = may_claim (coming->request, stores[i], &error)
                                  ? stores_get_own (daemon->stores, stores[i], &error)
                                  : NULL;
    if (store == NULL || !check_claim (coming, store, &error) ||
        !claims_take (coming->guest, daemon->runtime, store, stores[i], TRUE, &error)) {
      g_autofree char *what = g_strdup_printf ("its claim in %s", stores[i]);
      note (coming, what, error);
    }
  }
}

static JsonObject *
describe (Coming *coming)
{
  JsonObject *result = json_object_new();
  JsonArray *messages = json_array_new();

  for (guint i = 0; i < coming->messages->len; i++)
    json_array_add_string_element (messages, coming->messages->pdata[i]);
  json_object_set_string_member (result, "id", coming->offer->id);
  json_object_set_string_member (result, "state", arrival_state_name (ARRIVAL_RUNNING));
  json_object_set_object_member (result, "guest", guest_to_json (coming->guest));
  json_object_set_array_member (result, "messages", messages);
  return result;
}

/* It runs here, whatever else fails. */
static JsonObject *
serve (Coming *coming)
{
  QmpClient *monitor = coming->qemu.monitor;
  g_autoptr (QmpClient) kept = qmp_client_ref (monitor);
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) lost = NULL;

  /* Before another GuestTracking is made of the same log. */
  g_clear_pointer (&coming->tracking, guest_tracking_free);
  if (!guest_connect (coming->guest, &coming->qemu, &coming->ram, &error)) {
    g_warning ("guest %s has arrived: %s", guest_name (coming->guest), error->message);
    guest_note_failure (coming->guest, error);
  }
  if (coming->postcopied && !live_wait_received (kept, &lost))
    note (coming, "its memory has not all come", lost);
  live_forget_options (kept);
  if (coming->offer->mirrored->len > 0)
    disk_mirror_unserve (kept);
  arrival_unmark (guest_directory (coming->guest));
  disks_left_forget (coming->request->daemon->runtime, guest_uuid (coming->guest));
  take_claims (coming);
  return describe (coming);
}

/* ---- All of it ---- */

static void
remove_files (Coming *coming)
{
  for (guint i = 0; i < coming->files->len; i++)
    g_unlink (coming->files->pdata[i]);
  if (coming->home != NULL)
    g_rmdir (coming->home);
}

/* Its QEMU is gone, and it has not run. */
static void
clear_away (Coming *coming)
{
  Registry *registry = coming->request->daemon->registry;

  if (coming->guest != NULL) {
    if (coming->qemu.monitor != NULL)
      qemu_end (guest_directory (coming->guest), coming->qemu.monitor, NULL);
    qemu_guest_clear (&coming->qemu);
    g_clear_pointer (&coming->lease, keeper_lease_free);
    guest_set_exited (coming->guest, "did not arrive");
    arrival_unmark (guest_directory (coming->guest));
    registry_remove (registry, coming->guest);
  }
  remove_files (coming);
}

static gboolean
prepare (Coming *coming, GError **error)
{
  Daemon *daemon = coming->request->daemon;
  const Offer *offer = coming->offer;
  const QemuPreflight preflight = { .ram_needed = offer->spec->ram_bytes,
                                    .accept_changed_disks = TRUE, /* the guest is at them */
                                    .disks_are_here = TRUE,
                                    .facts = daemon->runtime->facts };

  return registry_check_arrival (daemon->registry, offer->spec->uuid, error) &&
         check_offer (coming->request, offer, error) && make_disks (coming, error) &&
         qemu_preflight (offer->machine, offer->spec, &preflight, error) &&
         check_found (coming->request, offer, error) &&
         (coming->guest = registry_add (daemon->registry, offer->spec, GUEST_RESTORING, error)) !=
             NULL;
}

static void
on_request_cancelled (GCancellable *cancellable G_GNUC_UNUSED, gpointer arriving)
{
  g_cancellable_cancel (arriving);
}

JsonObject *
migrate_in (Request *request, GError **error)
{
  g_auto (Offer) offer = { 0 };
  g_autoptr (GError) reason = NULL;

  if (!parse (request, &offer, error))
    return NULL;
  ERROR_PREFIX (error, "taking guest %s from %s", offer.spec->name, offer.from);
  g_auto (Coming) coming = { .request = request, .offer = &offer };
  coming.files = g_ptr_array_new_with_free_func (g_free);
  coming.messages = g_ptr_array_new_with_free_func (g_free);
  coming.arrival =
      arrivals_add (request->daemon->arrivals, offer.id, offer.spec->name, offer.from, error);
  if (coming.arrival == NULL)
    return NULL;
  GCancellable *arriving = arrival_cancellable (coming.arrival);
  gulong handler = g_cancellable_connect (request->cancellable, G_CALLBACK (on_request_cancelled),
                                          g_object_ref (arriving), g_object_unref);
  gboolean prepared = prepare (&coming, &reason);
  g_autoptr (GuestWork) work =
      prepared ? guest_begin_work (coming.guest, "its arrival", NULL) : NULL;
  gboolean runs = prepared && start_qemu (&coming, &reason) &&
                  listen_for_source (&coming, &reason) && receive (&coming, &reason);
  JsonObject *result = runs ? serve (&coming) : NULL;
  g_cancellable_disconnect (request->cancellable, handler);
  if (runs)
    return result;
  clear_away (&coming);
  arrival_set_ended (coming.arrival, reason);
  g_propagate_error (error, g_steal_pointer (&reason));
  return NULL;
}

/* ---- What it wrote before ---- */

static GArray *
parse_pages (JsonObject *body, GError **error)
{
  JsonArray *pages = json_get_array (body, "pages", error);
  g_autoptr (GArray) ranges = g_array_new (FALSE, FALSE, sizeof (guint64));

  if (pages == NULL)
    return NULL;
  for (guint i = 0; i < json_array_get_length (pages); i++) {
    JsonNode *node = json_array_get_element (pages, i);
    gint64 page = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_int (node) : -1;
    if (page < 0) {
      usage (error, "pages: numbers are wanted");
      return NULL;
    }
    g_array_append_val (ranges, page);
  }
  return g_steal_pointer (&ranges);
}

JsonObject *
migrate_in_written (Request *request, GError **error)
{
  const char *store, *checkpoint, *id = request->params[0];
  g_autofree char *name = NULL;
  g_autoptr (GArray) ranges = NULL;
  g_autoptr (GError) cause = NULL;
  Unit unit;

  if (!request_expect (request, error, "store", "checkpoint", "pages", NULL) ||
      (store = json_get_string (request->body, "store", error)) == NULL ||
      (checkpoint = json_get_string (request->body, "checkpoint", error)) == NULL ||
      (ranges = parse_pages (request->body, error)) == NULL)
    return NULL;
  name = arrivals_guest (request->daemon->arrivals, id, error);
  g_autoptr (Guest) guest =
      name != NULL ? registry_get (request->daemon->registry, name, error) : NULL;
  g_autoptr (GuestWork) work =
      guest != NULL ? guest_wait_for_work (guest, "its history", SERVE_WAIT_MS, error) : NULL;
  if (work == NULL || !guest_as_unit (guest, &unit, error))
    return NULL;
  gboolean known = unit.tracking != NULL &&
                   guest_tracking_accept (unit.tracking, id, store, checkpoint, ranges, &cause);
  if (cause != NULL)
    g_message ("guest %s: %s", name, cause->message);
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "id", id);
  json_object_set_string_member (result, "lineage", known ? "written" : "compared");
  return result;
}
