/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit-disks.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/util/fault.h>

DiskCapture *
unit_disks_new (const Unit *unit, const CaptureContext *context)
{
  const GPtrArray *disks = unit->spec->disks;
  g_autofree DiskWanted *wanted = g_new0 (DiskWanted, disks->len + 1);
  g_autofree char *socket = g_build_filename (unit->directory, GUEST_FILE_DISKS, NULL);
  guint count = 0;

  for (guint i = 0; i < disks->len; i++) {
    const GuestDisk *disk = g_ptr_array_index (disks, i);
    if (disk->mode == DISK_CAPTURE && disk->path != NULL)
      wanted[count++] =
          (DiskWanted){ disk->name, disk->device != NULL ? disk->device : disk->name };
  }
  const DiskCaptureContext capture = { .monitor = context->monitor,
                                       .socket = socket,
                                       .temporary = unit->temporary,
                                       .writer = context->writer,
                                       .store = context->store,
                                       .base = unit->disk_base,
                                       .parent = context->parent,
                                       .progress = context->progress,
                                       .cancellable = context->cancellable,
                                       .message = context->message,
                                       .message_data = context->message_data };
  return count > 0 ? disk_capture_new (&capture, wanted, count) : NULL;
}

gboolean
unit_disks_copy (DiskCapture *disks, Manifest *manifest, CaptureReport *report, GError **error)
{
  gint64 began_us = g_get_monotonic_time();

  if (disks == NULL)
    return TRUE;
  gboolean ok = disk_capture_copy (disks, manifest, error);
  report->phase_ms[PHASE_STORE] += (g_get_monotonic_time() - began_us) / 1000.0;
  return ok;
}

static gboolean
record_base (const Unit *unit, Store *store, const Manifest *manifest, GError **error)
{
  g_autoptr (DiskBase) base = disk_base_new (store_id (store), manifest->id);

  return unit->set_disk_base (base, unit->set_disk_base_data, error);
}

void
unit_disks_settle (const Unit *unit, DiskCapture *disks, Store *store, const Manifest *manifest,
                   const CaptureContext *context, gboolean committed)
{
  g_autoptr (GError) error = NULL;

  if (disks == NULL)
    return;
  gboolean recorded = committed && record_base (unit, store, manifest, &error) &&
                      fault_visit (FAULT_DISK_BASE, &error);
  if (committed && !recorded && context->message != NULL) {
    g_autofree char *text = g_strdup_printf (
        "the next checkpoint reads more of the disks than it had to: %s", error->message);
    context->message (text, context->message_data);
  }
  disk_capture_finish (disks, recorded);
}

void
unit_disks_rename (const Unit *unit, Store *former_store, const Manifest *former, Store *store,
                   const Manifest *manifest)
{
  if (disk_base_is (unit->disk_base, store_id (former_store), former->id))
    record_base (unit, store, manifest, NULL); /* else the former one stays, which is as true */
}
