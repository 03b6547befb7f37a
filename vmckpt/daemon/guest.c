/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest.h"

#include "api-error.h"
#include "guest-memory.h"
#include "main-call.h"

#include <vmckpt/disk/disk-point.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

/* A QEMU that has taken a connection may stand still right after that. */
#define FIND_TIMEOUT_MS 5000
/* So long may it take to look for a QEMU: it and its keeper have 5 s for each answer. */
#define FINDING_WAIT_SECONDS 20

#define BRIEF_WORK_US (30 * G_USEC_PER_SEC)
#define CANCEL_CHECK_US (200 * 1000)

struct _Guest {
  gatomicrefcount refs;
  char *directory;
  char *host;
  RunClock *clock;
  QemuFacts *facts; /* borrowed */
  /* Everything below is guarded by the lock. */
  GMutex lock;
  GuestSpec *spec;
  GPtrArray *former; /* specs that it had before, which others may still look at */
  QemuGuest qemu;
  MachineRecorder *recorder; /* (nullable) of that QEMU; used by whoever is at work */
  GuestRam *ram;             /* (nullable): not replaced while something is at work */
  GuestTracking *tracking;   /* (nullable): of @ram; likewise */
  GuestFill *fill;           /* (nullable): of @ram; likewise */
  gboolean trouble;          /* paused since pages cannot be had, as @reason says */
  gboolean lost;             /* its QEMU does not answer, and is to be found again */
  ProcessId process;
  GuestState state;
  char *reason;
  const char *work;
  gboolean brief;      /* that work takes a moment */
  char *io_error;      /* (nullable): the last one that stopped the guest, in words */
  gboolean io_stopped; /* by that */
  GuestIoErrorFunc io_error_func;
  gpointer io_error_data;
  GCond idle; /* work has become NULL */
  char *qemu_version;
  GuestMemory *memory;
  gboolean removed; /* its directory is gone and must not come back */
  GuestExitFunc exit_func;
  gpointer exit_data;
};

#define LOCK(guest)                                                                                \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(guest)->lock)

Guest *
guest_new (const Runtime *runtime, const GuestSpec *spec, GuestState state)
{
  Guest *guest = g_new0 (Guest, 1);

  g_atomic_ref_count_init (&guest->refs);
  g_mutex_init (&guest->lock);
  g_cond_init (&guest->idle);
  guest->spec = guest_spec_copy (spec);
  guest->former = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_spec_free);
  guest->directory = runtime_guest_directory (runtime, spec->name);
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

/* With the lock held. Work that ends late must not bring a removed guest's file back. */
static void
save_memory (Guest *guest)
{
  g_autoptr (GError) error = NULL;

  if (!guest->removed && !guest_memory_save (guest->memory, guest->directory, &error))
    g_warning ("cannot remember guest state: %s", error->message);
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

/* ---- What QEMU tells ---- */

/* With the lock held. */
static void
set_state (Guest *guest, GuestState state, const char *reason)
{
  guest->state = state;
  guest->trouble = FALSE;
  g_free (guest->reason);
  guest->reason = g_strdup (reason);
}

/* Its QEMU is to be found again. Trouble stays what the user is told: a QEMU that waits for a page
 * cannot answer. With the lock held. */
static void
set_lost (Guest *guest, const char *reason)
{
  guest->lost = TRUE;
  if (!guest->trouble)
    set_state (guest, GUEST_UNRESPONSIVE, reason);
}

/* The guest runs, or did. With the lock held. */
static void
forget_standstill (Guest *guest)
{
  if (guest->memory->standstill == NULL)
    return;
  g_clear_pointer (&guest->memory->standstill, standstill_free);
  save_memory (guest);
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
  set_state (guest, GUEST_PAUSED, reason);
  guest->io_stopped = reason != NULL;
  return guest->io_stopped;
}

static void
on_event (QmpClient *monitor, const char *event, JsonObject *data, gint64 time_us,
          gpointer user_data)
{
  Guest *guest = user_data;

  if (event == NULL)
    return; /* the monitor is lost: the keeper tells why */
  run_clock_event (guest->clock, event, time_us);
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
  set_state (guest, GUEST_RUNNING, NULL);
  guest->io_stopped = FALSE;
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
    set_lost (guest, "its keeper was killed; looking for it again");
    return G_SOURCE_REMOVE;
  }
  g_autofree char *reason = keeper_state_describe (&state);
  {
    LOCK (guest);
    if (guest->state != GUEST_EXITED)
      set_state (guest, GUEST_EXITED, reason);
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

/* Asks QEMU for its state, which no event told since nobody listened before. */
static gboolean
refresh_state (Guest *guest, int timeout_ms, GError **error)
{
  g_autofree char *status = qmp_query_status_within (guest->qemu.monitor, timeout_ms, error);

  if (status == NULL)
    return FALSE;
  LOCK (guest);
  if (!g_str_equal (status, "postmigrate"))
    forget_standstill (guest);
  if (guest->state == GUEST_EXITED || guest->trouble)
    return TRUE;
  /* The words of an error that an event told are better than these. */
  if (g_str_equal (status, "io-error") && !guest->io_stopped) {
    set_state (guest, GUEST_PAUSED,
               "a disk could not be read or written; 'vmckpt continue' tries again");
    guest->io_stopped = TRUE;
  } else if (!g_str_equal (status, "io-error")) {
    set_state (guest, g_str_equal (status, "running") ? GUEST_RUNNING : GUEST_PAUSED, NULL);
    guest->io_stopped = FALSE;
  }
  return TRUE;
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
  if (!refresh_state (guest, timeout_ms, error))
    return FALSE;
  LOCK (guest);
  save_memory (guest);
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
static void
tell_to_stop (Guest *guest)
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

void
guest_find_again (Guest *guest)
{
  g_auto (QemuGuest) qemu = { 0 };
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GError) error = NULL;
  KeeperState state = { 0 };

  main_call (let_go, guest);
  g_autoptr (QmpClient) monitor = NULL;
  if (unit_attach (guest->spec, guest->directory, &ram, &qemu, &error) &&
      (monitor = qmp_client_ref (qemu.monitor)) != NULL &&
      connect_qemu (guest, &qemu, &ram, FIND_TIMEOUT_MS, &error)) {
    recover_disks (guest, monitor);
    /* Trouble that came when there was nobody to tell. */
    if (guest_is_in_trouble (guest))
      tell_to_stop (guest);
    return;
  }
  if (keeper_read_state (guest->directory, &state, NULL) && !state.exited &&
      process_id_alive (state.qemu)) {
    LOCK (guest);
    guest->process = state.qemu;
    set_lost (guest, error->message);
    return;
  }
  g_autofree char *reason = keeper_state_describe (&state);
  LOCK (guest);
  set_state (guest, GUEST_EXITED, reason);
}

gboolean
guest_is_lost (Guest *guest)
{
  LOCK (guest);
  return guest->lost && guest->state != GUEST_EXITED;
}

/* ---- Memory that is not there yet ---- */

GuestRam *
guest_ram (Guest *guest)
{
  LOCK (guest);
  return guest->ram;
}

GuestRam *
guest_find_ram (Guest *guest)
{
  KeeperState state = { 0 };

  {
    LOCK (guest);
    if (guest->state == GUEST_EXITED)
      return NULL;
    if (guest->ram != NULL)
      return guest_ram_ref (guest->ram);
  }
  if (!qemu_spec_shares_memory (guest->spec) || guest->spec->ram_id == NULL ||
      !keeper_read_state (guest->directory, &state, NULL) || state.exited ||
      !process_id_alive (state.qemu))
    return NULL;
  return guest_ram_find (state.qemu, guest->spec->ram_id, NULL);
}

/* Borrowed: of a guest that somebody is at work on, or from the fill's own callback. */
static GuestFill *
own_fill (Guest *guest)
{
  LOCK (guest);
  return guest->fill;
}

GuestFill *
guest_get_fill (Guest *guest)
{
  LOCK (guest);
  return guest->fill != NULL ? guest_fill_ref (guest->fill) : NULL;
}

void
guest_set_fill (Guest *guest, GuestFill *fill)
{
  g_auto (LazyFillStatus) status = { 0 };

  {
    LOCK (guest);
    g_return_if_fail (guest->fill == NULL);
    guest->fill = fill;
  }
  /* What it told before the guest knew it. */
  lazy_fill_status (guest_fill_lazy (fill), &status);
  if (status.stuck)
    guest_note_fill (guest, LAZY_FILL_STUCK);
}

gboolean
guest_run_fill (Guest *guest)
{
  LOCK (guest);
  return guest->fill != NULL && guest_fill_run (guest->fill);
}

void
guest_note_fill (Guest *guest, LazyFillEvent event)
{
  g_autoptr (GError) reason = NULL;
  GuestFill *fill = own_fill (guest);

  if (event == LAZY_FILL_STUCK && fill != NULL &&
      !lazy_fill_check_served (guest_fill_lazy (fill), &reason))
    guest_set_trouble (guest, reason);
}

void
guest_set_trouble (Guest *guest, const GError *reason)
{
  {
    LOCK (guest);
    if (guest->state == GUEST_EXITED)
      return;
    set_state (guest, GUEST_PAUSED, reason->message);
    guest->trouble = TRUE;
  }
  tell_to_stop (guest);
}

void
guest_clear_trouble (Guest *guest)
{
  LOCK (guest);
  guest->trouble = FALSE;
}

gboolean
guest_is_in_trouble (Guest *guest)
{
  LOCK (guest);
  return guest->trouble;
}

gboolean
guest_check_memory (Guest *guest, GError **error)
{
  LOCK (guest);
  if (guest->trouble)
    g_set_error_literal (error, API_ERROR, API_FAILED, guest->reason);
  return !guest->trouble;
}

gboolean
guest_needs_checkpoint (Guest *guest, const char *store_id, const char *checkpoint)
{
  g_autofree char *source_store = NULL;
  g_autofree char *source = NULL;
  g_autoptr (GuestRam) ram = guest_find_ram (guest);

  return ram != NULL && guest_fill_is_wanted (ram, &source_store, &source, NULL) &&
         g_str_equal (source_store, store_id) && g_str_equal (source, checkpoint);
}

/* With the lock: how much of its memory is there; only while some is missing. */
static void
describe_fill (Guest *guest, JsonObject *object)
{
  g_auto (LazyFillStatus) status = { .complete = TRUE };

  if (guest->fill != NULL)
    lazy_fill_status (guest_fill_lazy (guest->fill), &status);
  if (guest->state != GUEST_EXITED && !status.complete)
    json_object_set_int_member (object, "filled_bytes",
                                (gint64)(status.present * GUEST_RAM_PAGE_BYTES));
  else
    json_object_set_null_member (object, "filled_bytes");
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
  json_object_set_string_member (object, "state",
                                 here && saved ? "checkpointing" : state_names[guest->state]);
  json_set_string_or_null (object, "reason", guest->reason);
  json_object_set_int_member (object, "pid", guest->state == GUEST_EXITED ? 0 : guest->process.pid);
  json_object_set_int_member (object, "ram_bytes", spec->ram_bytes);
  describe_fill (guest, object);
  json_object_set_int_member (object, "cpus", spec->cpus);
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

  if (monitor == NULL || !guest_check_memory (guest, error))
    return FALSE;
  return noted (guest, qmp_cont (monitor, error) && refresh_state (guest, 0, error), error);
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

  return monitor != NULL &&
         noted (guest, qmp_stop (monitor, error) && refresh_state (guest, 0, error), error);
}

void
guest_note_failure (Guest *guest, const GError *error)
{
  if (!g_error_matches (error, QMP_ERROR, QMP_ERROR_TIMEOUT) &&
      !g_error_matches (error, RAM_ERROR, RAM_ERROR_STALLED))
    return;
  LOCK (guest);
  if (guest->state == GUEST_RUNNING || guest->state == GUEST_PAUSED)
    set_lost (guest, "its QEMU does not answer");
}

gboolean
guest_kill (Guest *guest, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (guest, NULL);

  if (guest_state (guest) == GUEST_EXITED)
    return TRUE;
  if (!qemu_end (guest->directory, monitor, error))
    return FALSE;
  guest_set_exited (guest, "killed");
  return TRUE;
}

void
guest_set_exited (Guest *guest, const char *reason)
{
  LOCK (guest);
  set_state (guest, GUEST_EXITED, reason);
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
  return TRUE;
}

/* ---- What is remembered over a restart of the daemon ---- */

char *
guest_checkpoint (Guest *guest)
{
  LOCK (guest);
  return g_strdup (guest->memory->checkpoint);
}

void
guest_set_checkpoint (Guest *guest, const char *id)
{
  LOCK (guest);
  g_free (guest->memory->checkpoint);
  guest->memory->checkpoint = g_strdup (id);
  save_memory (guest);
}

DiskBase *
guest_disk_base (Guest *guest)
{
  LOCK (guest);
  const DiskBase *base = guest->memory->disk_base;
  return base != NULL ? disk_base_new (base->store, base->checkpoint) : NULL;
}

gboolean
guest_set_disk_base (Guest *guest, const DiskBase *base, GError **error)
{
  LOCK (guest);
  DiskBase *former = guest->memory->disk_base;

  guest->memory->disk_base = disk_base_new (base->store, base->checkpoint);
  if (guest->removed || guest_memory_save (guest->memory, guest->directory, error)) {
    disk_base_free (former);
    return TRUE;
  }
  disk_base_free (guest->memory->disk_base);
  guest->memory->disk_base = former;
  return FALSE;
}

Standstill *
guest_standstill (Guest *guest)
{
  LOCK (guest);
  return guest->memory->standstill != NULL ? standstill_copy (guest->memory->standstill) : NULL;
}

void
guest_set_standstill (Guest *guest, Standstill *standstill)
{
  LOCK (guest);
  standstill_free (guest->memory->standstill);
  guest->memory->standstill = standstill;
  save_memory (guest);
}

GStrv
guest_claims (Guest *guest)
{
  LOCK (guest);
  return guest_memory_claims (guest->memory);
}

void
guest_add_claim (Guest *guest, const char *store_path)
{
  LOCK (guest);
  guest_memory_add_claim (guest->memory, store_path);
  save_memory (guest);
}

void
guest_clear_claims (Guest *guest)
{
  LOCK (guest);
  g_ptr_array_set_size (guest->memory->claims, 0);
  save_memory (guest);
}

/* ---- Exclusive work ---- */

/* With the lock held, and nothing at work. */
static GuestWork *
begin (Guest *guest, const char *what, gboolean brief)
{
  GuestWork *work = g_new0 (GuestWork, 1);

  guest->work = what;
  guest->brief = brief;
  work->guest = guest_ref (guest);
  return work;
}

/* With the lock held. */
static GuestWork *
begin_work (Guest *guest, const char *what, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + BRIEF_WORK_US;

  while (guest->work != NULL && guest->brief &&
         g_cond_wait_until (&guest->idle, &guest->lock, deadline))
    ;
  if (guest->work != NULL) {
    g_set_error (error, API_ERROR, API_CONFLICT, "guest %s is busy: %s is at work on it",
                 guest->spec->name, guest->work);
    return NULL;
  }
  return begin (guest, what, FALSE);
}

GuestWork *
guest_begin_work (Guest *guest, const char *what, GError **error)
{
  LOCK (guest);
  return begin_work (guest, what, error);
}

GuestWork *
guest_begin_work_when_found (Guest *guest, const char *what, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + FINDING_WAIT_SECONDS * G_TIME_SPAN_SECOND;
  LOCK (guest);

  while (g_strcmp0 (guest->work, GUEST_WORK_FINDING) == 0 &&
         g_cond_wait_until (&guest->idle, &guest->lock, deadline))
    ;
  return begin_work (guest, what, error);
}

GuestWork *
guest_begin_brief_work (Guest *guest, const char *what, GCancellable *cancellable)
{
  LOCK (guest);

  while (guest->work != NULL && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait_until (&guest->idle, &guest->lock, g_get_monotonic_time() + CANCEL_CHECK_US);
  return guest->work == NULL ? begin (guest, what, TRUE) : NULL;
}

GuestWork *
guest_wait_for_work (Guest *guest, const char *what, int timeout_ms, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;

  {
    LOCK (guest);
    while (guest->work != NULL && g_cond_wait_until (&guest->idle, &guest->lock, deadline))
      ;
  }
  return guest_begin_work (guest, what, error);
}

gboolean
guest_is_busy (Guest *guest)
{
  LOCK (guest);
  return guest->work != NULL;
}

void
guest_end_work (GuestWork *work)
{
  {
    LOCK (work->guest);
    work->guest->work = NULL;
    g_cond_broadcast (&work->guest->idle);
  }
  guest_unref (work->guest);
  g_free (work);
}
