/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-copy.h"

#include <vmckpt/ram/guest-fill.h>
#include <vmckpt/store/page-map.h>
#include <vmckpt/util/fault.h>

#include <string.h>

/* The store gets pages in pieces of that many: often enough to be cancelled and to show progress.
 */
#define PIECE_PAGES (8u << 20 >> 12)
/* Memory that is made ready beyond what the last pages are expected to take. */
#define SPARE_PAGES (4u << 20 >> 12)

static guint64
to_bytes (guint64 pages)
{
  return pages * PAGE_SIZE_BYTES;
}

static double
seconds_since (gint64 began_us)
{
  return MAX (g_get_monotonic_time() - began_us, 1) / (double)G_USEC_PER_SEC;
}

void
page_copy_clear (PageCopy *copy)
{
  if (copy->held != NULL)
    lazy_fill_release (guest_fill_lazy (copy->held));
  copy->held = NULL;
  g_clear_pointer (&copy->behind, copy_before_write_free);
  g_clear_pointer (&copy->map, page_map_writer_free);
  g_clear_pointer (&copy->buffer, page_buffer_free);
  g_clear_pointer (&copy->pages, page_bitmap_free);
}

/* ---- the base ---- */

/* The map of the parent's RAM, if it is as long as the guest's. */
static const PageMap *
parent_map (const PageCopy *copy)
{
  const Manifest *parent = copy->session->context->parent;
  const ManifestPart *part =
      parent != NULL ? manifest_find_part (parent, "ram", copy->block) : NULL;

  return part != NULL && part->map.length == copy->bytes ? &part->map : NULL;
}

/* Why checkpoint @id, relative to which writes are known, is not the parent. */
static const char *
missing_base_reason (const CaptureContext *context, const char *id)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (Manifest) manifest = store_manifest_load (context->store, id, &cause);

  return g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND)
             ? "its last checkpoint was removed"
             : "its last checkpoint cannot be read";
}

/* Whether the log tells what was written since the parent, and if not, why. */
static gboolean
parent_is_base (const PageCopy *copy, const char **why_not)
{
  const CaptureContext *context = copy->session->context;
  const char *store, *id;

  *why_not = "this is its first tracked checkpoint";
  if (guest_tracking_take_doubt (context->tracking))
    *why_not = "the daemon died while it asked for them";
  if (!dirty_log_base (copy->log, &store, &id))
    return FALSE;
  *why_not = "its last checkpoint is in another store";
  if (!g_str_equal (store, store_id (context->store)))
    return FALSE;
  if (g_strcmp0 (context->parent != NULL ? context->parent->id : NULL, id) != 0) {
    *why_not = missing_base_reason (context, id);
    return FALSE;
  }
  *why_not = "its last checkpoint has memory of another size";
  return parent_map (copy) != NULL;
}

static void
choose_base (PageCopy *copy)
{
  const char *why_not;

  copy->base = parent_map (copy);
  copy->known = parent_is_base (copy, &why_not);
  /* Of a guest's first checkpoint here nobody expects anything else. */
  if (copy->known || copy->session->context->parent == NULL)
    return;
  g_autofree char *text = g_strdup_printf (
      "all memory is read%s; what the guest wrote since its last checkpoint is not known: %s",
      copy->base != NULL ? " and compared" : "", why_not);
  capture_message (copy->session, text);
}

/* A PageDiffFunc: notes the pages that the base does not have as zeros. */
static gboolean
note_content (guint64 page, const ChunkName *a, const ChunkName *b, gpointer user_data)
{
  page_bitmap_set (user_data, page);
  return TRUE;
}

/* What the base has and the guest does not even have a page for is zeros now. */
static gboolean
put_zeros (PageCopy *copy, GError **error)
{
  g_autoptr (PageBitmap) zeros = page_bitmap_new (copy->pages->pages);
  PageMap nothing = { .length = copy->bytes };

  if (!page_map_diff (copy->session->context->store, &nothing, copy->base, note_content, zeros,
                      error))
    return FALSE;
  page_bitmap_subtract (zeros, copy->pages);
  for (guint64 first = 0, end; page_bitmap_next_run (zeros, &first, &end); first = end)
    for (guint64 page = first; page < end; page++)
      if (!page_map_writer_put (copy->map, page, NULL, error))
        return FALSE;
  return TRUE;
}

/* Of a guest whose memory is still being filled, pages to be copied must be there; those that are
 * not written are in the base. */
static gboolean
bring_pages (PageCopy *copy, GError **error)
{
  GuestFill *fill = copy->session->context->fill;

  for (guint64 first = 0, end; fill != NULL && page_bitmap_next_run (copy->pages, &first, &end);
       first = end)
    if (!lazy_fill_bring (guest_fill_lazy (fill), first, end - first, error))
      return FALSE;
  return TRUE;
}

/* Adds to the pages to be copied what was written since this was called last. */
static gboolean
collect (PageCopy *copy, GError **error)
{
  copy->collected_us = g_get_monotonic_time();
  return dirty_tracker_collect (copy->tracker, copy->pages, error) && bring_pages (copy, error);
}

/* All of the memory is to be read: it has to be there. */
static gboolean
wait_for_memory (PageCopy *copy, GError **error)
{
  const CaptureContext *context = copy->session->context;
  g_auto (LazyFillStatus) status = { 0 };

  if (context->fill == NULL)
    return TRUE;
  lazy_fill_status (guest_fill_lazy (context->fill), &status);
  if (status.complete)
    return TRUE;
  capture_message (copy->session, "first waits until all of the guest's memory is there");
  guest_fill_run (context->fill);
  return lazy_fill_wait (guest_fill_lazy (context->fill), context->progress, context->cancellable,
                         error);
}

/* Pages can be asked for only while all of the memory stays registered; the last step of a fill
 * changes that. */
static void
hold_memory (PageCopy *copy)
{
  GuestFill *fill = copy->session->context->fill;
  g_auto (LazyFillStatus) status = { 0 };

  if (fill == NULL || !copy->known)
    return;
  lazy_fill_hold (guest_fill_lazy (fill));
  lazy_fill_status (guest_fill_lazy (fill), &status);
  if (status.complete)
    lazy_fill_release (guest_fill_lazy (fill));
  else
    copy->held = fill;
}

/* The first pages to copy. */
static gboolean
find_pages (PageCopy *copy, GError **error)
{
  copy->collected_us = g_get_monotonic_time();
  if (!copy->known)
    return wait_for_memory (copy, error) &&
           dirty_tracker_populated (copy->tracker, copy->pages, error) &&
           (copy->base == NULL || put_zeros (copy, error));
  if (dirty_tracker_is_live (copy->tracker) && !collect (copy, error))
    return FALSE;
  dirty_log_read_written (copy->log, copy->pages);
  return bring_pages (copy, error);
}

/* The new map, on top of the base if that is still there. */
static PageMapWriter *
open_map (PageCopy *copy, GError **error)
{
  StoreWriter *writer = copy->session->context->writer;
  g_autoptr (GError) gone = NULL;
  PageMapWriter *map = page_map_writer_new (writer, copy->bytes, copy->base, &gone);

  if (map != NULL)
    return map;
  if (!g_error_matches (gone, STORE_ERROR, STORE_ERROR_NOT_FOUND)) {
    g_propagate_error (error, g_steal_pointer (&gone));
    return NULL;
  }
  capture_message (copy->session, "all memory is read: the last checkpoint was removed meanwhile");
  copy->base = NULL;
  copy->known = FALSE;
  return page_map_writer_new (writer, copy->bytes, NULL, error);
}

/* Comparing contents is what the stream engine does, too, and that without a long pause. */
static gboolean
begin_tracking (PageCopy *copy, GError **error)
{
  GuestRam *ram = guest_tracking_ram (copy->session->context->tracking);
  const char *reason = guest_ram_untracked_reason (ram);
  gboolean tracked;

  if (!track_mode_wanted (&copy->wanted, &tracked, error))
    return FALSE;
  if (!tracked) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "its writes are not to be tracked (VMCKPT_TRACK)");
    return FALSE;
  }
  /* Another way of tracking registers the memory anew: pages would not be missing any more. */
  if (copy->wanted != TRACK_NONE && copy->wanted != TRACK_ASYNC && !wait_for_memory (copy, error))
    return FALSE;
  if (!dirty_tracker_begin (copy->tracker, copy->wanted, FALSE, error))
    return FALSE;
  if (copy->wanted == TRACK_COMPARE || dirty_tracker_mode (copy->tracker) != TRACK_COMPARE)
    return TRUE;
  g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE, "its writes cannot be tracked: %s",
               reason != NULL ? reason : "the kernel has no way to ('vmckpt doctor' says more)");
  return FALSE;
}

gboolean
page_copy_begin (PageCopy *copy, CaptureSession *session, GError **error)
{
  const CaptureContext *context = session->context;
  GuestRam *ram = guest_tracking_ram (context->tracking);

  *copy = (PageCopy){ .session = session,
                      .log = guest_tracking_log (context->tracking),
                      .tracker = guest_tracking_tracker (context->tracking),
                      .bytes = guest_ram_bytes (ram),
                      .block = guest_ram_block (ram) };
  dirty_tracker_set_keeper (copy->tracker, keeper_directory (context->keeper));
  if (!begin_tracking (copy, error))
    return FALSE;
  session->report->tracking.mode = track_mode_name (dirty_tracker_mode (copy->tracker));
  choose_base (copy);
  copy->map = open_map (copy, error);
  if (copy->map == NULL)
    return FALSE;
  hold_memory (copy);
  copy->buffer = page_buffer_new (guest_ram_fd (ram), guest_ram_pages (ram),
                                  ROUNDS_BUFFER_BYTES / PAGE_SIZE_BYTES, error);
  copy->pages = page_bitmap_new (guest_ram_pages (ram));
  return copy->buffer != NULL && find_pages (copy, error);
}

/* ---- copying ---- */

static void
note_rate (double *rate, guint64 bytes, gint64 began_us)
{
  if (bytes >= 1 << 20) /* less says nothing */
    *rate = bytes / seconds_since (began_us);
}

/* Copies all pages that were found into memory, where there must be room. */
static gboolean
copy_to_memory (PageCopy *copy, guint64 count, GError **error)
{
  gint64 began_us = g_get_monotonic_time();
  guint64 at = 0;

  if (!page_buffer_copy (copy->buffer, copy->pages, &at, G_MAXUINT64, error))
    return FALSE;
  note_rate (&copy->rates.memory_rate, to_bytes (count), began_us);
  return TRUE;
}

/* Copies all pages that were found, and what waits in memory before them, into the store. */
static gboolean
copy_to_store (PageCopy *copy, guint64 count, GError **error)
{
  const CaptureContext *context = copy->session->context;
  gint64 began_us = g_get_monotonic_time();
  guint64 done = 0;

  if (!page_buffer_flush (copy->buffer, copy->map, error))
    return FALSE;
  for (guint64 at = 0; at < copy->pages->pages;) {
    if (g_cancellable_set_error_if_cancelled (context->cancellable, error) ||
        !page_buffer_copy (copy->buffer, copy->pages, &at, PIECE_PAGES, error))
      return FALSE;
    done += page_buffer_used (copy->buffer);
    if (page_buffer_used (copy->buffer) == 0)
      break;
    if (!page_buffer_flush (copy->buffer, copy->map, error))
      return FALSE;
    progress_report (context->progress, copy->session->phase, to_bytes (done), to_bytes (count));
  }
  note_rate (&copy->rates.store_rate, to_bytes (count), began_us);
  return TRUE;
}

/* Copies what was found, as decided. */
static gboolean
make_round (PageCopy *copy, RoundStep step, guint64 count, GError **error)
{
  if (step == ROUND_TO_STORE)
    return copy_to_store (copy, count, error) &&
           (!copy->rates.until_durable || page_map_writer_flush (copy->map, error)) &&
           fault_visit (FAULT_PAGES_COPIED, error);
  page_buffer_reserve (copy->buffer, count);
  return copy_to_memory (copy, count, error) && fault_visit (FAULT_PAGES_COPIED, error);
}

/* What the guest wrote since it was asked last; its rate. */
static gboolean
collect_anew (PageCopy *copy, GError **error)
{
  gint64 before_us = copy->collected_us;

  page_bitmap_clear_all (copy->pages);
  if (!collect (copy, error))
    return FALSE;
  copy->rates.write_rate = to_bytes (page_bitmap_count (copy->pages)) / seconds_since (before_us);
  return TRUE;
}

gboolean
page_copy_rounds (PageCopy *copy, gboolean behind, RoundsDecision *last, GError **error)
{
  CaptureTracking *report = &copy->session->report->tracking;
  GCancellable *cancellable = copy->session->context->cancellable;

  /* That, too, registers the memory anew. */
  copy->rates.copy_before_write =
      behind && copy->held == NULL && dirty_tracker_can_copy_before_write (copy->tracker);
  copy->forced = copy->rates.copy_before_write &&
                 g_strcmp0 (g_getenv ("VMCKPT_COPY_BEFORE_WRITE"), "always") == 0;
  copy->rates.until_durable = copy->session->context->until_durable;
  for (;;) {
    guint64 count = page_bitmap_count (copy->pages);
    copy->rates.found_bytes = to_bytes (count);
    copy->rates.buffered_bytes = to_bytes (page_buffer_used (copy->buffer));
    *last = rounds_decide (&copy->rates);
    if (copy->forced)
      *last = (RoundsDecision){ ROUND_STOP_COPY_BEFORE_WRITE, ROUNDS_FORCED, 0 };
    /* Of a guest that must be stopped to be asked, one round is all that can be made. */
    if (!dirty_tracker_is_live (copy->tracker) && last->step == ROUND_TO_MEMORY)
      last->step = ROUND_LAST;
    if (last->step == ROUND_STOP || last->step == ROUND_STOP_COPY_BEFORE_WRITE)
      break;
    if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
        !make_round (copy, last->step, count, error))
      return FALSE;
    copy->rates.rounds++;
    copy->rates.former_bytes = copy->rates.found_bytes;
    report->live_bytes += to_bytes (count);
    page_bitmap_clear_all (copy->pages);
    if (last->step == ROUND_LAST || !dirty_tracker_is_live (copy->tracker))
      break;
    if (!collect_anew (copy, error))
      return FALSE;
  }
  /* What would come after these pages must not be put before them. */
  if (last->step != ROUND_LAST && !page_buffer_flush (copy->buffer, copy->map, error))
    return FALSE;
  report->rounds = copy->rates.rounds;
  report->stop_reason = rounds_reason_text (last->reason);
  report->write_rate = copy->rates.write_rate;
  report->copy_rate =
      copy->rates.memory_rate > 0 ? copy->rates.memory_rate : copy->rates.store_rate;
  page_buffer_reserve (copy->buffer, 4 * last->rest_bytes / PAGE_SIZE_BYTES + SPARE_PAGES);
  return TRUE;
}

/* Too many pages for memory: the guest goes on, and they are copied before it writes to them. */
static gboolean
copy_behind (PageCopy *copy)
{
  g_autoptr (GError) reason = NULL;

  copy->behind = dirty_tracker_copy_before_write (copy->tracker, copy->pages, &reason);
  if (copy->behind == NULL)
    capture_message (copy->session, reason->message);
  return copy->behind != NULL;
}

gboolean
page_copy_last (PageCopy *copy, GError **error)
{
  CaptureTracking *report = &copy->session->report->tracking;

  if (!collect (copy, error) || !fault_visit (FAULT_WRITES_COLLECTED, error))
    return FALSE;
  guint64 count = page_bitmap_count (copy->pages);
  gboolean fits = count <= page_buffer_room (copy->buffer) && !copy->forced;
  if (!fits && copy->rates.copy_before_write && copy_behind (copy)) {
    report->behind_bytes = to_bytes (count);
    return TRUE;
  }
  report->paused_bytes = to_bytes (count);
  if (!(fits ? copy_to_memory (copy, count, error) : copy_to_store (copy, count, error)))
    return FALSE;
  /* After a copy before write, faults were served by this process. */
  if (copy->wanted == TRACK_NONE && dirty_tracker_mode (copy->tracker) == TRACK_SYNC)
    dirty_tracker_settle (copy->tracker);
  return TRUE;
}

/* A PageFunc. */
static gboolean
put_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  PageCopy *copy = user_data;

  return fault_visit (FAULT_BEFORE_WRITE, error) &&
         page_map_writer_put (copy->map, page, data, error);
}

/* Says what came of copying behind the guest. */
static void
report_behind (PageCopy *copy)
{
  CaptureTracking *report = &copy->session->report->tracking;
  CopyBeforeWriteStats stats = copy_before_write_stats (copy->behind);
  g_autofree char *text = g_strdup_printf (
      "%" G_GUINT64_FORMAT " MiB were copied while the guest ran on, each page before it was "
      "written (%s): %" G_GUINT64_FORMAT " pages because the guest was about to write there; it "
      "waited %" G_GINT64_FORMAT " ms for room for them",
      to_bytes (stats.pages) >> 20, report->stop_reason, stats.copied_faults, stats.wait_us / 1000);

  report->waits = stats.waits;
  capture_message (copy->session, text);
}

gboolean
page_copy_finish (PageCopy *copy, GError **error)
{
  if (!page_buffer_flush (copy->buffer, copy->map, error))
    return FALSE;
  if (copy->behind == NULL)
    return TRUE;
  gboolean good = copy_before_write_drain (copy->behind, put_page, copy,
                                           copy->session->context->cancellable, error);
  if (good)
    report_behind (copy);
  g_clear_pointer (&copy->behind, copy_before_write_free);
  return good;
}
