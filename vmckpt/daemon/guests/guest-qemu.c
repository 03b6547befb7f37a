/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest's QEMU tells, and finding it again. */
#include "guest-private.h"

#include "domain-attach.h"
#include "main-call.h"

#include <vmckpt/disk/disk-point.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/json.h>

/* A QEMU that has taken a connection may stand still right after that. */
#define FIND_TIMEOUT_MS 5000
/* What a domain's bridge says when it has been without libvirt. */
#define EVENTS_LOST "VMCKPT_EVENTS_LOST"

/* With the lock held. */
void
guest_set_state (Guest *guest, GuestState state, const char *reason)
{
  guest->state = state;
  guest->trouble = FALSE;
  g_free (guest->reason);
  guest->reason = g_strdup (reason);
}

/* Its QEMU is to be found again. Trouble stays what the user is told: a QEMU that waits for a page
 * cannot answer. With the lock held. */
void
guest_set_lost (Guest *guest, const char *reason)
{
  guest->lost = TRUE;
  if (!guest->trouble)
    guest_set_state (guest, GUEST_UNRESPONSIVE, reason);
}

/* The guest runs, or did. With the lock held. */
static void
forget_standstill (Guest *guest)
{
  if (guest->memory->standstill == NULL)
    return;
  g_clear_pointer (&guest->memory->standstill, standstill_free);
  guest_save_memory (guest);
}

/* What a disk's I/O error is called, if it stops the guest. With the lock held. */
static void
note_io_error (Guest *guest, JsonObject *data)
{
  const char *node = json_get_string_or (data, "node-name", "");
  const char *reason = json_get_string_or (data, "reason", "I/O error");

  if (!g_str_equal (json_get_string_or (data, "action", ""), "stop"))
    return;
  g_free (guest->io_error);
  guest->io_error = g_strdup_printf (
      "disk %s cannot be %s: %s; 'vmckpt continue' tries again", *node != 0 ? node : "(unnamed)",
      g_str_equal (json_get_string_or (data, "operation", ""), "write") ? "written" : "read",
      reason);
}

/* The CPUs have stopped: on a user's wish, or because of a disk. TRUE: because of a disk. */
static gboolean
note_stop (Guest *guest)
{
  LOCK (guest);
  if (guest->trouble || guest->state == GUEST_EXITED || guest->state == GUEST_UNRESPONSIVE)
    return FALSE;
  g_autofree char *reason = g_steal_pointer (&guest->io_error);
  guest_set_state (guest, GUEST_PAUSED, reason);
  guest->io_stopped = reason != NULL;
  guest->faulted = guest->faulted || guest->io_stopped;
  return guest->io_stopped;
}

static void
apply_status (Guest *guest, const char *status)
{
  LOCK (guest);
  if (!g_str_equal (status, "postmigrate"))
    forget_standstill (guest);
  guest->faulted =
      !g_str_equal (status, "running") && (guest->faulted || g_str_equal (status, "io-error"));
  if (guest->state == GUEST_EXITED || guest->trouble)
    return;
  /* The words of an error that an event told are better than these. */
  if (g_str_equal (status, "io-error") && !guest->io_stopped) {
    guest_set_state (guest, GUEST_PAUSED,
                     "a disk could not be read or written; 'vmckpt continue' tries again");
    guest->io_stopped = TRUE;
  } else if (!g_str_equal (status, "io-error")) {
    guest_set_state (guest, g_str_equal (status, "running") ? GUEST_RUNNING : GUEST_PAUSED, NULL);
    guest->io_stopped = FALSE;
  }
}

gboolean
guest_refresh_state (Guest *guest, int timeout_ms, GError **error)
{
  g_autofree char *status = qmp_query_status_within (guest->qemu.monitor, timeout_ms, error);

  if (status != NULL)
    apply_status (guest, status);
  return status != NULL;
}

static void
on_status (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Guest) guest = user_data;
  QmpClient *monitor = guest->qemu.monitor;
  g_autoptr (JsonNode) answer =
      monitor != NULL ? qmp_client_execute_finish (monitor, result, NULL) : NULL;

  if (answer != NULL && JSON_NODE_HOLDS_OBJECT (answer))
    apply_status (guest, json_get_string_or (json_node_get_object (answer), "status", ""));
}

/* Whether the domain ran meanwhile is not known: a checkpoint that is being taken must not rely on
 * it, and its state is to be asked for. */
static void
note_lost_events (Guest *guest, gint64 time_us)
{
  run_clock_event (guest->clock, "STOP", time_us);
  run_clock_event (guest->clock, "RESUME", time_us);
  qmp_client_execute_async (guest->qemu.monitor, "query-status", NULL, -1, 0, NULL, on_status,
                            guest_ref (guest));
}

static void
on_event (QmpClient *monitor, const char *event, JsonObject *data, gint64 time_us,
          gpointer user_data)
{
  Guest *guest = user_data;

  if (event == NULL)
    return; /* the monitor is lost: the keeper tells why */
  run_clock_event (guest->clock, event, time_us);
  if (g_str_equal (event, EVENTS_LOST)) {
    note_lost_events (guest, time_us);
    return;
  }
  if (g_str_equal (event, "STOP")) {
    if (note_stop (guest) && guest->io_error_func != NULL)
      guest->io_error_func (guest, guest->io_error_data);
    return;
  }
  LOCK (guest);
  if (g_str_equal (event, "BLOCK_IO_ERROR") && data != NULL)
    note_io_error (guest, data);
  if (!g_str_equal (event, "RESUME"))
    return;
  forget_standstill (guest);
  if (guest->state == GUEST_EXITED || guest->state == GUEST_UNRESPONSIVE)
    return;
  guest_set_state (guest, GUEST_RUNNING, NULL);
  guest->io_stopped = FALSE;
  guest->faulted = FALSE;
}

/* On the main thread: the keeper is gone, so QEMU is, or the keeper was killed. */
static gboolean
on_keeper_gone (gpointer user_data)
{
  Guest *guest = user_data;
  KeeperState state = { 0 };
  GuestExitFunc func;
  gpointer data;

  if (keeper_read_state (guest->directory, &state, NULL) && !state.exited &&
      process_id_alive (state.qemu)) {
    LOCK (guest);
    guest_set_lost (guest, "its keeper was killed; looking for it again");
    return G_SOURCE_REMOVE;
  }
  g_autofree char *reason = keeper_state_describe (&state);
  {
    LOCK (guest);
    if (guest->state != GUEST_EXITED)
      guest_set_state (guest, GUEST_EXITED, reason);
    if (guest->qemu.monitor != NULL)
      qmp_client_close (guest->qemu.monitor);
    func = guest->exit_func;
    data = guest->exit_data;
    guest->exit_func = NULL;
  }
  if (func != NULL)
    func (guest, data);
  return G_SOURCE_REMOVE;
}

/* On the main thread, which is the home of the monitors. */
static void
listen_to_qemu (gpointer user_data)
{
  Guest *guest = user_data;

  qmp_client_set_event_func (guest->qemu.monitor, on_event, guest);
  keeper_watch (guest->qemu.keeper, on_keeper_gone, guest_ref (guest), (GDestroyNotify)guest_unref);
}

/* Without this, checkpoints take the migration stream. With the lock held. */
static void
follow_writes (Guest *guest)
{
  g_autoptr (GError) reason = NULL;

  if (guest->ram == NULL)
    return;
  guest->tracking = guest_tracking_new (guest->ram, &reason);
  if (guest->tracking != NULL)
    guest_tracking_set_keeper (guest->tracking, guest->directory);
  else
    g_message ("guest %s: %s", guest->spec->name, reason->message);
}

/* As guest_connect(); @timeout_ms: for QEMU's answer; 0: the usual. */
static gboolean
connect_qemu (Guest *guest, QemuGuest *qemu, GuestRam **ram, int timeout_ms, GError **error)
{
  const QmpGreeting *greeting = qmp_client_greeting (qemu->monitor);

  qemu_facts_confirm (guest->facts, guest->spec->qemu, greeting);
  {
    LOCK (guest);
    qemu_guest_clear (&guest->qemu);
    g_clear_pointer (&guest->tracking, guest_tracking_free);
    g_clear_pointer (&guest->ram, guest_ram_unref);
    guest->qemu = *qemu;
    guest->lost = FALSE;
    guest->ram = g_steal_pointer (ram);
    machine_recorder_free (guest->recorder);
    guest->recorder = machine_recorder_new (guest->facts);
    machine_recorder_hash_disks (guest->recorder, guest->spec);
    follow_writes (guest);
    *qemu = (QemuGuest){ 0 };
    guest->process = keeper_qemu (guest->qemu.keeper);
    g_free (guest->qemu_version);
    guest->qemu_version =
        g_strdup_printf ("%u.%u.%u", greeting->major, greeting->minor, greeting->micro);
  }
  main_call (listen_to_qemu, guest);
  if (!guest_refresh_state (guest, timeout_ms, error))
    return FALSE;
  LOCK (guest);
  guest_save_memory (guest);
  return TRUE;
}

gboolean
guest_connect (Guest *guest, QemuGuest *qemu, GuestRam **ram, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (connect_qemu (guest, qemu, ram, 0, &cause))
    return TRUE;
  /* A QEMU that waits for a page which cannot be read answers nobody: its guest is there, and is
   * told to wait. */
  if (g_error_matches (cause, QMP_ERROR, QMP_ERROR_TIMEOUT) && guest_is_in_trouble (guest)) {
    guest_note_failure (guest, cause);
    return TRUE;
  }
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* On the main thread: lets go of a QEMU that is to be found anew; it admits one client at a time.
 */
static void
let_go (gpointer user_data)
{
  Guest *guest = user_data;
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GuestTracking) tracking = NULL;
  QemuGuest qemu;

  {
    LOCK (guest);
    tracking = g_steal_pointer (&guest->tracking);
    qemu = guest->qemu;
    guest->qemu = (QemuGuest){ 0 };
    ram = g_steal_pointer (&guest->ram);
  }
  qemu_guest_clear (&qemu);
}

void
guest_load_memory (Guest *guest)
{
  LOCK (guest);
  guest_memory_load (guest->memory, guest->directory);
}

/* QEMU is told, not waited for. */
void
guest_tell_to_stop (Guest *guest)
{
  g_autoptr (QmpClient) monitor = NULL;

  {
    LOCK (guest);
    if (guest->qemu.monitor != NULL)
      monitor = qmp_client_ref (guest->qemu.monitor);
  }
  if (monitor != NULL)
    qmp_client_execute_async (monitor, "stop", NULL, -1, 0, NULL, NULL, NULL);
}

/* What an earlier daemon had put between the guest and its disks, and did not live to take away. A
 * checkpoint does so too, before it begins; but until then the guest would write through it. */
static void
recover_disks (Guest *guest, QmpClient *monitor)
{
  g_autofree char *socket = g_build_filename (guest->directory, GUEST_FILE_DISKS, NULL);
  g_autoptr (GError) error = NULL;

  if (guest->spec->disks->len > 0 && !disk_point_recover (monitor, NULL, socket, &error))
    g_warning ("guest %s: %s", guest->spec->name, error->message);
}

static gboolean
attach (Guest *guest, GuestRam **ram, QemuGuest *qemu, GError **error)
{
  if (guest->spec->driver == GUEST_DRIVER_LIBVIRT)
    return domain_attach (guest->spec, guest->directory, ram, qemu, error);
  return unit_attach (guest->spec, guest->directory, ram, qemu, error);
}

void
guest_find_again (Guest *guest)
{
  g_auto (QemuGuest) qemu = { 0 };
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GError) error = NULL;
  KeeperState state = { 0 };

  main_call (let_go, guest);
  g_autoptr (QmpClient) monitor = NULL;
  if (attach (guest, &ram, &qemu, &error) && (monitor = qmp_client_ref (qemu.monitor)) != NULL &&
      connect_qemu (guest, &qemu, &ram, FIND_TIMEOUT_MS, &error)) {
    recover_disks (guest, monitor);
    guest_judge_doubt (guest);
    /* Trouble that came when there was nobody to tell. */
    if (guest_is_in_trouble (guest))
      guest_tell_to_stop (guest);
    return;
  }
  if (keeper_read_state (guest->directory, &state, NULL) && !state.exited &&
      process_id_alive (state.qemu)) {
    LOCK (guest);
    guest->process = state.qemu;
    guest_set_lost (guest, error->message);
    return;
  }
  g_autofree char *reason = keeper_state_describe (&state);
  LOCK (guest);
  guest_set_state (guest, GUEST_EXITED, reason);
}

gboolean
guest_is_lost (Guest *guest)
{
  LOCK (guest);
  return guest->lost && guest->state != GUEST_EXITED;
}
