/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   prepare   parent, machine record, boot files      ┐ the guest runs
 *   stop      ┐                                        │
 *   capture   ├ the engine: RAM, devices, disks held   │ paused only here
 *   resume    ┘                                        │
 *   store     pages to packs, disks read, index        ┘ the guest runs
 *   commit    manifest, last
 */
#include <vmckpt/unit/unit.h>

#include "boot-files.h"
#include "engine.h"
#include "quiesce.h"
#include "report.h"
#include "same-parts.h"
#include "unit-disks.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/error.h>

static const CaptureMode capture_modes[] = {
  [CHECKPOINT_LIVE] = CAPTURE_LIVE,
  [CHECKPOINT_STOP] = CAPTURE_STOP,
  [CHECKPOINT_SUSPEND] = CAPTURE_STOP_KEEP,
};

/* What is to be told the user, and kept in the report. */
typedef struct {
  const UnitWatcher *watcher;
  JsonArray *list;
} Messages;

static void
on_message (const char *text, gpointer user_data)
{
  const Messages *messages = user_data;

  json_array_add_string_element (messages->list, text);
  if (messages->watcher->message != NULL)
    messages->watcher->message (text, messages->watcher->user_data);
}

/* Which checkpoint the guest descends from, as far as is known: the one that its writes are known
 * relative to says so for sure. */
static const char *
parent_hint (const Unit *unit, Store *store, const CheckpointOptions *options)
{
  const char *base_store, *base;

  if (unit->tracking != NULL && guest_tracking_base (unit->tracking, &base_store, &base) &&
      g_str_equal (base_store, store_id (store)))
    return base;
  return options->parent;
}

/*
 * The checkpoint to compare with: the one that the guest descends from, if this store has it, else
 * the guest's newest here. It only saves work, so anything wrong with it means doing without.
 */
static Manifest *
find_parent (Store *store, const GuestSpec *spec, const char *hint)
{
  g_autoptr (Manifest) parent = hint != NULL ? store_manifest_load (store, hint, NULL) : NULL;

  if (parent == NULL) {
    g_autoptr (GPtrArray) all = store_manifest_list (store, spec->name, NULL, NULL);
    for (guint i = all != NULL ? all->len : 0; i > 0 && parent == NULL; i--) {
      Manifest *one = g_ptr_array_index (all, i - 1);
      if (g_strcmp0 (one->guest_uuid, spec->uuid) == 0)
        parent = store_manifest_load (store, one->id, NULL);
    }
  }
  return g_steal_pointer (&parent);
}

static void
describe (Manifest *manifest, const Unit *unit, const Manifest *parent,
          const CheckpointOptions *options)
{
  static const char *const modes[] = { "live", "stop", "suspend" };

  manifest->parent = parent != NULL ? g_strdup (parent->id) : NULL;
  manifest->guest = g_strdup (unit->spec->name);
  manifest->guest_uuid = g_strdup (unit->spec->uuid);
  manifest->host = g_strdup (unit->host);
  manifest->mode = g_strdup (modes[options->hold != NULL ? CHECKPOINT_STOP : options->mode]);
  manifest->tag = g_strdup (options->tag);
  manifest->note = g_strdup (options->note);
}

/* Everything is stored and the guest runs again (or waits to be powered off): make it a checkpoint.
 * @disks: (nullable)
 */
static gboolean
commit (Manifest *manifest, StoreWriter *writer, const CaptureReport *capture,
        const DiskCapture *disks, JsonArray *messages, gint64 began_us, const UnitWatcher *watcher,
        GError **error)
{
  const GPtrArray *of_disks = disks != NULL ? disk_capture_reports (disks) : NULL;
  gint64 commit_began_us = g_get_monotonic_time();
  StoreWriterStats stats;

  progress_report (watcher->progress, PHASE_COMMIT, 0, 0);
  if (!store_writer_flush (writer, watcher->cancellable, error))
    return FALSE;
  store_writer_stats (writer, &stats);
  manifest->created_us = capture->instant_us;
  manifest->report =
      report_new (manifest, capture, of_disks, &stats, messages, began_us, commit_began_us);
  return store_writer_commit (writer, manifest, watcher->cancellable, error);
}

/* For store_writer_on_commit(). */
typedef struct {
  const CheckpointOptions *options;
  const Manifest *manifest;
} Committed;

static void
tell_committed (gpointer data)
{
  const Committed *committed = data;

  if (committed->options->committed != NULL)
    committed->options->committed (committed->manifest, committed->options->committed_data);
}

/* What is done around the pause. */
typedef struct {
  const Unit *unit;
  Quiesce *quiesce; /* (nullable) */
} Surroundings;

static gboolean
before_stop (gpointer user_data, GError **error)
{
  const Surroundings *surroundings = user_data;

  if (surroundings->quiesce != NULL && !quiesce_freeze (surroundings->quiesce, error))
    return FALSE;
  engine_flush_images (surroundings->unit);
  return TRUE;
}

static void
after_resume (gpointer user_data)
{
  const Surroundings *surroundings = user_data;

  if (surroundings->quiesce != NULL)
    quiesce_thaw (surroundings->quiesce);
}

/* The guest runs, and its memory is read: it is to be thawed by now. */
static void
finish_quiesce (Quiesce *quiesce, const CaptureContext *context, Manifest *manifest,
                CaptureReport *report)
{
  g_autoptr (GError) error = NULL;

  if (quiesce == NULL)
    return;
  if (!quiesce_finish (quiesce, &error))
    context->message (error->message, context->message_data);
  report->frozen_ms = quiesce_frozen_ms (quiesce);
  quiesce_record (manifest->machine);
}

/* Everything at the instant; the disks are to be read. */
static gboolean
capture (const Unit *unit, CaptureContext *context, DiskCapture *disks,
         const CheckpointOptions *options, const FormerCheckpoint *former, Manifest *manifest,
         KeeperLease **lease, CaptureReport *report, gint64 began_us, GError **error)
{
  if (former->manifest != NULL)
    return same_parts_capture (former, context, manifest, report, error);
  manifest->machine = machine_recorder_record (unit->recorder, unit->spec, unit->monitor, error);
  if (manifest->machine != NULL && unit->libvirt != NULL)
    json_object_set_object_member (manifest->machine, "libvirt", json_object_ref (unit->libvirt));
  if (manifest->machine == NULL ||
      !boot_files_store (context->writer, unit->spec, context->parent, manifest, error))
    return FALSE;
  report->phase_ms[PHASE_PREPARE] = (g_get_monotonic_time() - began_us) / 1000.0;
  return engine_capture (unit, context, disks, options->engine, capture_modes[options->mode],
                         manifest, lease, report, error);
}

/* Of a guest that stands still, the machine is that of its former checkpoint. */
static void
record_power (Manifest *manifest, const CheckpointOptions *options)
{
  json_object_remove_member (manifest->machine, UNIT_MEMBER_POWER);
  if (options->power != NULL)
    json_object_set_object_member (manifest->machine, UNIT_MEMBER_POWER,
                                   json_object_ref (options->power));
}

static void
settle (const Unit *unit, const FormerCheckpoint *former, DiskCapture *disks,
        const CaptureContext *context, const Manifest *manifest, gboolean committed)
{
  if (former->manifest == NULL) {
    engine_settle (unit, context->store, manifest, committed);
    unit_disks_settle (unit, disks, context->store, manifest, context, committed);
  } else if (committed) {
    same_parts_settle (unit, former, context->store, manifest);
    unit_disks_rename (unit, former->store, former->manifest, context->store, manifest);
  }
}

gboolean
unit_release_hold (const Unit *unit, KeeperLease *lease, gboolean was_running, GError **error)
{
  return (!was_running || qmp_cont (unit->monitor, error)) &&
         (lease == NULL || keeper_lease_end (lease, error));
}

/* A suspend that was not committed: the guest is as it was. @lease: (nullable). */
static void
take_suspend_back (const Unit *unit, const CaptureReport *report, KeeperLease *lease)
{
  if ((!report->was_running || qmp_cont (unit->monitor, NULL)) && lease != NULL)
    keeper_lease_end (lease, NULL);
}

static gboolean
end_guest (const Unit *unit, GError **error)
{
  return unit->end != NULL ? unit->end (unit->end_data, error)
                           : qemu_end (unit->directory, unit->monitor, error);
}

static gboolean
power_off (const Unit *unit, const Manifest *manifest, KeeperLease *lease, GError **error)
{
  /* Else what it did since would be lost, and its disks not be the checkpoint's. */
  if (!same_parts_check_still (unit, error) || !end_guest (unit, error)) {
    g_prefix_error (error,
                    "checkpoint %s exists, but the guest cannot be powered off: ", manifest->id);
    return FALSE;
  }
  if (lease != NULL)
    keeper_lease_end (lease, NULL);
  return TRUE;
}

/* The one whose parts are taken over, if it is here, else as find_parent(). */
static Manifest *
choose_parent (const Unit *unit, Store *store, const CheckpointOptions *options,
               const FormerCheckpoint *former)
{
  const char *hint = former->manifest != NULL && former->store == store
                         ? former->manifest->id
                         : parent_hint (unit, store, options);

  return find_parent (store, unit->spec, hint);
}

Manifest *
unit_checkpoint (const Unit *unit, Store *store, const CheckpointOptions *options,
                 const UnitWatcher *watcher, GError **error)
{
  ERROR_PREFIX (error, "checkpoint of guest %s", unit->spec->name);
  gint64 began_us = g_get_monotonic_time();
  g_autoptr (Manifest) manifest = manifest_new();
  g_auto (FormerCheckpoint) former = { 0 };
  g_autoptr (Manifest) parent = NULL;
  g_autoptr (StoreWriter) writer = NULL;
  g_autoptr (KeeperLease) lease = NULL;
  g_autoptr (JsonArray) messages = json_array_new();
  g_autoptr (DiskCapture) disks = NULL;
  g_auto (CaptureReport) report = { 0 };
  g_autoptr (Quiesce) quiesce = NULL;
  Messages listener = { watcher, messages };

  progress_report (watcher->progress, PHASE_PREPARE, 0, 0);
  if (!former_checkpoint_find (unit, store, options, watcher, &former, error))
    return NULL;
  if (options->quiesce_ms > 0 &&
      (quiesce = quiesce_new (unit, options->quiesce_ms, watcher->cancellable, error)) == NULL)
    return NULL;
  writer = store_writer_begin (store, error);
  if (writer == NULL || !store_writer_enforce_quota (writer, unit->spec->name, error))
    return NULL;
  Committed committing = { options, manifest };
  store_writer_on_commit (writer, tell_committed, &committing);
  parent = choose_parent (unit, store, options, &former);
  describe (manifest, unit, parent, options);
  Surroundings surroundings = { unit, quiesce };
  CaptureContext context = { .monitor = unit->monitor,
                             .keeper = unit->keeper,
                             .clock = unit->clock,
                             .writer = writer,
                             .parent = parent,
                             .store = store,
                             .before_stop = before_stop,
                             .after_resume = after_resume,
                             .before_stop_data = &surroundings,
                             .until_durable = options->hold != NULL,
                             .progress = watcher->progress,
                             .cancellable = watcher->cancellable,
                             .message = on_message,
                             .message_data = &listener };
  if (former.manifest == NULL)
    disks = unit_disks_new (unit, &context);
  if (!capture (unit, &context, disks, options, &former, manifest, &lease, &report, began_us,
                error)) {
    unit_disks_settle (unit, disks, store, manifest, &context, FALSE);
    return NULL;
  }
  record_power (manifest, options);
  if (options->mode != CHECKPOINT_SUSPEND && lease != NULL)
    keeper_lease_end (lease, NULL); /* the guest runs: a keeper that is gone changes nothing */
  finish_quiesce (quiesce, &context, manifest, &report);
  gboolean committed =
      unit_disks_copy (disks, manifest, &report, error) &&
      commit (manifest, writer, &report, disks, messages, began_us, watcher, error);
  settle (unit, &former, disks, &context, manifest, committed);
  if (!committed && options->mode == CHECKPOINT_SUSPEND)
    take_suspend_back (unit, &report, lease);
  if (committed && options->hold != NULL)
    *options->hold = g_steal_pointer (&lease);
  else if (!committed ||
           (options->mode == CHECKPOINT_SUSPEND && !power_off (unit, manifest, lease, error)))
    return NULL;
  return g_steal_pointer (&manifest);
}
