/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint.h"

#include "api-error.h"
#include "claims.h"
#include "disks-left.h"
#include "filling.h"

#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#define QUIESCE_DEFAULT_US (10 * G_USEC_PER_SEC)
#define QUIESCE_MIN_US (G_USEC_PER_SEC / 10)
#define QUIESCE_MAX_US (300 * G_USEC_PER_SEC)

static gboolean
parse_quiesce (Request *request, CheckpointOptions *options, GError **error)
{
  gboolean wanted = FALSE;
  gint64 time_us = 0;

  if (!request_bool (request, "quiesce", &wanted, error) ||
      !request_time (request, "quiesce_time", &time_us, error))
    return FALSE;
  if (time_us == 0)
    time_us = QUIESCE_DEFAULT_US;
  if (time_us < QUIESCE_MIN_US || time_us > QUIESCE_MAX_US) {
    g_set_error (error, API_ERROR, API_USAGE, "quiesce_time: must be from 100 ms to 5 minutes");
    return FALSE;
  }
  options->quiesce_ms = wanted ? time_us / 1000 : 0;
  return TRUE;
}

gboolean
checkpoint_parse_options (Request *request, CheckpointOptions *options, GError **error)
{
  static const char *const modes[] = { "live", "stop", NULL };
  static const char *const engines[] = { [CHECKPOINT_ENGINE_AUTO] = "auto",
                                         [CHECKPOINT_ENGINE_TRACKED] = "tracked",
                                         [CHECKPOINT_ENGINE_STREAM] = "stream",
                                         NULL };
  const char *mode = "live", *engine = "auto";
  guint index, engine_index;

  if (!request_string (request, "mode", &mode, error) || !parse_quiesce (request, options, error) ||
      !request_string (request, "engine", &engine, error) ||
      !request_string (request, "tag", &options->tag, error) ||
      !request_string (request, "note", &options->note, error) ||
      !request_choice ("mode", mode, modes, &index, error) ||
      !request_choice ("engine", engine, engines, &engine_index, error))
    return FALSE;
  options->engine = engine_index;
  options->mode = index == 0 ? CHECKPOINT_LIVE : CHECKPOINT_STOP;
  return TRUE;
}

/* A fork is read by QEMU, which must find all of its memory. */
static gboolean
wait_for_memory (Request *request, Guest *guest, GError **error)
{
  Templates *templates = request->daemon->templates;
  const UnitWatcher *watcher = &request->watcher;

  if (templates_missing (templates, guest_name (guest)) > 0 && watcher->message != NULL)
    watcher->message ("waiting until the fork's memory has been read from its own checkpoint",
                      watcher->user_data);
  return templates_wait (templates, guest_name (guest), request->cancellable, error);
}

/* What is to be remembered of a guest that was checkpointed while it was paused. */
static void
note_standstill (Guest *guest, const Unit *unit, Store *store, const char *store_path,
                 const CheckpointOptions *options, const Manifest *manifest)
{
  if (unit->paused && options->mode != CHECKPOINT_SUSPEND)
    guest_set_standstill (guest, standstill_find (unit->monitor, store, store_path, manifest));
}

static gboolean
set_disk_base (const DiskBase *base, gpointer user_data, GError **error)
{
  return guest_set_disk_base (user_data, base, error);
}

/* What virsh has changed since the domain was looked at last is a part of the checkpoint, too. */
static gboolean
follow_changes (Guest *guest, const GuestSpec *present, GError **error)
{
  g_autoptr (JsonObject) known = guest_spec_to_json (guest_spec (guest));
  g_autoptr (JsonObject) found = guest_spec_to_json (present);
  g_autofree char *before = json_to_line (known);
  g_autofree char *now = json_to_line (found);

  return g_str_equal (before, now) || guest_set_spec (guest, present, error);
}

/* What libvirt says of the domain, if it is one. */
static gboolean
describe_domain (Request *request, Guest *guest, const CheckpointOptions *options,
                 JsonObject **libvirt, GError **error)
{
  const GuestSpec *spec = guest_spec (guest);
  const UnitWatcher *watcher = &request->watcher;
  g_autoptr (GuestSpec) present = NULL;
  gboolean persistent = FALSE;

  if (spec->driver != GUEST_DRIVER_LIBVIRT)
    return TRUE;
  *libvirt = domains_record (request->daemon->domains, spec, &persistent, &present,
                             request->cancellable, error);
  if (*libvirt == NULL || !follow_changes (guest, present, error)) {
    g_prefix_error (error, "checkpoint of domain %s: ", spec->name);
    return FALSE;
  }
  if (persistent && options->mode == CHECKPOINT_SUSPEND && watcher->message != NULL) {
    g_autofree char *text = g_strdup_printf (
        "the domain stays defined: 'vmckpt resume %s' goes on where it was, 'virsh start %s' would "
        "boot its disks instead",
        spec->name, spec->name);
    watcher->message (text, watcher->user_data);
  }
  return TRUE;
}

Manifest *
checkpoint_take (Request *request, Guest *guest, CheckpointOptions *options, GError **error)
{
  Daemon *daemon = request->daemon;
  g_autofree char *temporary = runtime_temporary_directory (daemon->runtime, error);
  g_autoptr (Store) store = temporary != NULL ? request_store (request, error) : NULL;
  g_autoptr (Store) standstill_store = NULL;
  g_autoptr (Standstill) standstill = guest_standstill (guest);
  g_autoptr (DiskBase) disk_base = guest_disk_base (guest);
  g_autofree char *parent = guest_checkpoint (guest);
  const char *path = request_query (request, "store");
  Unit unit;

  options->parent = parent;
  g_autoptr (JsonObject) libvirt = NULL;
  if (store == NULL || !guest_check_here (guest, error) ||
      !describe_domain (request, guest, options, &libvirt, error) ||
      (options->tag != NULL && !name_check (options->tag, "tag", error)) ||
      !wait_for_memory (request, guest, error) || !guest_as_unit (guest, &unit, error) ||
      !claims_take (guest, daemon->runtime, store, path, FALSE, error))
    return NULL;
  unit.libvirt = libvirt;
  unit.standstill = standstill;
  unit.temporary = temporary;
  unit.disk_base = disk_base;
  unit.set_disk_base = set_disk_base;
  unit.set_disk_base_data = guest;
  if (standstill != NULL && !g_str_equal (standstill->store, store_id (store)))
    standstill_store = stores_get_own (daemon->stores, standstill->store_path, NULL);
  options->standstill_store = standstill_store;
  g_autoptr (Manifest) manifest = unit_checkpoint (&unit, store, options, &request->watcher, error);
  options->standstill_store = NULL;
  if (manifest != NULL) {
    guest_set_checkpoint (guest, manifest->id);
    note_standstill (guest, &unit, store, path, options, manifest);
  } else if (error != NULL)
    guest_note_failure (guest, *error);
  return g_steal_pointer (&manifest);
}

/* Its QEMU is gone and its files are closed: they hold what the checkpoint has. */
static void
note_left_disks (Request *request, Guest *guest, const Manifest *manifest)
{
  g_autoptr (Store) store = request_store (request, NULL);

  if (store != NULL)
    disks_left_note (request->daemon->runtime, guest_spec (guest), store_id (store), manifest->id);
}

/* This may be the last chance to save it: a store that is back is tried without being asked. */
static gboolean
retry_memory (Request *request, Guest *guest, GError **error)
{
  if (!guest_is_in_trouble (guest))
    return TRUE;
  /* Opened with the request's key, it is there for the guest's memory too. */
  g_autoptr (Store) store = request_store (request, error);
  return store != NULL &&
         filling_retry (guest, request->daemon->stores, request->cancellable, error);
}

Manifest *
checkpoint_suspend (Request *request, Guest *guest, CheckpointOptions *options, const char *set,
                    GError **error)
{
  Daemon *daemon = request->daemon;
  gboolean paused = guest_is_paused_on_purpose (guest);
  g_autoptr (JsonObject) mark = suspended_mark_new (daemon->runtime, set, paused);

  if (!retry_memory (request, guest, error))
    return NULL;
  options->power = mark;
  g_autoptr (Manifest) manifest = checkpoint_take (request, guest, options, error);
  options->power = NULL;
  if (manifest == NULL)
    return NULL;
  guest_set_exited (guest, "suspended");
  /* It is suspended; what is left to do is only tidying up. */
  fault_visit (FAULT_SUSPEND_OFF, NULL);
  note_left_disks (request, guest, manifest);
  claims_release (guest, daemon->runtime, daemon->stores);
  return g_steal_pointer (&manifest);
}
