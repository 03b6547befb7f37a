/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore.h"

#include "api-error.h"
#include "claims.h"
#include "filling.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/name.h>

/* A checkpoint whose guest runs on this host is refused before anything is prepared. */
static gboolean
check_not_here (Registry *registry, const Manifest *manifest, GError **error)
{
  g_autoptr (Guest) rival = registry_find_uuid (registry, manifest->guest_uuid);

  if (rival == NULL)
    return TRUE;
  g_set_error (error, API_ERROR, API_CONFLICT,
               "checkpoint %.12s: its guest is here already, as %s: kill that one first, or "
               "fork the checkpoint to have another guest",
               manifest->id, guest_name (rival));
  return FALSE;
}

/* The guest runs, and its memory is being served. */
static void
begin_filling (Guest *guest, GuestFill *fill, gboolean held)
{
  if (fill == NULL)
    return;
  guest_set_fill (guest, fill);
  if (!held)
    guest_fill_run (fill);
}

/* From the reserved name to the guest in service. */
static gboolean
bring_up (Request *request, Guest *guest, Store *store, const Manifest *manifest,
          const RestoreRequest *wish, const RestoreOptions *options, double *phase_ms,
          GError **error)
{
  Daemon *daemon = request->daemon;
  const char *store_path = request_query (request, "store");
  g_auto (QemuGuest) qemu = { 0 };
  g_autoptr (GuestRam) ram = NULL;

  if (!claims_take (guest, daemon->runtime, store, store_path, wish->take_over, error) ||
      !unit_restore (store, manifest, guest_spec (guest), options, &request->watcher, &ram, &qemu,
                     phase_ms, error) ||
      !guest_connect (guest, &qemu, &ram, error)) {
    g_clear_pointer (&options->fill->fill, guest_fill_unref);
    return FALSE;
  }
  begin_filling (guest, g_steal_pointer (&options->fill->fill), wish->held);
  guest_set_checkpoint (guest, manifest->id);
  /* The claim was this daemon's so far; now it names the QEMU that runs the guest. */
  return claims_take (guest, daemon->runtime, store, store_path, FALSE, error);
}

static JsonObject *
describe (Guest *guest, const Manifest *manifest, const double *phase_ms, gint64 began_us)
{
  JsonObject *object = json_object_new();
  JsonObject *phases = json_object_new();

  json_object_set_double_member (phases, "rebuild", phase_ms[PHASE_REBUILD]);
  json_object_set_double_member (phases, "resume", phase_ms[PHASE_RESUME]);
  json_object_set_string_member (object, "id", manifest->id);
  json_object_set_object_member (object, "guest", guest_to_json (guest));
  json_object_set_double_member (object, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  json_object_set_object_member (object, "phases", phases);
  json_object_set_int_member (object, "ram_bytes", guest_spec (guest)->ram_bytes);
  return object;
}

/* With boot files kept: spec, name, guest. */
static Guest *
restore_guest (Request *request, Store *store, const Manifest *manifest, const RestoreRequest *wish,
               const RestoreOptions *options, double *phase_ms, GError **error)
{
  Daemon *daemon = request->daemon;
  g_autoptr (GuestSpec) spec = unit_restore_spec (store, manifest, options, error);
  g_autoptr (Guest) guest =
      spec != NULL ? registry_add (daemon->registry, spec, GUEST_RESTORING, error) : NULL;

  if (guest == NULL)
    return NULL;
  g_autoptr (GuestWork) work = guest_begin_work (guest, "its restore", NULL);
  options->fill->user_data = guest;
  if (bring_up (request, guest, store, manifest, wish, options, phase_ms, error))
    return g_steal_pointer (&guest);
  guest_kill (guest, NULL);
  claims_release (guest, daemon->runtime, daemon->stores);
  registry_remove (daemon->registry, guest);
  return NULL;
}

JsonObject *
restore_checkpoint (Request *request, Store *store, const Manifest *manifest,
                    const RestoreRequest *wish, GError **error)
{
  Daemon *daemon = request->daemon;
  gint64 began_us = g_get_monotonic_time();
  const char *name = wish->as != NULL ? wish->as : manifest->guest;
  double phase_ms[PHASE_COUNT] = { 0 };

  registry_wait_for_unfinished (daemon->registry, name);
  if (!name_check (name, "guest name", error) ||
      !check_not_here (daemon->registry, manifest, error))
    return NULL;
  g_autofree char *directory = runtime_guest_directory (daemon->runtime, name);
  RestoreFill fill = { .reading = wish->reading,
                       .store_path = request_query (request, "store"),
                       .func = filling_watch };
  RestoreOptions options = { .name = name,
                             .directory = directory,
                             .files = daemon->runtime->files,
                             .qemu = wish->qemu,
                             .accel = wish->accel,
                             .paused = wish->paused,
                             .accept_changed_disks = wish->accept_changed_disks,
                             .facts = daemon->runtime->facts,
                             .fill = &fill };
  registry_begin_restore (daemon->registry);
  g_autoptr (Guest) guest =
      restore_guest (request, store, manifest, wish, &options, phase_ms, error);
  registry_end_restore (daemon->registry);
  return guest != NULL ? describe (guest, manifest, phase_ms, began_us) : NULL;
}
