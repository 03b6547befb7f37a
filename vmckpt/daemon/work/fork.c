/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fork.h"

#include "api-error.h"
#include "claims.h"
#include "disk-homes.h"
#include "domain-restore.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/drivers/guest-fork.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <glib/gstdio.h>

/* How many numbers may be taken already by guests of that prefix. */
#define NUMBERS_MAX 10000

/* What one request works on. */
typedef struct {
  Request *request;
  Daemon *daemon;
  Store *store;
  const char *store_path;
  const Manifest *manifest;
  const ForkRequest *wish;
  guint count;
  Guest *guests[TEMPLATE_FORKS_MAX];    /* reserved so far, in the order of their numbers */
  GuestWork *works[TEMPLATE_FORKS_MAX]; /* likewise */
  ForkedGuest forked[TEMPLATE_FORKS_MAX];
  TemplateGroup *group;
  /* Of captured disks: one directory for all, in which each guest has files of its own, and all
   * have the ones below those in common. */
  char *home, *socket; /* (nullable) */
  RestoreDisks *disks[TEMPLATE_FORKS_MAX];
  Hydration *hydration; /* (nullable) */
} ForkCall;

gboolean
fork_request_parse (Request *request, ForkRequest *wish, GError **error)
{
  g_autoptr (GError) cause = NULL;

  *wish = (ForkRequest){ .count = 1 };
  if (!request_expect (request, error, "count", "prefix", "qemu", "paused", "wait", NULL) ||
      !request_string (request, "prefix", &wish->prefix, error) ||
      !request_string (request, "qemu", &wish->qemu, error) ||
      !request_bool (request, "paused", &wish->paused, error) ||
      !request_bool (request, "wait", &wish->wait, error))
    return FALSE;
  if (json_object_has_member (request->body, "count") &&
      !json_get_uint64 (request->body, "count", &wish->count, &cause))
    wish->count = 0;
  if (wish->count >= 1 && wish->count <= TEMPLATE_FORKS_MAX)
    return wish->prefix == NULL || name_check (wish->prefix, "prefix", error);
  g_set_error (error, API_ERROR, API_USAGE, "'count' must be from 1 to %d", TEMPLATE_FORKS_MAX);
  return FALSE;
}

/* ---- Disks ---- */

static RestoreDisksOptions
disk_options (const ForkCall *call, const char *prefix)
{
  return (RestoreDisksOptions){
    .way = RESTORE_DISKS_AT_ONCE, .directory = call->home, .socket = call->socket, .prefix = prefix
  };
}

static gboolean
make_home (ForkCall *call, GError **error)
{
  const char *prefix = call->wish->prefix != NULL ? call->wish->prefix : call->manifest->guest;
  g_autofree char *name = g_strconcat (prefix, "-forks", NULL);

  if (!restore_disks_has_any (call->manifest))
    return TRUE;
  call->home = disk_home_make (call->daemon->runtime->disks, name, error);
  if (call->home == NULL)
    return FALSE;
  call->socket = g_build_filename (call->home, DISK_SERVER_FILE_SOCKET, NULL);
  return TRUE;
}

/* What each guest has of its own, and a server of what none has written yet. */
static gboolean
begin_disks (ForkCall *call, GError **error)
{
  HydrationGuest guests[TEMPLATE_FORKS_MAX];
  g_autofree char *home = g_strdup (call->home);

  if (home == NULL)
    return TRUE;
  for (guint i = 0; i < call->count; i++)
    guests[i] = (HydrationGuest){ guest_spec (call->guests[i]), call->disks[i] };
  g_clear_pointer (&call->home, g_free);
  call->hydration = hydration_begin (call->daemon->hydrations, home, guests, call->count,
                                     call->store, call->store_path, call->request->key,
                                     call->manifest, &call->request->watcher, error);
  return call->hydration != NULL;
}

/* A ForkRunFunc. */
static gboolean
note_run (gpointer user_data, GError **error)
{
  ForkCall *call = user_data;

  return call->hydration == NULL || hydration_note_run (call->hydration, error);
}

/* ---- Names ---- */

/* Reserves the next free name. @number: (inout): the last one tried. */
static Guest *
reserve (ForkCall *call, const GuestSpec *spec, guint *number, GError **error)
{
  const char *prefix = call->wish->prefix != NULL ? call->wish->prefix : call->manifest->guest;

  while (++*number <= NUMBERS_MAX) {
    g_autofree char *name = g_strdup_printf ("%s-%u", prefix, *number);
    g_autoptr (Guest) there = registry_get (call->daemon->registry, name, NULL);
    g_autoptr (GError) cause = NULL;
    if (!name_check (name, "guest name", error))
      return NULL;
    if (there != NULL)
      continue;
    g_autoptr (GuestSpec) fork = guest_spec_fork (spec, name);
    const RestoreDisksOptions options = disk_options (call, name);
    g_autoptr (RestoreDisks) disks =
        call->home != NULL ? restore_disks_plan (call->manifest, fork, &options, error) : NULL;
    if (call->home != NULL && disks == NULL)
      return NULL;
    Guest *guest = registry_add (call->daemon->registry, fork, GUEST_RESTORING, &cause);
    if (guest != NULL || !g_error_matches (cause, API_ERROR, API_CONFLICT)) {
      if (guest != NULL)
        call->disks[call->count] = g_steal_pointer (&disks);
      if (cause != NULL)
        g_propagate_error (error, g_steal_pointer (&cause));
      return guest;
    }
  }
  g_set_error (error, API_ERROR, API_CONFLICT, "no name %s-NUMBER is free: choose another prefix",
               prefix);
  return NULL;
}

static gboolean
reserve_all (ForkCall *call, const GuestSpec *spec, GError **error)
{
  guint number = 0;

  while (call->count < call->wish->count) {
    Guest *guest = reserve (call, spec, &number, error);
    if (guest == NULL)
      return FALSE;
    call->works[call->count] = guest_begin_work (guest, "its fork", NULL);
    call->forked[call->count] =
        (ForkedGuest){ .spec = guest_spec (guest), .directory = guest_directory (guest) };
    call->guests[call->count++] = guest;
    if (!claims_take (guest, call->daemon->runtime, call->store, call->store_path, FALSE, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- Running guests ---- */

static GuestSpec *
make_spec (ForkCall *call, GError **error)
{
  RestoreOptions options = { .name = call->manifest->guest,
                             .directory = call->daemon->runtime->guests,
                             .files = call->daemon->runtime->files,
                             .qemu = call->wish->qemu };
  g_autoptr (GuestSpec) spec = NULL;
  g_autoptr (RestoreDisks) planned = NULL; /* of no guest yet */

  if (!make_home (call, error))
    return NULL;
  const RestoreDisksOptions disks = disk_options (call, NULL);
  options.disks = call->home != NULL ? &disks : NULL;
  options.planned = &planned;
  spec = unit_restore_spec (call->store, call->manifest, &options, error);
  if (spec == NULL || !guest_spec_check_fork (spec, error) ||
      unit_fork_part (call->manifest, spec, error) == NULL)
    return NULL;
  spec->memory = MEMORY_SHARED;
  return g_steal_pointer (&spec);
}

/* From reserved names to guests in service. */
static gboolean
bring_up (ForkCall *call, const GuestSpec *spec, GError **error)
{
  const ManifestPart *part = unit_fork_part (call->manifest, spec, error);

  call->group = templates_open (call->daemon->templates, call->store, call->store_path,
                                call->manifest->id, &part->map, error);
  if (call->group == NULL)
    return FALSE;
  if (!begin_disks (call, error))
    return FALSE;
  for (guint i = 0; i < call->count; i++)
    template_group_add_member (call->group, guest_name (call->guests[i]));
  if (!unit_fork (call->store, call->store_path, call->manifest, template_group_fill (call->group),
                  call->forked, call->count, call->wish->paused, note_run, call,
                  &call->request->watcher, error))
    return FALSE;
  templates_keep (call->daemon->templates, call->group);
  for (guint i = 0; i < call->count; i++) {
    ForkedGuest *forked = &call->forked[i];
    Guest *guest = call->guests[i];
    if (!guest_connect (guest, &forked->qemu, &forked->ram, error))
      return FALSE;
    guest_set_checkpoint (guest, call->manifest->id);
    if (!restore_note_disk_base (guest, call->store, call->manifest, error))
      return FALSE;
    if (!claims_take (guest, call->daemon->runtime, call->store, call->store_path, FALSE, error))
      return FALSE;
  }
  if (call->hydration != NULL)
    hydration_run (g_steal_pointer (&call->hydration));
  return TRUE;
}

/* All or none: nothing is left of those that were begun. */
static void
take_back (ForkCall *call)
{
  Daemon *daemon = call->daemon;

  for (guint i = 0; i < call->count; i++) {
    Guest *guest = call->guests[i];
    ForkedGuest *forked = &call->forked[i];
    if (forked->qemu.keeper != NULL)
      qemu_end (forked->directory, forked->qemu.monitor, NULL);
    guest_kill (guest, NULL);
    templates_forget (daemon->templates, guest_name (guest));
    claims_release (guest, daemon->runtime, daemon->stores);
    registry_remove (daemon->registry, guest);
  }
}

static void
call_clear (ForkCall *call)
{
  if (call->hydration != NULL)
    hydration_undo (call->hydration);
  if (call->home != NULL)
    g_rmdir (call->home);
  g_free (call->home);
  g_free (call->socket);
  for (guint i = 0; i < call->count; i++) {
    forked_guest_clear (&call->forked[i]);
    restore_disks_free (call->disks[i]);
    guest_end_work (call->works[i]);
    guest_unref (call->guests[i]);
  }
  template_group_unref (call->group);
}

/* ---- Result ---- */

/* What the guests use together, and what one alone would: it would have all of the template for
 * itself. */
static JsonObject *
describe_memory (ForkCall *call)
{
  guint64 template = template_fill_memory (template_group_fill (call->group));
  JsonObject *object = json_object_new();
  guint64 own = 0, proportional = 0;

  for (guint i = 0; i < call->count; i++) {
    ForkMemory memory;
    if (fork_memory_of (guest_process (call->guests[i]).pid, &memory)) {
      own += memory.own;
      proportional += memory.proportional;
    }
  }
  json_object_set_int_member (object, "template_bytes", template);
  json_object_set_int_member (object, "own_bytes", own);
  json_object_set_int_member (object, "pss_bytes", proportional);
  json_object_set_int_member (object, "total_bytes", template + own);
  json_object_set_int_member (object, "one_bytes", template + own / call->count);
  json_object_set_boolean_member (
      object, "complete",
      templates_missing (call->daemon->templates, guest_name (call->guests[0])) == 0);
  return object;
}

static JsonObject *
describe (ForkCall *call, gint64 began_us)
{
  JsonObject *object = json_object_new();
  JsonArray *guests = json_array_new();

  for (guint i = 0; i < call->count; i++) {
    JsonObject *guest = guest_to_json (call->guests[i]);
    json_object_set_double_member (guest, "ms", call->forked[i].ms);
    json_array_add_object_element (guests, guest);
  }
  json_object_set_string_member (object, "id", call->manifest->id);
  json_object_set_array_member (object, "guests", guests);
  json_object_set_double_member (object, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  json_object_set_int_member (object, "ram_bytes", guest_spec (call->guests[0])->ram_bytes);
  json_object_set_object_member (object, "memory", describe_memory (call));
  return object;
}

static JsonObject *
run_call (ForkCall *call, gint64 began_us, GError **error)
{
  g_autoptr (GuestSpec) spec = make_spec (call, error);

  if (spec == NULL)
    return NULL;
  if (!reserve_all (call, spec, error) || !bring_up (call, spec, error)) {
    take_back (call);
    return NULL;
  }
  /* They run, whatever becomes of the wait. */
  if (call->wish->wait && !templates_wait (call->daemon->templates, guest_name (call->guests[0]),
                                           call->request->cancellable, error))
    return NULL;
  return describe (call, began_us);
}

JsonObject *
fork_checkpoint (Request *request, Store *store, const Manifest *manifest, const ForkRequest *wish,
                 GError **error)
{
  const RestoreRequest as_recorded = { 0 };
  Daemon *daemon = request->daemon;
  ForkCall *call = NULL;
  gint64 began_us = g_get_monotonic_time();

  if (domain_restore_is_wanted (manifest, &as_recorded))
    return domain_fork (request, store, manifest, wish, error);
  call = g_new0 (ForkCall, 1);
  *call = (ForkCall){ .request = request,
                      .daemon = daemon,
                      .store = store,
                      .store_path = request_query (request, "store"),
                      .manifest = manifest,
                      .wish = wish };
  registry_begin_restore (daemon->registry);
  JsonObject *result = run_call (call, began_us, error);
  registry_end_restore (daemon->registry);
  call_clear (call);
  g_free (call);
  return result;
}
