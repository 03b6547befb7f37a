/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/tracked-restore.h>

#include "dirty-tracker.h"
#include "stream-restore.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

const ManifestPart *
tracked_restore_part (const TrackedRestore *restore)
{
  const ManifestPart *part =
      manifest_find_part (restore->manifest, "ram", guest_ram_block (restore->ram));

  return part != NULL && part->map.length == guest_ram_bytes (restore->ram) ? part : NULL;
}

gboolean
tracked_restore_check (const TrackedRestore *restore, char **reason, GError **error)
{
  g_autofree char *other = NULL;

  *reason = NULL;
  if (tracked_restore_part (restore) == NULL)
    *reason = g_strdup_printf ("the checkpoint has no RAM block %s of this size",
                               guest_ram_block (restore->ram));
  else if (!qmp_find_shared_memory (restore->monitor, guest_ram_block (restore->ram), &other,
                                    error))
    return FALSE;
  /* QEMU would leave out its pages too, and compare its address, which checkpoints do not tell. */
  else if (other != NULL)
    *reason = g_strdup_printf ("the guest has other shared memory, %s", other);
  return TRUE;
}

/* Reading is told as what it is a part of. */
static void
on_read (Phase phase G_GNUC_UNUSED, guint64 done, guint64 total, gpointer user_data)
{
  progress_report (user_data, PHASE_REBUILD, done, total);
}

gboolean
tracked_restore_fill (const TrackedRestore *restore, GError **error)
{
  ERROR_PREFIX (error, "filling RAM block %s", guest_ram_block (restore->ram));
  const ManifestPart *part = tracked_restore_part (restore);
  const Progress reading = { on_read, (gpointer)restore->progress };
  g_autoptr (PageMapReader) map = page_map_reader_new (restore->store, &part->map, error);

  return map != NULL &&
         page_map_reader_write_file (map, guest_ram_fd (restore->ram), &reading,
                                     restore->cancellable, error) &&
         fault_visit (FAULT_RESTORE_MIDDLE, error);
}

GuestTracking *
tracked_restore_protect (const TrackedRestore *restore, GError **error)
{
  g_autoptr (GuestTracking) tracking = guest_tracking_new (restore->ram, error);

  if (tracking == NULL)
    return NULL;
  if (restore->directory != NULL)
    dirty_tracker_set_keeper (guest_tracking_tracker (tracking), restore->directory);
  dirty_log_set_base (guest_tracking_log (tracking), store_id (restore->store),
                      restore->manifest->id);
  if (!dirty_tracker_begin (guest_tracking_tracker (tracking), TRACK_NONE, TRUE, error))
    return NULL;
  return g_steal_pointer (&tracking);
}

gboolean
tracked_restore_load (const TrackedRestore *restore, GError **error)
{
  return stream_restore_feed (restore->monitor, restore->stream, restore->store, restore->manifest,
                              guest_ram_block (restore->ram), restore->progress,
                              restore->cancellable, error);
}
