/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/guest-tracking.h>

#include "dirty-tracker.h"

#include <vmckpt/ram/capture.h>
#include <vmckpt/util/error.h>

struct _GuestTracking {
  GuestRam *ram;
  DirtyLog *log;
  DirtyTracker *tracker;
  gboolean doubt;
};

gboolean
guest_tracking_check_environment (GError **error)
{
  const char *copy = g_getenv ("VMCKPT_COPY_BEFORE_WRITE");
  TrackMode mode;
  gboolean tracked;

  if (copy != NULL && *copy != '\0' && !g_str_equal (copy, "always")) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                 "VMCKPT_COPY_BEFORE_WRITE is '%s'; it may be always", copy);
    return FALSE;
  }
  return track_mode_wanted (&mode, &tracked, error);
}

GuestTracking *
guest_tracking_new (GuestRam *ram, GError **error)
{
  ERROR_PREFIX (error, "following what the guest writes is not possible");
  g_autoptr (GuestTracking) tracking = g_new0 (GuestTracking, 1);

  tracking->ram = guest_ram_ref (ram);
  if (guest_ram_is_copy (ram)) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "its memory is a copy on write of another's, private to QEMU");
    return NULL;
  }
  tracking->log = dirty_log_open (guest_ram_log_fd (ram), guest_ram_bytes (ram), error);
  if (tracking->log == NULL)
    return NULL;
  tracking->doubt = dirty_log_recover (tracking->log);

  TrackedMemory memory = { .pid = guest_ram_process (ram).pid,
                           .address = guest_ram_address (ram),
                           .bytes = guest_ram_bytes (ram),
                           .memory = guest_ram_fd (ram),
                           .pagemap = guest_ram_pagemap_fd (ram),
                           .uffd_async = guest_ram_uffd_async (ram),
                           .uffd_sync = guest_ram_uffd_sync (ram) };
  tracking->tracker = dirty_tracker_new (&memory, tracking->log);
  return g_steal_pointer (&tracking);
}

void
guest_tracking_free (GuestTracking *tracking)
{
  if (tracking == NULL)
    return;
  g_clear_pointer (&tracking->tracker, dirty_tracker_free);
  g_clear_pointer (&tracking->log, dirty_log_free);
  guest_ram_unref (tracking->ram);
  g_free (tracking);
}

void
guest_tracking_set_keeper (GuestTracking *tracking, const char *directory)
{
  dirty_tracker_set_keeper (tracking->tracker, directory);
}

gboolean
guest_tracking_take_doubt (GuestTracking *tracking)
{
  gboolean doubt = tracking->doubt;

  tracking->doubt = FALSE;
  return doubt;
}

gboolean
guest_tracking_base (GuestTracking *tracking, const char **store, const char **id)
{
  return dirty_log_base (tracking->log, store, id);
}

GuestRam *
guest_tracking_ram (GuestTracking *tracking)
{
  return tracking->ram;
}

DirtyLog *
guest_tracking_log (GuestTracking *tracking)
{
  return tracking->log;
}

DirtyTracker *
guest_tracking_tracker (GuestTracking *tracking)
{
  return tracking->tracker;
}
