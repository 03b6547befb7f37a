/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine.h"

#include <vmckpt/drivers/disk-mark.h>
#include <vmckpt/qmp/migration-settings.h>
#include <vmckpt/ram/stream-engine.h>
#include <vmckpt/ram/tracked-engine.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <unistd.h>

void
engine_flush_images (const Unit *unit)
{
  for (guint i = 0; i < unit->spec->disks->len; i++) {
    const GuestDisk *disk = g_ptr_array_index (unit->spec->disks, i);
    if (disk->mode == DISK_READONLY || disk->path == NULL || disk->storage == DISK_STORAGE_NBD)
      continue;
    g_auto (AutoFd) fd = open (disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
      (void)!fdatasync (fd);
  }
}

/*
 * Neither engine sees writes that go past QEMU while the guest runs: then it has to stand still
 * while all of its memory is read. FALSE with @error if even that does not help.
 */
static gboolean
allow_for_foreign_writers (const Unit *unit, const CaptureContext *context,
                           CheckpointEngine *engine, CaptureMode *mode, GError **error)
{
  const char *reason;
  ForeignWriters writers = machine_recorder_writers (unit->recorder, &reason);

  if (writers == WRITERS_NONE)
    return TRUE;
  if (writers == WRITERS_FREE || *engine == CHECKPOINT_ENGINE_TRACKED) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE, reason);
    return FALSE;
  }
  g_autofree char *text =
      g_strdup_printf ("the guest is paused while all of its memory is read: %s", reason);
  if (context->message != NULL)
    context->message (text, context->message_data);
  *engine = CHECKPOINT_ENGINE_STREAM;
  if (*mode == CAPTURE_LIVE)
    *mode = CAPTURE_STOP;
  return TRUE;
}

static void
tell (const CaptureContext *context, const char *text)
{
  if (context->message != NULL)
    context->message (text, context->message_data);
}

static void
tell_fallback (const CaptureContext *context, const char *reason)
{
  g_autofree char *text =
      g_strdup_printf ("all memory goes through the migration stream: %s", reason);

  tell (context, text);
}

/* The stream would wait for missing memory page by page. */
static gboolean
wait_for_memory (const Unit *unit, const CaptureContext *context, GError **error)
{
  g_auto (LazyFillStatus) status = { 0 };

  if (unit->fill == NULL)
    return TRUE;
  lazy_fill_status (guest_fill_lazy (unit->fill), &status);
  if (status.complete)
    return TRUE;
  tell (context, "first waits until all of the guest's memory is there");
  guest_fill_run (unit->fill);
  return lazy_fill_wait (guest_fill_lazy (unit->fill), context->progress, context->cancellable,
                         error);
}

/* Why there is nothing that could follow the guest's writes. */
static const char *
untracked_reason (const Unit *unit)
{
  if (unit->spec->driver == GUEST_DRIVER_LIBVIRT && unit->spec->memory == MEMORY_PRIVATE)
    return "its memory is QEMU's own; 'vmckpt prepare' shows what changes that";
  if (unit->spec->memory == MEMORY_PRIVATE)
    return "its memory is QEMU's own (it was run with --memory private)";
  if (unit->ram == NULL)
    return "its memory is not shared";
  if (guest_ram_is_copy (unit->ram))
    return "its memory is a copy on write of a checkpoint's, which QEMU alone sees";
  return "the log of its writes cannot be used";
}

/* What of the disks belongs to the instant. */
typedef struct {
  const GuestSpec *spec;
  DiskCapture *disks;  /* (nullable): those that are captured */
  JsonObject *machine; /* gets the marks of those that are shared */
} Instant;

static gboolean
hold_disks (gpointer user_data, GError **error)
{
  const Instant *instant = user_data;

  return (instant->disks == NULL || disk_capture_instant (instant->disks, error)) &&
         disk_marks_record (instant->spec, instant->machine, error);
}

static gboolean
has_shared_disk (const GuestSpec *spec)
{
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = g_ptr_array_index (spec->disks, i);
    if (disk->mode == DISK_SHARED)
      return TRUE;
  }
  return FALSE;
}

/* Whatever can be done before the instant; anew for a second engine. */
static gboolean
prepare_disks (CaptureContext *context, Instant *instant, GError **error)
{
  if (instant->disks == NULL && !has_shared_disk (instant->spec))
    return TRUE;
  context->at_instant = hold_disks;
  context->at_instant_data = instant;
  return instant->disks == NULL || disk_capture_prepare (instant->disks, error);
}

static gboolean
capture_tracked (const Unit *unit, CaptureContext *context, Instant *instant, CaptureMode mode,
                 Manifest *manifest, KeeperLease **lease, CaptureReport *report, GError **error)
{
  if (unit->tracking == NULL) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                 "what the guest writes cannot be known: %s", untracked_reason (unit));
    return FALSE;
  }
  context->tracking = unit->tracking;
  context->fill = unit->fill;
  manifest->engine = g_strdup ("tracked");
  if (prepare_disks (context, instant, error) &&
      tracked_engine_capture (context, mode, manifest, lease, report, error))
    return TRUE;
  g_clear_pointer (&manifest->engine, g_free);
  report->tracking = (CaptureTracking){ 0 };
  return FALSE;
}

static gboolean
capture (const Unit *unit, CaptureContext *context, DiskCapture *disks, CheckpointEngine engine,
         CaptureMode mode, Manifest *manifest, KeeperLease **lease, CaptureReport *report,
         GError **error)
{
  Instant instant = { unit->spec, disks, manifest->machine };
  g_autoptr (GError) reason = NULL;

  if (!allow_for_foreign_writers (unit, context, &engine, &mode, error))
    return FALSE;
  if (engine != CHECKPOINT_ENGINE_STREAM) {
    if (capture_tracked (unit, context, &instant, mode, manifest, lease, report, &reason))
      return TRUE;
    if (engine == CHECKPOINT_ENGINE_TRACKED ||
        !g_error_matches (reason, RAM_ERROR, RAM_ERROR_IMPOSSIBLE)) {
      g_propagate_error (error, g_steal_pointer (&reason));
      return FALSE;
    }
    /* Whoever asked for private memory knows. */
    if (unit->spec->memory != MEMORY_PRIVATE)
      tell_fallback (context, reason->message);
  }
  manifest->engine = g_strdup ("stream");
  return wait_for_memory (unit, context, error) && prepare_disks (context, &instant, error) &&
         stream_engine_capture (context, mode, manifest, lease, report, error);
}

gboolean
engine_capture (const Unit *unit, CaptureContext *context, DiskCapture *disks,
                CheckpointEngine engine, CaptureMode mode, Manifest *manifest, KeeperLease **lease,
                CaptureReport *report, GError **error)
{
  g_autofree char *kept = g_build_filename (unit->directory, GUEST_FILE_MIGRATION, NULL);
  g_autoptr (GError) cause = NULL;

  if (unit->spec->driver == GUEST_DRIVER_QEMU)
    return capture (unit, context, disks, engine, mode, manifest, lease, report, error);
  /* libvirt has set them as it needs them. */
  if (!qmp_migration_keep (unit->monitor, kept, error))
    return FALSE;
  gboolean done = capture (unit, context, disks, engine, mode, manifest, lease, report, error);
  if (!qmp_migration_put_back (unit->monitor, kept, &cause))
    tell (context, cause->message);
  return done;
}

void
engine_settle (const Unit *unit, Store *store, const Manifest *manifest, gboolean committed)
{
  if (!g_str_equal (manifest->engine, "tracked"))
    return;
  if (committed)
    tracked_engine_commit (unit->tracking, store_id (store), manifest->id);
  else
    tracked_engine_rollback (unit->tracking);
}
