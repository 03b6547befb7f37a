/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capture of a guest whose memory QEMU shares.
 *
 *   prepare   lease, capability, pipe; base; rounds of copying; memory for the last pages   guest
 *                                                                                           runs
 *   stop      QMP stop                                                                      ┐
 *   capture   ┌ thread: last scan ─ last pages into memory ┐                                │ the
 *             └ QMP migrate ─ device state until its end   ┘ ─ the log is turned            │ pause
 *   disks     whatever else belongs to the instant
 *   resume    QMP cont                                                                      ┘
 *   store     memory is put into maps, the device stream is taken apart                     runs
 *
 * In the pause there are three commands to QEMU and no query (but for the disks), nothing is
 * allocated for pages, nothing is hashed, and the store is not touched. If so many pages are left
 * that memory for them is short, they are copied before the guest writes to them, after it was
 * resumed (where that cannot be, in the pause).
 *
 * Whatever goes wrong, the log still counts all writes: scans put them into it at once, and turning
 * it is taken back by tracked_engine_rollback(). The device state's pipe is shared with the keeper,
 * so a daemon that dies leaves QEMU somebody who reads on.
 */
#include <vmckpt/ram/tracked-engine.h>

#include "device-state.h"
#include "page-copy.h"
#include "pause-helper.h"
#include "ram-proof.h"
#include "stream-parts.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

typedef struct {
  CaptureSession session;
  CaptureMode mode;
  Manifest *manifest;
  PageCopy copy;
  PauseHelper *helper; /* copies the last pages */
  DeviceState *devices;
  StreamParts parts;
  RamProof *proof;     /* (nullable) */
  PageBitmap *missing; /* (nullable): pages that had not come when the proof was taken */
  gboolean turned;     /* the log counts for the next checkpoint */
} TrackedCapture;

static void
tracked_capture_clear (TrackedCapture *capture)
{
  /* Threads first: they use what follows. */
  g_clear_pointer (&capture->helper, pause_helper_free);
  g_clear_pointer (&capture->devices, device_state_free);
  page_copy_clear (&capture->copy);
  stream_parts_clear (&capture->parts);
  g_clear_pointer (&capture->proof, ram_proof_free);
  g_clear_pointer (&capture->missing, page_bitmap_free);
  capture_session_clear (&capture->session);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TrackedCapture, tracked_capture_clear)

/* ---- prepare ---- */

/* A PauseHelperFunc. */
static gboolean
copy_last (gpointer user_data, GError **error)
{
  return page_copy_last (user_data, error);
}

/* Until few pages are left, or not at all if the guest is to be stopped first. */
static gboolean
copy_live (TrackedCapture *capture, GError **error)
{
  RoundsDecision last;

  if (capture->mode == CAPTURE_STOP || !capture->session.was_running)
    return TRUE;
  return page_copy_rounds (&capture->copy, capture->mode == CAPTURE_LIVE, &last, error);
}

static gboolean
prepare (TrackedCapture *capture, GError **error)
{
  CaptureSession *session = &capture->session;
  const CaptureContext *context = session->context;

  capture->devices = device_state_new (context->monitor, error);
  if (capture->devices == NULL ||
      !capture_take_lease (session, device_state_stream (capture->devices), error) ||
      !fault_visit (FAULT_LEASE_TAKEN, error) ||
      !capture_check_migratable (context->monitor, error) ||
      !device_state_prepare (capture->devices, error) ||
      !page_copy_begin (&capture->copy, session, error))
    return FALSE;
  session->report->ram_bytes = capture->copy.bytes;
  capture->helper = pause_helper_new (copy_last, &capture->copy);
  if (!copy_live (capture, error))
    return FALSE;
  /* A delta is read for before it is written; of the last pages that takes longer than it saves. */
  if (context->until_durable)
    store_writer_set_delta (context->writer, STORE_DELTA_NEVER);
  return capture_before_stop (session, error);
}

/* ---- the pause ---- */

/* Pages and devices at the same time. The helper is waited for in any case. */
static gboolean
read_stopped_guest (TrackedCapture *capture, GError **error)
{
  g_autoptr (GError) copying = NULL;

  pause_helper_go (capture->helper);
  gboolean saved =
      device_state_begin (capture->devices, error) &&
      device_state_wait (capture->devices, capture->session.context->cancellable, error);
  gboolean copied = pause_helper_wait (capture->helper, &copying);
  if (saved && !copied)
    g_propagate_error (error, g_steal_pointer (&copying));
  return saved && copied;
}

/* The pages that may still be missing from a memory that is being filled. */
static PageBitmap *
find_missing (DirtyLog *log)
{
  g_autoptr (PageBitmap) present = page_bitmap_new (dirty_log_pages (log));
  PageBitmap *missing = page_bitmap_new (dirty_log_pages (log));
  const char *store, *id;

  page_bitmap_set_range (missing, 0, missing->pages);
  if (!dirty_log_source (log, &store, &id))
    page_bitmap_clear_all (missing);
  dirty_log_read_present (log, present);
  page_bitmap_subtract (missing, present);
  return missing;
}

static gboolean
take_proof (TrackedCapture *capture, GError **error)
{
  GuestRam *ram = guest_tracking_ram (capture->session.context->tracking);

  if (!ram_proof_wanted())
    return TRUE;
  capture->missing = find_missing (capture->copy.log);
  capture->proof = ram_proof_take (guest_ram_fd (ram), guest_ram_bytes (ram), error);
  return capture->proof != NULL;
}

static gboolean
capture_stopped (TrackedCapture *capture, GError **error)
{
  CaptureSession *session = &capture->session;
  QmpClient *monitor = session->context->monitor;

  run_clock_mark (session->context->clock);
  capture_enter_phase (session, PHASE_STOP);
  if (session->was_running &&
      (!qmp_stop (monitor, error) || !fault_visit (FAULT_GUEST_STOPPED, error)))
    return FALSE;
  capture_enter_phase (session, PHASE_CAPTURE);
  if (!read_stopped_guest (capture, error) || !take_proof (capture, error) ||
      !fault_visit (FAULT_DEVICES_SAVED, error) || !capture_take_instant (session, error))
    return FALSE;
  dirty_log_instant (capture->copy.log);
  capture->turned = TRUE;
  if (!fault_visit (FAULT_LOG_TURNED, error))
    return FALSE;
  capture_enter_phase (session, PHASE_RESUME);
  gboolean resume = session->was_running && capture->mode != CAPTURE_STOP_KEEP;
  if (resume) {
    if (!qmp_cont (monitor, error))
      return FALSE;
    capture_after_resume (session);
  }
  if (!capture_check_stood_still (session, resume, error))
    return FALSE;
  capture_enter_phase (session, PHASE_STORE);
  return fault_visit (FAULT_GUEST_RESUMED, error);
}

/* After a failure: the migration over, the guest as it was, the log as if nothing had been. */
static void
put_right (TrackedCapture *capture)
{
  CaptureSession *session = &capture->session;

  if (capture->turned)
    tracked_engine_rollback (session->context->tracking);
  if (session->lease == NULL)
    return;
  if (device_state_abandon (capture->devices, NULL) && capture_ensure_running (session, NULL))
    keeper_lease_end (session->lease, NULL);
  /* Otherwise the lease breaks with this capture, and the keeper goes on trying. */
}

/* ---- store ---- */

static gboolean
take_stream_apart (TrackedCapture *capture, GError **error)
{
  const GByteArray *bytes = device_state_bytes (capture->devices);
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes->data, bytes->len);
  StreamItem item = { 0 };

  do {
    if (!stream_reader_next (reader, &item, error) ||
        !stream_parts_take (&capture->parts, reader, &item, error))
      return FALSE;
  } while (item.type != STREAM_ITEM_END);
  return TRUE;
}

/* The tracked block's pages were copied, all others must be in the stream. */
static gboolean
join_ram (TrackedCapture *capture, GError **error)
{
  PageCopy *copy = &capture->copy;

  if (capture->parts.ram != NULL && !ram_blocks_adopt (capture->parts.ram, copy->block, copy->bytes,
                                                       g_steal_pointer (&copy->map), error))
    return FALSE;
  if (!stream_parts_check_complete (&capture->parts, error))
    return FALSE;
  capture->session.report->ram_bytes = ram_blocks_bytes (capture->parts.ram);
  return TRUE;
}

static gboolean
check_proof (TrackedCapture *capture, GError **error)
{
  const CaptureContext *context = capture->session.context;
  const ManifestPart *part = manifest_find_part (capture->manifest, "ram", capture->copy.block);

  return capture->proof == NULL ||
         (store_writer_flush (context->writer, context->cancellable, error) &&
          ram_proof_check (capture->proof, context->store, &part->map, capture->missing, error));
}

static gboolean
put_into_store (TrackedCapture *capture, GError **error)
{
  /* Pages first: the guest may wait for them. */
  return page_copy_finish (&capture->copy, error) &&
         device_state_finish (capture->devices, error) && take_stream_apart (capture, error) &&
         join_ram (capture, error) &&
         stream_parts_store (&capture->parts, capture->manifest, &capture->session.report->pages,
                             error) &&
         check_proof (capture, error);
}

gboolean
tracked_engine_capture (const CaptureContext *context, CaptureMode mode, Manifest *manifest,
                        KeeperLease **lease, CaptureReport *report, GError **error)
{
  ERROR_PREFIX (error, "capturing RAM and devices");
  g_auto (TrackedCapture) capture = { .mode = mode, .manifest = manifest };

  capture_session_init (&capture.session, context, report);
  stream_parts_init (&capture.parts, context->writer, context->parent);
  if (!prepare (&capture, error) || !capture_stopped (&capture, error) ||
      !put_into_store (&capture, error)) {
    put_right (&capture);
    return FALSE;
  }
  capture_report_times (&capture.session, mode);
  report->machine = g_steal_pointer (&capture.parts.machine);
  *lease = g_steal_pointer (&capture.session.lease);
  return TRUE;
}

void
tracked_engine_commit (GuestTracking *tracking, const char *store_id, const char *id)
{
  dirty_log_commit (guest_tracking_log (tracking), store_id, id);
}

void
tracked_engine_rename (GuestTracking *tracking, const char *former_store, const char *former,
                       const char *store_id, const char *id)
{
  const char *base_store, *base;

  if (tracking != NULL && guest_tracking_base (tracking, &base_store, &base) &&
      g_str_equal (base_store, former_store) && g_str_equal (base, former))
    dirty_log_rename_base (guest_tracking_log (tracking), store_id, id);
}

void
tracked_engine_rollback (GuestTracking *tracking)
{
  dirty_log_rollback (guest_tracking_log (tracking));
}
