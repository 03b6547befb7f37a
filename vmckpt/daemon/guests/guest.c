/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest-private.h"

#include "api-error.h"
#include "domain-attach.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/util/json.h>

/* A domain may have the name of a guest of ours. */
static const char *
key_of (const GuestSpec *spec)
{
  return spec->driver == GUEST_DRIVER_LIBVIRT ? spec->uuid : spec->name;
}

Guest *
guest_new (const Runtime *runtime, const GuestSpec *spec, GuestState state)
{
  Guest *guest = g_new0 (Guest, 1);

  g_atomic_ref_count_init (&guest->refs);
  g_mutex_init (&guest->lock);
  g_cond_init (&guest->idle);
  guest->spec = guest_spec_copy (spec);
  guest->former = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_spec_free);
  guest->directory = runtime_guest_directory (runtime, key_of (spec));
  guest->host = g_strdup (runtime->host);
  guest->clock = run_clock_new();
  guest->facts = runtime->facts;
  guest->state = state;
  guest->lost = state == GUEST_UNRESPONSIVE;
  guest->memory = guest_memory_new();
  return guest;
}

Guest *
guest_ref (Guest *guest)
{
  g_atomic_ref_count_inc (&guest->refs);
  return guest;
}

/* Takes @fill (nullable) away from its guest; others may still wait for it. */
static void
drop_fill (GuestFill *fill)
{
  if (fill != NULL)
    guest_fill_set_func (fill, NULL, NULL);
  guest_fill_unref (fill);
}

static gboolean
free_on_main_thread (gpointer data)
{
  Guest *guest = data;

  drop_fill (guest->fill);
  qemu_guest_clear (&guest->qemu);
  g_clear_pointer (&guest->tracking, guest_tracking_free);
  g_clear_pointer (&guest->ram, guest_ram_unref);
  guest_spec_free (guest->spec);
  g_ptr_array_unref (guest->former);
  g_free (guest->io_error);
  run_clock_free (guest->clock);
  machine_recorder_free (guest->recorder);
  guest_memory_free (guest->memory);
  g_free (guest->directory);
  g_free (guest->host);
  g_free (guest->reason);
  g_free (guest->qemu_version);
  g_mutex_clear (&guest->lock);
  g_cond_clear (&guest->idle);
  g_free (guest);
  return G_SOURCE_REMOVE;
}

void
guest_unref (Guest *guest)
{
  /* QEMU's events reach the guest on the main thread: only there is it certain that none is under
   * way. */
  if (g_atomic_ref_count_dec (&guest->refs))
    g_idle_add (free_on_main_thread, guest);
}

void
guest_remove_files (Guest *guest)
{
  LOCK (guest);
  guest->removed = TRUE;
  qemu_remove_directory (guest->directory);
}

const char *
guest_name (Guest *guest)
{
  return guest_spec (guest)->name;
}

const char *
guest_uuid (Guest *guest)
{
  return guest_spec (guest)->uuid;
}

const char *
guest_key (Guest *guest)
{
  return key_of (guest_spec (guest));
}

const char *
guest_directory (Guest *guest)
{
  return guest->directory;
}

const GuestSpec *
guest_spec (Guest *guest)
{
  LOCK (guest);
  return guest->spec;
}

gboolean
guest_set_spec (Guest *guest, const GuestSpec *spec, GError **error)
{
  if (!qemu_write_spec (spec, guest->directory, error))
    return FALSE;
  LOCK (guest);
  g_ptr_array_add (guest->former, guest->spec);
  guest->spec = guest_spec_copy (spec);
  return TRUE;
}

GuestState
guest_state (Guest *guest)
{
  LOCK (guest);
  return guest->state;
}

ProcessId
guest_process (Guest *guest)
{
  LOCK (guest);
  return guest->process;
}

gint64
guest_started_us (Guest *guest)
{
  LOCK (guest);
  return guest->memory->started_us;
}
void
guest_set_exit_func (Guest *guest, GuestExitFunc func, gpointer user_data)
{
  LOCK (guest);
  guest->exit_func = func;
  guest->exit_data = user_data;
}
/* ---- What users ask for ---- */

static const char *const state_names[] = {
  [GUEST_STARTING] = "starting", [GUEST_RESTORING] = "restoring",
  [GUEST_RUNNING] = "running",   [GUEST_PAUSED] = "paused",
  [GUEST_EXITED] = "exited",     [GUEST_UNRESPONSIVE] = "unresponsive",
};

/* Why what the guest writes cannot be followed; NULL if it can, or if there is no QEMU. With the
 * lock held. */
static const char *
untracked_reason (Guest *guest)
{
  if (guest->qemu.monitor == NULL || guest->state == GUEST_EXITED)
    return NULL;
  if (guest->ram == NULL && guest->spec->driver == GUEST_DRIVER_LIBVIRT)
    return "its memory is QEMU's own; 'vmckpt prepare' shows what changes that";
  if (guest->ram == NULL)
    return qemu_spec_shares_memory (guest->spec)
               ? "its memory cannot be taken from QEMU; vmckptd's log says why"
               : "its memory is private to QEMU";
  if (guest_ram_is_copy (guest->ram))
    return "its memory is a copy on write of what it was forked from";
  return guest_ram_untracked_reason (guest->ram);
}

JsonObject *
guest_to_json (Guest *guest)
{
  JsonObject *object = json_object_new();
  const GuestSpec *spec = guest->spec;
  LOCK (guest);
  gboolean here = guest->state == GUEST_RUNNING || guest->state == GUEST_PAUSED;
  gboolean saved =
      g_strcmp0 (guest->work, "a checkpoint") == 0 || g_strcmp0 (guest->work, "a suspend") == 0;

  json_object_set_string_member (object, "name", spec->name);
  json_object_set_string_member (object, "uuid", spec->uuid);
  json_object_set_string_member (object, "driver", guest_driver_name (spec->driver));
  json_set_string_or_null (object, "uri", spec->uri);
  json_object_set_string_member (object, "state",
                                 here && saved ? "checkpointing" : state_names[guest->state]);
  json_set_string_or_null (object, "reason", guest->reason);
  json_object_set_int_member (object, "pid", guest->state == GUEST_EXITED ? 0 : guest->process.pid);
  json_object_set_int_member (object, "ram_bytes", spec->ram_bytes);
  guest_describe_fill (guest, object);
  json_object_set_int_member (object, "cpus", spec->cpus);
  json_object_set_int_member (object, "priority", spec->priority);
  json_object_set_int_member (object, "start_delay_ms", spec->start_delay_ms);
  json_object_set_string_member (
      object, "memory",
      guest->ram != NULL && guest_ram_is_copy (guest->ram)
          ? "fork"
          : memory_kind_name (qemu_spec_shares_memory (spec) ? MEMORY_SHARED : MEMORY_PRIVATE));
  json_set_string_or_null (object, "untracked", untracked_reason (guest));
  json_set_string_or_null (object, "machine", spec->machine);
  json_set_string_or_null (object, "accel", spec->accel);
  json_set_string_or_null (object, "qemu_version", guest->qemu_version);
  json_object_set_int_member (object, "started_us", guest->memory->started_us);
  json_set_string_or_null (object, "checkpoint", guest->memory->checkpoint);
  json_set_string_or_null (object, "operation", guest->work);
  return object;
}

QmpClient *
guest_monitor (Guest *guest, GError **error)
{
  LOCK (guest);

  if ((guest->state == GUEST_RUNNING || guest->state == GUEST_PAUSED) &&
      guest->qemu.monitor != NULL && !guest->lost)
    return qmp_client_ref (guest->qemu.monitor);
  g_set_error (error, API_ERROR, guest->lost ? API_FAILED : API_CONFLICT, "guest %s is %s%s%s",
               guest->spec->name, state_names[guest->state], guest->reason != NULL ? ": " : "",
               guest->reason != NULL ? guest->reason : "");
  return NULL;
}

/* Passes @done on; a failure is taken note of. */
static gboolean
noted (Guest *guest, gboolean done, GError **error)
{
  if (!done && error != NULL)
    guest_note_failure (guest, *error);
  return done;
}

gboolean
guest_continue (Guest *guest, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (guest, error);

  if (monitor == NULL || !guest_check_here (guest, error) || !guest_check_memory (guest, error))
    return FALSE;
  return noted (guest, qmp_cont (monitor, error) && guest_refresh_state (guest, 0, error), error);
}

gboolean
guest_is_io_stopped (Guest *guest)
{
  LOCK (guest);
  return guest->io_stopped;
}

gboolean
guest_continue_after_io_error (Guest *guest)
{
  g_autoptr (QmpClient) monitor = NULL;

  {
    LOCK (guest);
    if (!guest->io_stopped || guest->trouble || guest->qemu.monitor == NULL)
      return FALSE;
    guest->io_stopped = FALSE;
    monitor = qmp_client_ref (guest->qemu.monitor);
  }
  qmp_client_execute_async (monitor, "cont", NULL, -1, 0, NULL, NULL, NULL);
  return TRUE;
}

void
guest_set_io_error_func (Guest *guest, GuestIoErrorFunc func, gpointer user_data)
{
  LOCK (guest);
  guest->io_error_func = func;
  guest->io_error_data = user_data;
}

gboolean
guest_pause (Guest *guest, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (guest, error);

  if (monitor == NULL ||
      !noted (guest, qmp_stop (monitor, error) && guest_refresh_state (guest, 0, error), error))
    return FALSE;
  LOCK (guest);
  guest->faulted = FALSE;
  return TRUE;
}

void
guest_note_failure (Guest *guest, const GError *error)
{
  if (!g_error_matches (error, QMP_ERROR, QMP_ERROR_TIMEOUT) &&
      !g_error_matches (error, RAM_ERROR, RAM_ERROR_STALLED))
    return;
  LOCK (guest);
  if (guest->state == GUEST_RUNNING || guest->state == GUEST_PAUSED)
    guest_set_lost (guest, "its QEMU does not answer");
}

/* libvirt is to know that it was ended, not that it went. */
static gboolean
end_domain (gpointer user_data, GError **error)
{
  Guest *guest = user_data;

  return domain_end (guest_spec (guest), guest->directory, error);
}

gboolean
guest_kill (Guest *guest, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (guest, NULL);

  if (guest_state (guest) == GUEST_EXITED)
    return TRUE;
  if (guest_spec (guest)->driver == GUEST_DRIVER_LIBVIRT
          ? !end_domain (guest, error)
          : !qemu_end (guest->directory, monitor, error))
    return FALSE;
  guest_set_exited (guest, "killed");
  return TRUE;
}

void
guest_set_exited (Guest *guest, const char *reason)
{
  LOCK (guest);
  guest_set_state (guest, GUEST_EXITED, reason);
}

gboolean
guest_as_unit (Guest *guest, Unit *unit, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (guest, error);

  if (monitor == NULL)
    return FALSE;
  LOCK (guest);
  *unit = (Unit){ .spec = guest->spec,
                  .directory = guest->directory,
                  .host = guest->host,
                  .monitor = guest->qemu.monitor,
                  .keeper = guest->qemu.keeper,
                  .ram = guest->ram,
                  .recorder = guest->recorder,
                  .tracking = guest->tracking,
                  .fill = guest->fill,
                  .clock = guest->clock,
                  .paused = guest->state == GUEST_PAUSED };
  if (guest->spec->driver == GUEST_DRIVER_LIBVIRT) {
    unit->end = end_domain;
    unit->end_data = guest;
  }
  return TRUE;
}

guint64
guest_unsaved_bytes (Guest *guest, const char *store_id)
{
  g_auto (LazyFillStatus) status = { .complete = TRUE };
  g_autoptr (GuestFill) fill = guest_get_fill (guest);
  GuestTracking *tracking;
  GuestRam *ram;

  {
    LOCK (guest);
    tracking = guest->tracking;
    ram = guest->ram;
  }
  if (ram == NULL || guest_ram_is_copy (ram))
    return guest_spec (guest)->ram_bytes;
  if (fill != NULL)
    lazy_fill_status (guest_fill_lazy (fill), &status);
  return tracking == NULL || !status.complete ? guest_ram_used_bytes (ram)
                                              : guest_tracking_estimate (tracking, store_id);
}
