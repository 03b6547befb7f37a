/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/guests: what there is, its beginning and its end. */
#include "api-error.h"
#include "claims.h"
#include "disk-homes.h"
#include "disks-left.h"
#include "log.h"
#include "power.h"
#include "router.h"
#include "schedules.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#define KILL_WAIT_MS 60000
#define SET_WAIT_MS 10000

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
  g_autoptr (Guest) guest =
      request_expect (request, error, NULL) ? request_guest (request, error) : NULL;
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
  g_autoptr (Guest) guest = request_guest (request, error);
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
  g_autoptr (GPtrArray) files = disk_home_files (daemon->runtime->disks, guest_spec (guest));
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
  g_autoptr (Guest) guest = request_guest (request, error);

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
  g_autoptr (Guest) guest =
      request_expect (request, error, NULL) ? request_guest (request, error) : NULL;
  g_autoptr (GuestWork) work = guest != NULL ? guest_begin_work (guest, "pause", error) : NULL;

  return work != NULL && guest_pause (guest, error) ? guest_to_json (guest) : NULL;
}

const Route guest_routes[] = {
  { "GET", "/v1/guests", list_guests, NULL, FALSE },
  { "POST", "/v1/guests", run_guest, NULL, FALSE },
  { "GET", "/v1/guests/:name", show_guest, NULL, FALSE },
  { "DELETE", "/v1/guests/:name", kill_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/attach", attach_guest, NULL, FALSE },
  { "GET", "/v1/guests/:name/log", NULL, log_serve, FALSE },
  { "POST", "/v1/guests/:name/settings", set_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/pause", pause_guest, NULL, FALSE },
  { NULL },
};
