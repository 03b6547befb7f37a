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

/* ---- A guest that goes to another host ---- */

#define ARRIVED_STORE "migration" /* no store has such an id */

/* The ranges of @pages, with gaps of up to @gap pages between them taken along; NULL if these are
 * more than @most. */
static GArray *
list_ranges (const PageBitmap *pages, guint64 gap, guint most)
{
  g_autoptr (GArray) ranges = g_array_new (FALSE, FALSE, sizeof (guint64));

  for (guint64 first = 0, end; page_bitmap_next_run (pages, &first, &end); first = end) {
    guint64 *last = ranges->len > 0 ? &g_array_index (ranges, guint64, ranges->len - 1) : NULL;
    if (last != NULL && first - *last <= gap) {
      *last = end;
      continue;
    }
    if (ranges->len / 2 >= most)
      return NULL;
    g_array_append_val (ranges, first);
    g_array_append_val (ranges, end);
  }
  return g_steal_pointer (&ranges);
}

GArray *
guest_tracking_written (GuestTracking *tracking, guint most, GError **error)
{
  ERROR_PREFIX (error, "listing what the guest wrote");
  g_autoptr (PageBitmap) written = page_bitmap_new (dirty_log_pages (tracking->log));
  const char *store, *id;
  GArray *ranges = NULL;

  if (!dirty_log_base (tracking->log, &store, &id)) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "nobody knows since which checkpoint");
    return NULL;
  }
  if (!dirty_tracker_collect (tracking->tracker, NULL, error))
    return NULL;
  dirty_log_read_written (tracking->log, written);
  for (guint64 gap = 0; ranges == NULL; gap = 2 * gap + 1)
    ranges = list_ranges (written, gap, MAX (most, 1));
  return ranges;
}

gboolean
guest_tracking_begin_arrived (GuestTracking *tracking, const char *name, GError **error)
{
  dirty_log_set_base (tracking->log, ARRIVED_STORE, name);
  return dirty_tracker_begin (tracking->tracker, TRACK_NONE, TRUE, error);
}

gboolean
guest_tracking_accept (GuestTracking *tracking, const char *name, const char *store,
                       const char *checkpoint, const GArray *ranges, GError **error)
{
  ERROR_PREFIX (error, "what the guest wrote before");
  const guint64 *pages = (const guint64 *)(gconstpointer)ranges->data;
  const char *base_store, *base_id;

  if (!dirty_log_base (tracking->log, &base_store, &base_id) ||
      !g_str_equal (base_store, ARRIVED_STORE) || !g_str_equal (base_id, name)) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "what it has written since it came is not known");
    return FALSE;
  }
  for (guint i = 0; i < ranges->len; i++)
    if (ranges->len % 2 != 0 || pages[i] > dirty_log_pages (tracking->log) ||
        (i > 0 && pages[i] < pages[i - 1])) {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                           "these are no ranges of its pages");
      return FALSE;
    }
  for (guint i = 0; i < ranges->len; i += 2)
    dirty_log_add (tracking->log, pages[i], pages[i + 1]);
  dirty_log_rename_base (tracking->log, store, checkpoint);
  return TRUE;
}

guint64
guest_tracking_estimate (GuestTracking *tracking, const char *store)
{
  guint64 all = guest_ram_used_bytes (tracking->ram);
  const char *base_store, *base;

  if (!dirty_log_base (tracking->log, &base_store, &base) || !g_str_equal (base_store, store) ||
      !dirty_tracker_is_live (tracking->tracker))
    return all;
  g_autoptr (PageBitmap) written = page_bitmap_new (dirty_log_pages (tracking->log));
  if (!dirty_tracker_collect (tracking->tracker, NULL, NULL))
    return all;
  dirty_log_read_written (tracking->log, written);
  return page_bitmap_count (written) * GUEST_RAM_PAGE_BYTES;
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
