/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1, /v1/doctor, /v1/guests: this host and its guests. */
#include "api-error.h"
#include "checkpoint-json.h"
#include "checkpoint.h"
#include "claims.h"
#include "disks-left.h"
#include "filling.h"
#include "fork.h"
#include "guest-clock.h"
#include "log.h"
#include "peer-check.h"
#include "power.h"
#include "proof.h"
#include "restore.h"
#include "router.h"
#include "schedules.h"

#include <vmckpt/drivers/guest-fork.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/ram/track-probe.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <unistd.h>

#define KILL_WAIT_MS 60000
#define SET_WAIT_MS 10000

static JsonObject *
show_daemon (Request *request, GError **error)
{
  Daemon *daemon = request->daemon;
  JsonObject *result = json_object_new();

  json_object_set_string_member (result, "name", "vmckptd");
  json_object_set_string_member (result, "version", VMCKPT_VERSION);
  json_object_set_int_member (result, "pid", getpid());
  json_object_set_string_member (result, "runtime", daemon->runtime->path);
  json_object_set_string_member (result, "host", daemon->runtime->host);
  json_object_set_int_member (result, "guests", registry_count_alive (daemon->registry));
  return result;
}

/* How fast checkpoints can be here. */
static void
add_tracking_check (JsonArray *checks)
{
  g_auto (TrackProbe) probe = { 0 };
  JsonObject *object = json_object_new();
  const char *instead;

  track_probe (&probe);
  instead = probe.sync ? "first writes to pages wait for vmckptd (synchronous)"
            : probe.soft_dirty
                ? "a checkpoint stops the guest and copies what it wrote (soft-dirty)"
                : "a checkpoint reads all of the guest's memory";
  g_autofree char *found = probe.async
                               ? g_strdup ("asynchronous write-protection, told by PAGEMAP_SCAN")
                               : g_strdup_printf ("%s; instead, %s", probe.lacks, instead);
  json_object_set_string_member (object, "check", "write-tracking");
  json_object_set_boolean_member (object, "ok", probe.async);
  json_object_set_string_member (object, "found", found);
  json_object_set_string_member (object, "for",
                                 "checkpoints that cost what the guest wrote, not what it has");
  json_object_set_string_member (
      object, "mend", probe.async ? "" : "Linux 6.7 or newer, and a userfaultfd (see there)");
  json_array_add_object_element (checks, object);
}

static void
add_drained_check (JsonArray *checks, Registry *registry)
{
  JsonObject *object = json_object_new();
  gboolean drained = registry_is_drained (registry);

  json_object_set_string_member (object, "check", "drained");
  json_object_set_boolean_member (object, "ok", !drained);
  json_object_set_string_member (object, "found",
                                 drained ? "this host is drained" : "it takes guests");
  json_object_set_string_member (object, "for", "running guests here");
  json_object_set_string_member (object, "mend", drained ? "vmckpt drain --undo" : "");
  json_array_add_object_element (checks, object);
}

/* Whether QEMU can be given its userfaultfds. */
static void
add_preload_check (JsonArray *checks)
{
  JsonObject *object = json_object_new();
  g_autofree char *reason = NULL;
  g_autofree char *path = guest_ram_find_preload (&reason);

  json_object_set_string_member (object, "check", "preload");
  json_object_set_boolean_member (object, "ok", path != NULL);
  json_object_set_string_member (object, "found", path != NULL ? path : reason);
  json_object_set_string_member (object, "for", "giving QEMU the userfaultfds of its guest");
  json_object_set_string_member (
      object, "mend",
      path != NULL ? "" : "install vmckpt whole, or name the object with VMCKPT_PRELOAD");
  json_array_add_object_element (checks, object);
}

static JsonObject *
doctor (Request *request, GError **error)
{
  JsonObject *result = json_object_new();
  JsonArray *checks = qemu_doctor (request_query (request, "qemu"));

  add_preload_check (checks);
  add_tracking_check (checks);
  add_drained_check (checks, request->daemon->registry);
  if (request_query (request, "host") != NULL)
    json_array_add_object_element (
        checks, peer_check (request_query (request, "host"), request->daemon->tls));
  json_object_set_array_member (result, "checks", checks);
  return result;
}

static gboolean
quit_loop (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static JsonObject *
shut_down (Request *request, GError **error)
{
  if (!request_expect (request, error, NULL))
    return NULL;
  /* Calls at work, this one too, are answered before the process ends. */
  g_idle_add (quit_loop, request->daemon->loop);
  return json_object_new();
}

/* For calls without options. */
static gboolean
no_body (Request *request, GError **error)
{
  return request_expect (request, error, NULL);
}

/* The guest that the path names; a domain is attached by that. */
static Guest *
find_guest (Request *request, GError **error)
{
  return domains_find (request->daemon->domains, request->params[0], request->cancellable, error);
}

/* A guest as it is shown: what it waits for is known to its template, not to the guest. It also
 * explains a monitor that does not answer: QEMU's main loop may stand at a missing page. */
static JsonObject *
describe_guest (Request *request, Guest *guest)
{
  JsonObject *object = guest_to_json (guest);
  json_object_set_array_member (object, "schedules",
                                schedules_describe (request->daemon->schedules, guest));
  if (guest_spec (guest)->driver == GUEST_DRIVER_LIBVIRT)
    return object;
  g_autofree char *reason = templates_reason (request->daemon->templates, guest_name (guest));

  if (reason != NULL && guest_state (guest) != GUEST_EXITED)
    json_object_set_string_member (object, "reason", reason);
  hydrations_describe (request->daemon->hydrations, guest_name (guest), object);
  /* What is missing of the template is missing of each of its forks. */
  guint64 missing = templates_missing (request->daemon->templates, guest_name (guest));
  if (missing > 0 && guest_state (guest) != GUEST_EXITED)
    json_object_set_int_member (object, "filled_bytes", guest_spec (guest)->ram_bytes - missing);
  return object;
}

/* Domains that nobody has worked on; that libvirt does not answer is no reason to hide the rest. */
static void
add_domains (Request *request, JsonArray *list, JsonObject *result)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonArray) domains = domains_list (request->daemon->domains, &error);

  for (guint i = 0; domains != NULL && i < json_array_get_length (domains); i++)
    json_array_add_element (list, json_node_copy (json_array_get_element (domains, i)));
  json_set_string_or_null (result, "libvirt_error", error != NULL ? error->message : NULL);
}

static JsonObject *
list_guests (Request *request, GError **error)
{
  g_autoptr (GPtrArray) guests = registry_list (request->daemon->registry);
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new();

  for (guint i = 0; i < guests->len; i++)
    json_array_add_object_element (list, describe_guest (request, g_ptr_array_index (guests, i)));
  json_object_set_array_member (result, "guests", list);
  json_object_set_boolean_member (result, "drained",
                                  registry_is_drained (request->daemon->registry));
  add_domains (request, list, result);
  return result;
}

static JsonObject *
show_guest (Request *request, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (Guest) guest = registry_get (request->daemon->registry, request->params[0], &cause);
  JsonObject *domain =
      guest == NULL ? domains_show (request->daemon->domains, request->params[0]) : NULL;

  if (guest == NULL && domain == NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return guest != NULL ? describe_guest (request, guest) : domain;
}

/* Before what goes on outside of calls, log and console: a domain becomes a guest. */
static JsonObject *
attach_guest (Request *request, GError **error)
{
  g_autoptr (Guest) guest = no_body (request, error) ? find_guest (request, error) : NULL;
  return guest != NULL ? describe_guest (request, guest) : NULL;
}

/* ---- run and kill ---- */

static gboolean
bring_up (Request *request, Guest *guest, gboolean paused, GError **error)
{
  Daemon *daemon = request->daemon;
  const char *store_path = request_query (request, "store");
  g_autoptr (Store) store = NULL;
  g_auto (QemuGuest) qemu = { 0 };
  g_autoptr (GuestRam) ram = NULL;

  if (store_path != NULL &&
      ((store = request_store (request, error)) == NULL ||
       !claims_take (guest, daemon->runtime, store, store_path, FALSE, error)))
    return FALSE;
  if (!unit_start (guest_spec (guest), guest_directory (guest), FALSE, &ram, &qemu, error) ||
      !guest_connect (guest, &qemu, &ram, error) || (!paused && !guest_continue (guest, error)))
    return FALSE;
  return store == NULL || claims_take (guest, daemon->runtime, store, store_path, FALSE, error);
}

/* The body's "start_delay", a time, becomes the spec's number. */
static gboolean
take_start_delay (Request *request, GError **error)
{
  gint64 us = -1;

  if (!power_parse_time (request, "start_delay", &us, error))
    return FALSE;
  json_object_remove_member (request->body, "start_delay");
  if (us >= 0)
    json_object_set_int_member (request->body, "start_delay_ms", us / 1000);
  return TRUE;
}

static JsonObject *
run_guest (Request *request, GError **error)
{
  Daemon *daemon = request->daemon;
  gboolean paused = FALSE;
  g_autoptr (GuestSpec) spec = NULL;
  g_autoptr (Guest) guest = NULL;

  if (!request_expect (request, error, "name", "ram_bytes", "cpus", "kernel", "initrd", "append",
                       "disks", "firmware", "nvram", "qemu", "accel", "machine", "cpu", "extra",
                       "paused", "memory", "agent", "tpm", "priority", "start_delay", NULL) ||
      !take_start_delay (request, error) || !request_bool (request, "paused", &paused, error) ||
      (spec = guest_spec_from_json (request->body, error)) == NULL)
    return NULL;
  if (spec->driver != GUEST_DRIVER_QEMU) {
    g_set_error (error, API_ERROR, API_USAGE, "driver: libvirt starts its domains itself");
    return NULL;
  }
  if (!qemu_spec_complete (spec, daemon->runtime->facts, error)) {
    g_prefix_error (error, "starting guest %s: ", spec->name);
    return NULL;
  }
  guest = registry_add (daemon->registry, spec, GUEST_STARTING, error);
  if (guest == NULL)
    return NULL;
  g_autoptr (GuestWork) work = guest_begin_work (guest, "its start", NULL);
  if (!bring_up (request, guest, paused, error)) {
    guest_kill (guest, NULL);
    claims_release (guest, daemon->runtime, daemon->stores);
    registry_remove (daemon->registry, guest);
    return NULL;
  }
  return guest_to_json (guest);
}

/* What decides about its turn among others, durable. */
static JsonObject *
set_guest (Request *request, GError **error)
{
  if (!request_expect (request, error, "priority", "start_delay", NULL) ||
      !take_start_delay (request, error))
    return NULL;
  g_autoptr (Guest) guest = find_guest (request, error);
  g_autoptr (GuestWork) work =
      guest != NULL ? guest_wait_for_work (guest, "a change of its settings", SET_WAIT_MS, error)
                    : NULL;
  if (work == NULL)
    return NULL;
  /* The members are checked as those of a spec are. */
  g_autoptr (JsonObject) changed = guest_spec_to_json (guest_spec (guest));
  static const char *const members[] = { "priority", "start_delay_ms" };
  for (guint i = 0; i < G_N_ELEMENTS (members); i++)
    if (json_object_has_member (request->body, members[i]))
      json_object_set_member (changed, members[i],
                              json_node_copy (json_object_get_member (request->body, members[i])));
  g_autoptr (GuestSpec) spec = guest_spec_from_json (changed, error);
  return spec != NULL && guest_set_spec (guest, spec, error) ? describe_guest (request, guest)
                                                             : NULL;
}

/* Files of a guest that is gone, which stay. */
static JsonObject *
describe_left_disks (Daemon *daemon, Guest *guest)
{
  g_autoptr (GPtrArray) files = hydrations_files (daemon->hydrations, guest_spec (guest));
  JsonObject *result = json_object_new();
  JsonArray *left = json_array_new();

  for (guint i = 0; i < files->len; i++)
    if (g_file_test (files->pdata[i], G_FILE_TEST_EXISTS))
      json_array_add_string_element (left, files->pdata[i]);
  json_object_set_array_member (result, "disks", left);
  return result;
}

static JsonObject *
kill_guest (Request *request, GError **error)
{
  Daemon *daemon = request->daemon;
  g_autoptr (Guest) guest = find_guest (request, error);

  if (guest == NULL)
    return NULL;
  ERROR_PREFIX (error, "ending guest %s", guest_name (guest));
  if (guest_state (guest) == GUEST_STARTING || guest_state (guest) == GUEST_RESTORING) {
    g_set_error (error, API_ERROR, API_CONFLICT, "it is still being put together: interrupt that");
    return NULL;
  }
  /* Work on a guest whose QEMU is gone fails soon; until then the name stays taken. */
  g_autoptr (GuestWork) work = NULL;
  gboolean was_up = guest_state (guest) != GUEST_EXITED;
  if (!guest_kill (guest, error) ||
      (work = guest_wait_for_work (guest, "its end", KILL_WAIT_MS, error)) == NULL)
    return NULL;
  if (guest_spec (guest)->driver == GUEST_DRIVER_QEMU)
    templates_forget (daemon->templates, guest_name (guest));
  claims_release (guest, daemon->runtime, daemon->stores);
  if (was_up)
    disks_left_note (daemon->runtime, guest_spec (guest), NULL, NULL);
  if (request_query_bool (request, "remove_disks"))
    hydrations_remove_files (daemon->hydrations, guest_spec (guest));
  registry_remove (daemon->registry, guest);
  return describe_left_disks (daemon, guest);
}

static JsonObject *
pause_guest (Request *request, GError **error)
{
  g_autoptr (Guest) guest = no_body (request, error) ? find_guest (request, error) : NULL;
  g_autoptr (GuestWork) work = guest != NULL ? guest_begin_work (guest, "pause", error) : NULL;

  return work != NULL && guest_pause (guest, error) ? guest_to_json (guest) : NULL;
}

/* A fork's memory that could not be read is tried again. Returns FALSE if there is none. */
static gboolean
retry_memory (Request *request, Guest *guest)
{
  Templates *templates = request->daemon->templates;
  g_autofree char *reason = templates_reason (templates, guest_name (guest));
  g_autoptr (Store) store = reason != NULL && request_query (request, "store") != NULL
                                ? request_store (request, NULL)
                                : NULL;

  if (reason != NULL)
    templates_retry (templates, guest_name (guest), store);
  return reason != NULL;
}

static JsonObject *
continue_guest (Request *request, GError **error)
{
  gboolean take_over = FALSE;

  if (!request_expect (request, error, "take_over", NULL) ||
      !request_bool (request, "take_over", &take_over, error))
    return NULL;
  g_autoptr (Guest) guest = find_guest (request, error);
  g_autoptr (GuestWork) work =
      guest != NULL ? guest_begin_work_when_found (guest, "continue", error) : NULL;

  /* By the user's word, nobody is asked any more. */
  if (work != NULL && take_over && !guest_set_departure (guest, NULL, error))
    return NULL;
  if (work != NULL)
    retry_memory (request, guest);
  if (work == NULL ||
      !filling_retry (guest, request->daemon->stores, request->cancellable, error) ||
      !hydrations_retry (request->daemon->hydrations, guest_name (guest), request->key, error) ||
      !guest_continue (guest, error))
    return NULL;
  return guest_to_json (guest);
}

/* ---- checkpoint, suspend, resume ---- */

/* A checkpoint that does not pass is kept, and marked: it may be all there is. */
static gboolean
prove (Request *request, const Manifest *manifest, const ProofWish *wish, JsonObject *report,
       GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  JsonObject *proof = store != NULL ? proof_boot (request, store, manifest, wish, error) : NULL;

  if (proof != NULL) {
    json_object_set_object_member (report, "proof", proof);
    return TRUE;
  }
  gboolean tagged = store != NULL && store_tag_add (store, manifest->id, PROOF_FAILED_TAG, NULL);
  g_prefix_error (error, "checkpoint %s exists%s, but is not proven: ", manifest->id,
                  tagged ? ", tagged " PROOF_FAILED_TAG : "");
  return FALSE;
}

static JsonObject *
checkpoint_guest (Request *request, GError **error)
{
  CheckpointOptions options = { 0 };
  g_auto (ProofWish) wish = { 0 };
  gboolean wants_proof = FALSE;

  if (!request_expect (request, error, "mode", "engine", "tag", "note", "quiesce", "quiesce_time",
                       "prove", "timeout", "until", "command", NULL) ||
      !checkpoint_parse_options (request, &options, error) ||
      !request_bool (request, "prove", &wants_proof, error) || !proof_parse (request, &wish, error))
    return NULL;
  g_autoptr (Guest) guest = find_guest (request, error);
  g_autoptr (GuestWork) work =
      guest != NULL ? guest_begin_work (guest, "a checkpoint", error) : NULL;
  g_autoptr (Manifest) manifest =
      work != NULL ? checkpoint_take (request, guest, &options, error) : NULL;
  if (manifest == NULL)
    return NULL;
  g_autoptr (JsonObject) report = checkpoint_report (manifest);
  /* The guest is free for other work. */
  g_clear_pointer (&work, guest_end_work);
  if (wants_proof && !prove (request, manifest, &wish, report, error))
    return NULL;
  return g_steal_pointer (&report);
}

/* ---- Checkpoints at regular times ---- */

static JsonObject *
checkpoint_periodically (Request *request, GError **error)
{
  g_autoptr (Guest) guest = find_guest (request, error);

  return guest != NULL ? schedules_run (request, guest, error) : NULL;
}

/* Those that go on by themselves; a call of a client's ends with its connection. */
static JsonObject *
end_schedules (Request *request, GError **error)
{
  g_autoptr (Guest) guest =
      no_body (request, error) ? registry_get (request->daemon->registry, request->params[0], error)
                               : NULL;

  if (guest == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "ended",
                              schedules_end_kept (request->daemon->schedules, guest));
  return result;
}

static JsonObject *
suspend_guest (Request *request, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_SUSPEND };

  if (!request_expect (request, error, "tag", "note", NULL) ||
      !request_string (request, "tag", &options.tag, error) ||
      !request_string (request, "note", &options.note, error))
    return NULL;
  g_autoptr (Guest) guest = find_guest (request, error);
  g_autoptr (GuestWork) work = guest != NULL ? guest_begin_work (guest, "a suspend", error) : NULL;
  g_autoptr (Manifest) manifest =
      work != NULL ? checkpoint_suspend (request, guest, &options, NULL, error) : NULL;
  return manifest != NULL ? checkpoint_report (manifest) : NULL;
}

/* A guest that runs is forked as it is at this moment: through a checkpoint, which stays. */
static JsonObject *
fork_guest (Request *request, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_LIVE };
  g_autoptr (Manifest) manifest = NULL;
  ForkRequest wish;

  if (!fork_request_parse (request, &wish, error))
    return NULL;
  g_autoptr (Guest) guest = find_guest (request, error);
  g_autoptr (Store) store = guest != NULL ? request_store (request, error) : NULL;
  if (store == NULL || !guest_spec_check_fork (guest_spec (guest), error))
    return NULL;
  {
    g_autoptr (GuestWork) work = guest_begin_work (guest, "a checkpoint", error);
    manifest = work != NULL ? checkpoint_take (request, guest, &options, error) : NULL;
    if (manifest == NULL)
      return NULL;
  }
  return fork_checkpoint (request, store, manifest, &wish, error);
}

/* What the guest waits for is tried again, from the request's store if that is the one. */
static gboolean
retry_fill (Request *request, Guest *guest, GError **error)
{
  g_autoptr (GError) unopened = NULL;
  g_autoptr (GError) waiting = NULL;
  /* Opened with the request's key, it is there for the guest's memory too. */
  g_autoptr (Store) store =
      request_query (request, "store") != NULL ? request_store (request, &unopened) : NULL;

  if (filling_retry (guest, request->daemon->stores, request->cancellable, &waiting))
    return TRUE;
  /* A key that does not fit says more than that one is wanted. */
  if (g_error_matches (waiting, STORE_ERROR, STORE_ERROR_KEY_NEEDED) &&
      g_error_matches (unopened, STORE_ERROR, STORE_ERROR_KEY_WRONG))
    g_propagate_error (error, g_steal_pointer (&unopened));
  else
    g_propagate_error (error, g_steal_pointer (&waiting));
  return FALSE;
}

/* A fork that has waited goes on by itself, also if its QEMU could not say so yet. */
static gboolean
must_be_continued (Guest *guest, gboolean waited)
{
  GuestState state = guest_state (guest);
  return state == GUEST_PAUSED || (state != GUEST_RUNNING && !waited);
}

/* A guest that is here: goes on if it was paused, or waits. */
static JsonObject *
resume_here (Request *request, Guest *guest, gboolean sync_time, GError **error)
{
  g_autoptr (GuestWork) work = NULL;
  gboolean waited = retry_memory (request, guest);
  gint64 began_us = g_get_monotonic_time();

  if (guest_state (guest) != GUEST_PAUSED && !waited) {
    g_set_error (error, API_ERROR, API_CONFLICT, "guest %s is here already and not paused",
                 guest_name (guest));
    return NULL;
  }
  work = guest_begin_work_when_found (guest, "a resume", error);
  if (work == NULL)
    return NULL;
  if (!retry_fill (request, guest, error) ||
      !hydrations_retry (request->daemon->hydrations, guest_name (guest), request->key, error) ||
      (must_be_continued (guest, waited) && !guest_continue (guest, error)))
    return NULL;
  g_autofree char *checkpoint = guest_checkpoint (guest);
  JsonObject *result = json_object_new();
  JsonObject *phases = json_object_new();
  double resume_ms = (g_get_monotonic_time() - began_us) / 1000.0;
  if (checkpoint != NULL)
    json_object_set_string_member (result, "id", checkpoint);
  else
    json_object_set_null_member (result, "id");
  json_object_set_double_member (phases, "rebuild", 0);
  json_object_set_double_member (phases, "resume", resume_ms);
  json_object_set_object_member (result, "guest", guest_to_json (guest));
  json_object_set_double_member (result, "wall_ms", resume_ms);
  json_object_set_object_member (result, "phases", phases);
  json_object_set_int_member (result, "ram_bytes", guest_spec (guest)->ram_bytes);
  if (sync_time)
    json_object_set_object_member (result, "clock",
                                   guest_clock_sync (guest, TRUE, request->cancellable));
  return result;
}

static JsonObject *
resume_guest (Request *request, GError **error)
{
  RestoreRequest wish = { .sync_time = TRUE };
  g_autoptr (Guest) here = find_guest (request, NULL);
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  if (!request_expect (request, error, "take_over", "hold", "sync_time", NULL) ||
      !request_bool (request, "sync_time", &wish.sync_time, error) ||
      !request_bool (request, "take_over", &wish.take_over, error) ||
      !request_bool (request, "hold", &wish.held, error))
    return NULL;
  if (here != NULL && guest_state (here) != GUEST_EXITED)
    return resume_here (request, here, wish.sync_time, error);
  store = request_store (request, error);
  if (store == NULL || !name_check (request->params[0], "guest name", error) ||
      (manifest = store_manifest_find (store, request->params[0], error)) == NULL)
    return NULL;
  /* The reference was a name, not an id that begins like one. */
  if (!g_str_equal (manifest->guest, request->params[0])) {
    g_set_error (error, API_ERROR, API_NOT_FOUND, "no guest '%s' here, nor a checkpoint of one",
                 request->params[0]);
    return NULL;
  }
  if (g_strcmp0 (manifest->mode, "suspend") != 0) {
    g_set_error (
        error, API_ERROR, API_CONFLICT,
        "guest %s is not suspended: its newest checkpoint %.12s was taken while it ran; to go "
        "back to that one, restore it",
        manifest->guest, manifest->id);
    return NULL;
  }
  return restore_suspended (request, store, manifest, &wish, error);
}

/* Guests whose memory was not to be read yet. */
static JsonObject *
fill_guests (Request *request, GError **error)
{
  if (!no_body (request, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "guests", registry_fill_held (request->daemon->registry));
  return result;
}

static JsonObject *
wait_for_guest (Request *request, GError **error)
{
  g_autoptr (Guest) guest = no_body (request, error) ? find_guest (request, error) : NULL;

  if (guest == NULL || !filling_wait (guest, &request->progress, request->cancellable, error) ||
      !templates_wait (request->daemon->templates, guest_name (guest), request->cancellable,
                       error) ||
      !hydrations_wait (request->daemon->hydrations, guest_name (guest), &request->progress,
                        request->cancellable, error))
    return NULL;
  return guest_to_json (guest);
}

const Route guest_routes[] = {
  { "GET", "/v1", show_daemon, NULL, FALSE },
  { "GET", "/v1/doctor", doctor, NULL, FALSE },
  { "POST", "/v1/shutdown", shut_down, NULL, FALSE },
  { "GET", "/v1/guests", list_guests, NULL, FALSE },
  { "POST", "/v1/guests", run_guest, NULL, FALSE },
  { "POST", "/v1/fill", fill_guests, NULL, FALSE },
  { "GET", "/v1/guests/:name", show_guest, NULL, FALSE },
  { "DELETE", "/v1/guests/:name", kill_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/attach", attach_guest, NULL, FALSE },
  { "GET", "/v1/guests/:name/log", NULL, log_serve, FALSE },
  { "POST", "/v1/guests/:name/fill", wait_for_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/settings", set_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/pause", pause_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/continue", continue_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/checkpoint", checkpoint_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/fork", fork_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/checkpoints", checkpoint_periodically, NULL, TRUE },
  { "DELETE", "/v1/guests/:name/checkpoints", end_schedules, NULL, FALSE },
  { "POST", "/v1/guests/:name/suspend", suspend_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/resume", resume_guest, NULL, TRUE },
  { NULL },
};
