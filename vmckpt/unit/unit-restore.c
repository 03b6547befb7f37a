/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   rebuild   preflight, QEMU starts empty and stopped, RAM and devices are loaded
 *   resume    the guest's CPUs run
 *
 * Until the lease ends, a death of this process ends that QEMU too: there is no half-restored
 * guest.
 */
#include <vmckpt/unit/fill-source.h>
#include <vmckpt/unit/restore-disks.h>
#include <vmckpt/unit/unit.h>

#include "boot-files.h"
#include "quiesce.h"

#include <vmckpt/disk/disk-point.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/stream-engine.h>
#include <vmckpt/ram/tracked-restore.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LAST_WORDS 600

static guint64
ram_bytes (const Manifest *manifest)
{
  guint64 sum = 0;

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (manifest->parts, i);
    if (g_str_equal (part->role, "ram"))
      sum += part->map.length;
  }
  return sum;
}

/* The recorded QEMU program if it is here, else the one that PATH finds by its last name. */
static void
choose_qemu (GuestSpec *spec, const char *wanted)
{
  g_autofree char *found = NULL;

  if (wanted != NULL) {
    g_free (spec->qemu);
    spec->qemu = g_strdup (wanted);
  } else if (!g_file_test (spec->qemu, G_FILE_TEST_IS_EXECUTABLE)) {
    g_autofree char *last = g_path_get_basename (spec->qemu);
    g_free (spec->qemu);
    spec->qemu = g_steal_pointer (&last);
  }
}

/* RAM can be shared only if its block has the name that the checkpoint has its pages under, and the
 * guest's arguments do not make it, as those of guests from before shared RAM may. */
static void
choose_memory (GuestSpec *spec, const Manifest *manifest)
{
  const ManifestPart *part =
      spec->ram_id != NULL ? manifest_find_part (manifest, "ram", spec->ram_id) : NULL;

  g_autofree char *own = qemu_spec_own_memory (spec);

  if (part == NULL || part->map.length != spec->ram_bytes || own != NULL)
    spec->memory = MEMORY_PRIVATE;
}

GuestSpec *
unit_restore_spec (Store *store, const Manifest *manifest, const RestoreOptions *options,
                   GError **error)
{
  ERROR_PREFIX (error, "restoring checkpoint %.12s of guest %s", manifest->id, manifest->guest);
  JsonObject *recorded = json_get_object (manifest->machine, "spec", error);
  g_autoptr (GuestSpec) spec = recorded != NULL ? guest_spec_from_json (recorded, error) : NULL;
  const QemuPreflight preflight = { .ram_needed = ram_bytes (manifest),
                                    .accept_changed_disks = options->accept_changed_disks,
                                    .facts = options->facts };

  if (spec == NULL)
    return NULL;
  if (options->name != NULL) {
    g_free (spec->name);
    spec->name = g_strdup (options->name);
  }
  if (options->accel != NULL) {
    g_free (spec->accel);
    spec->accel = g_strdup (options->accel);
  }
  choose_qemu (spec, options->qemu);
  if (options->disks != NULL &&
      (*options->planned = restore_disks_plan (manifest, spec, options->disks, error)) == NULL)
    return NULL;
  if (!boot_files_provide (store, manifest, options->files, qemu_facts_hashes (options->facts),
                           spec, error) ||
      !qemu_preflight (manifest->machine, spec, &preflight, error))
    return NULL;
  choose_memory (spec, manifest);
  return g_steal_pointer (&spec);
}

/* The last bytes of a file as text, trimmed; NULL if there are none. */
static char *
read_tail (const char *path)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  char tail[LAST_WORDS + 1];
  off_t size = fd >= 0 ? lseek (fd, 0, SEEK_END) : -1;

  if (size <= 0 || lseek (fd, MAX (0, size - LAST_WORDS), SEEK_SET) < 0)
    return NULL;
  gssize len = fd_read_full (fd, tail, LAST_WORDS, NULL);
  return len > 0 ? g_strstrip (g_utf8_make_valid (tail, len)) : NULL;
}

/* QEMU exits when it does not like what it is given; what it said is in its log. */
static void
add_last_words (const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_STDERR, NULL);
  g_autofree char *words = NULL;

  if (error == NULL || *error == NULL || (*error)->domain == STORE_ERROR ||
      g_error_matches (*error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  words = read_tail (path);
  if (words == NULL || *words == 0)
    return;
  g_autofree char *message = g_strdup_printf ("%s; QEMU said: %s", (*error)->message, words);
  g_free ((*error)->message);
  (*error)->message = g_steal_pointer (&message);
}

gboolean
unit_discards_memory (const GuestSpec *spec)
{
  for (guint i = 0; spec->extra[i] != NULL; i++)
    if (strstr (spec->extra[i], "balloon") != NULL || strstr (spec->extra[i], "virtio-mem") != NULL)
      return TRUE;
  return spec->balloon;
}

/* While QEMU loads: a page that cannot be read ends that. A LazyFillFunc. */
static void
on_event_while_loading (LazyFillEvent event, gpointer loading)
{
  if (event == LAZY_FILL_STUCK)
    g_cancellable_cancel (loading);
}

static void
cancel_loading (GCancellable *cancellable G_GNUC_UNUSED, gpointer loading)
{
  g_cancellable_cancel (loading);
}

/* Loads devices while pages that QEMU touches are served. */
static gboolean
load_devices (const TrackedRestore *restore, GuestFill *fill, GCancellable *loading, GError **error)
{
  TrackedRestore devices = *restore;
  g_autoptr (GError) cause = NULL;
  gulong handler = 0;

  if (restore->cancellable != NULL)
    handler = g_cancellable_connect (restore->cancellable, G_CALLBACK (cancel_loading),
                                     g_object_ref (loading), g_object_unref);
  devices.cancellable = loading;
  gboolean good = tracked_restore_load (&devices, &cause);
  g_cancellable_disconnect (restore->cancellable, handler);
  if (good)
    return TRUE;
  /* What could not be read is the better reason. */
  if (lazy_fill_wait_served (guest_fill_lazy (fill), NULL, error))
    g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static void
qemu_answers_clear (UnitAnswers *answers)
{
  g_clear_pointer (&answers->unshared, g_free);
  g_clear_pointer (&answers->written, g_free);
  answers->asked = FALSE;
}

/* Questions to QEMU whose answers do not depend on the checkpoint's contents. */
static gboolean
ask_qemu (const TrackedRestore *restore, gboolean lazily, UnitAnswers *answers, GError **error)
{
  ForeignWriters writers;

  if (restore->ram == NULL || answers->asked)
    return TRUE;
  if (!tracked_restore_check (restore, &answers->unshared, error) ||
      (lazily && answers->unshared == NULL &&
       !qemu_foreign_writers (restore->monitor, &writers, &answers->written, error)))
    return FALSE;
  answers->asked = TRUE;
  return TRUE;
}

/* A page that exists already counts as the guest's, and one that others touch is made as zeros:
 * then the contents have to be there first. */
static gboolean
check_untouched (const TrackedRestore *restore, const UnitAnswers *answers, GError **error)
{
  if (answers->written == NULL && guest_ram_is_untouched (restore->ram))
    return TRUE;
  g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE, "%s",
               answers->written != NULL
                   ? answers->written
                   : "QEMU has taken all of it at its start (-overcommit mem-lock=on?)");
  return FALSE;
}

static gboolean
is_lazy (const RestoreOptions *options)
{
  return options->fill != NULL && options->fill->reading != RESTORE_EAGER;
}

/* RAM_ERROR_IMPOSSIBLE, and nothing is done, if memory cannot be filled while the guest runs. */
static gboolean
load_lazily (const TrackedRestore *restore, const GuestSpec *spec, const RestoreOptions *options,
             const UnitAnswers *answers, GuestTracking **tracking, GError **error)
{
  RestoreFill *wish = options->fill;
  g_autoptr (GCancellable) loading = g_cancellable_new();
  const GuestFillSetup setup = { .ram = restore->ram,
                                 .store = restore->store,
                                 .checkpoint = restore->manifest->id,
                                 .map = tracked_restore_part (restore)->map,
                                 .discards = unit_discards_memory (spec),
                                 .func = on_event_while_loading,
                                 .user_data = loading };

  if (!check_untouched (restore, answers, error))
    return FALSE;
  *tracking = guest_tracking_new (restore->ram, error);
  if (*tracking == NULL)
    return FALSE;
  g_autoptr (GuestFill) fill = guest_fill_begin (&setup, *tracking, error);
  if (fill == NULL || !load_devices (restore, fill, loading, error) ||
      !fill_source_write (options->directory, wish->store_path, restore->manifest->id, error))
    return FALSE;
  guest_fill_set_func (fill, wish->func, wish->user_data);
  wish->fill = g_steal_pointer (&fill);
  return TRUE;
}

static void
tell (const UnitWatcher *watcher, const char *what, const char *reason)
{
  g_autofree char *text = g_strdup_printf ("%s: %s", what, reason);

  if (watcher->message != NULL)
    watcher->message (text, watcher->user_data);
}

/* Memory that is shared is filled from here, while the guest runs or before. */
static gboolean
load_shared (const TrackedRestore *restore, const GuestSpec *spec, const RestoreOptions *options,
             const UnitAnswers *answers, const UnitWatcher *watcher, GuestTracking **tracking,
             GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (is_lazy (options)) {
    if (load_lazily (restore, spec, options, answers, tracking, &cause))
      return TRUE;
    if (options->fill->reading == RESTORE_LAZY ||
        !g_error_matches (cause, RAM_ERROR, RAM_ERROR_IMPOSSIBLE)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    tell (watcher, "all of its memory is read before it runs", cause->message);
    g_clear_pointer (tracking, guest_tracking_free);
  }
  return tracked_restore_fill (restore, error) &&
         (*tracking = tracked_restore_protect (restore, error)) != NULL &&
         tracked_restore_load (restore, error);
}

/* Other memory is filled by QEMU from a stream. */
static gboolean
load_memory (const TrackedRestore *restore, const GuestSpec *spec, const RestoreOptions *options,
             UnitAnswers *answers, const UnitWatcher *watcher, GuestTracking **tracking,
             GError **error)
{
  if (!ask_qemu (restore, is_lazy (options), answers, error))
    return FALSE;
  const char *reason = answers->unshared;
  if (restore->ram != NULL && reason == NULL)
    return load_shared (restore, spec, options, answers, watcher, tracking, error);
  if (options->fill != NULL && options->fill->reading == RESTORE_LAZY) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                 "its memory cannot be read while it runs: %s",
                 reason != NULL ? reason : "it is QEMU's own, not a file that is shared");
    return FALSE;
  }
  if (reason != NULL)
    tell (watcher, "loaded through QEMU's migration stream", reason);
  return stream_engine_restore (restore->monitor, restore->stream, restore->store,
                                restore->manifest, restore->progress, restore->cancellable, error);
}

static gboolean
has_captured_disk (const GuestSpec *spec)
{
  for (guint i = 0; i < spec->disks->len; i++)
    if (((const GuestDisk *)spec->disks->pdata[i])->mode == DISK_CAPTURE)
      return TRUE;
  return FALSE;
}

gboolean
unit_track_disks (QmpClient *monitor, const GuestSpec *spec, GError **error)
{
  if (!has_captured_disk (spec))
    return TRUE;
  g_autoptr (GPtrArray) drives = disk_find (monitor, error);
  if (drives == NULL)
    return FALSE;
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    const GuestDrive *drive =
        disk->mode == DISK_CAPTURE ? disk_find_drive (drives, disk->name) : NULL;
    if (drive != NULL && drive->node != NULL && !drive->read_only &&
        !disk_point_track (monitor, drive, error))
      return FALSE;
  }
  return TRUE;
}

/* All is loaded: it may run. */
static gboolean
let_run (QmpClient *monitor, KeeperLease *lease, const RestoreOptions *options, GError **error)
{
  if (options->decide != NULL)
    return options->decide (monitor, lease, options->decide_data, error);
  return (options->paused || qmp_cont (monitor, error)) && keeper_lease_end (lease, error);
}

static TrackedRestore
restore_of (Store *store, const Manifest *manifest, GuestRam *ram, const QemuGuest *guest)
{
  return (TrackedRestore){ .monitor = guest->monitor,
                           .ram = ram,
                           .directory = keeper_directory (guest->keeper),
                           .store = store,
                           .manifest = manifest };
}

static gboolean
load (Store *store, const Manifest *manifest, const GuestSpec *spec, const RestoreOptions *options,
      UnitWaiting *former, GuestRam *ram, QemuGuest *guest, const UnitWatcher *watcher,
      double *phase_ms, GError **error)
{
  TrackedRestore restore = restore_of (store, manifest, ram, guest);
  g_autoptr (GuestTracking) tracking = NULL;
  g_autoptr (KeeperFreeze) freeze = NULL; /* its end has the keeper thaw the guest */
  gint64 began_us = g_get_monotonic_time();

  restore.stream = former->stream;
  restore.progress = watcher->progress;
  restore.cancellable = watcher->cancellable;
  if (!load_memory (&restore, spec, options, &former->answers, watcher, &tracking, error))
    return FALSE;
  phase_ms[PHASE_REBUILD] += (g_get_monotonic_time() - began_us) / 1000.0;
  began_us = g_get_monotonic_time();
  progress_report (watcher->progress, PHASE_RESUME, 0, 0);
  if (options->disks != NULL && !unit_track_disks (guest->monitor, spec, error))
    return FALSE;
  if (options->before_run != NULL && !options->before_run (options->before_run_data, error))
    return FALSE;
  if (!quiesce_take_over (manifest, spec, keeper_directory (guest->keeper), &freeze, error) ||
      !let_run (guest->monitor, former->lease, options, error))
    return FALSE;
  phase_ms[PHASE_RESUME] = (g_get_monotonic_time() - began_us) / 1000.0;
  return fault_visit (FAULT_FILL_RUNNING, error);
}

static void
unit_waiting_clear (UnitWaiting *waiting)
{
  g_clear_pointer (&waiting->lease, keeper_lease_free);
  qemu_guest_clear (&waiting->qemu);
  g_clear_pointer (&waiting->ram, guest_ram_unref);
  g_clear_pointer (&waiting->stream, restore_stream_free);
  qemu_answers_clear (&waiting->answers);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (UnitWaiting, unit_waiting_clear)

void
unit_waiting_end (UnitWaiting *waiting, const char *directory)
{
  if (waiting->qemu.monitor == NULL)
    return;
  qemu_end (directory, waiting->qemu.monitor, NULL);
  unit_waiting_clear (waiting);
  qemu_remove_directory (directory);
}

gboolean
unit_restore_wait (const GuestSpec *spec, const RestoreOptions *options, UnitWaiting *waiting,
                   GError **error)
{
  gint64 began_us = g_get_monotonic_time();

  if (!unit_start (spec, options->directory, TRUE, &waiting->ram, &waiting->qemu, error))
    return FALSE;
  waiting->start_ms = (g_get_monotonic_time() - began_us) / 1000.0;
  qemu_facts_confirm (options->facts, spec->qemu, qmp_client_greeting (waiting->qemu.monitor));
  waiting->lease = keeper_lease_restore (waiting->qemu.keeper, error);
  if (waiting->lease != NULL)
    return TRUE;
  unit_waiting_end (waiting, options->directory);
  return FALSE;
}

gboolean
unit_restore_warm (Store *store, const Manifest *manifest, const RestoreOptions *options,
                   UnitWaiting *waiting, GError **error)
{
  const TrackedRestore restore = restore_of (store, manifest, waiting->ram, &waiting->qemu);

  if (!ask_qemu (&restore, is_lazy (options), &waiting->answers, error))
    return FALSE;
  gboolean shared = waiting->ram != NULL && waiting->answers.unshared == NULL;
  waiting->stream = restore_stream_open (waiting->qemu.monitor,
                                         shared ? guest_ram_block (waiting->ram) : NULL, error);
  return waiting->stream != NULL;
}

gboolean
unit_restore_into (Store *store, const Manifest *manifest, const GuestSpec *spec,
                   const RestoreOptions *options, const UnitWatcher *watcher, UnitWaiting *waiting,
                   GuestRam **ram, QemuGuest *guest, double *phase_ms, GError **error)
{
  g_auto (UnitWaiting) former = *waiting;

  *waiting = (UnitWaiting){ 0 };
  phase_ms[PHASE_REBUILD] = former.start_ms;
  *ram = g_steal_pointer (&former.ram);
  *guest = former.qemu;
  former.qemu = (QemuGuest){ 0 };
  if (load (store, manifest, spec, options, &former, *ram, guest, watcher, phase_ms, error))
    return TRUE;
  if (options->fill != NULL)
    g_clear_pointer (&options->fill->fill, guest_fill_unref);
  qemu_end (options->directory, guest->monitor, NULL);
  add_last_words (options->directory, error);
  qemu_guest_clear (guest);
  g_clear_pointer (ram, guest_ram_unref);
  qemu_remove_directory (options->directory);
  return FALSE;
}

gboolean
unit_restore (Store *store, const Manifest *manifest, const GuestSpec *spec,
              const RestoreOptions *options, const UnitWatcher *watcher, GuestRam **ram,
              QemuGuest *guest, double *phase_ms, GError **error)
{
  ERROR_PREFIX (error, "restoring checkpoint %.12s of guest %s", manifest->id, manifest->guest);
  UnitWaiting waiting = { .ram = g_steal_pointer (ram) };

  progress_report (watcher->progress, PHASE_REBUILD, 0, 0);
  if (unit_restore_wait (spec, options, &waiting, error))
    return unit_restore_into (store, manifest, spec, options, watcher, &waiting, ram, guest,
                              phase_ms, error);
  g_clear_pointer (&waiting.ram, guest_ram_unref);
  return FALSE;
}
