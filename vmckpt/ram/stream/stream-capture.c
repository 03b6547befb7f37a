/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capture through the migration stream.
 *
 *   QEMU ──pipe──▶ StreamReader ──▶ RamBlocks: a PageMapWriter each ──▶ StoreWriter
 *          │                    └─▶ configuration, device state (in memory, then a map each)
 *          └── the keeper holds a second read end: if this process dies, it reads on
 *
 * Live, QEMU stops the guest, saves devices and makes it run again within one command (a background
 * snapshot). Where something else belongs to the instant, its disks, we stop it first, take that,
 * begin the snapshot of the stopped guest, and make it run again when its first pages come: not
 * before, since then it would run between the one and the other. QEMU before 8.2 makes it run by
 * itself, also if it was stopped.
 *
 * Whatever goes wrong after QEMU was told to send, the stream is read to its end, the migration
 * waited for, and the guest resumed if it ran (capture_put_right). Where even that cannot be done
 * (QEMU does not answer), the lease is broken and the keeper does it as soon as QEMU lets it.
 */
#include <vmckpt/ram/stream-engine.h>

#include "capture-session.h"
#include "stream-parts.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* QEMU keeps silent while it stops the guest and saves devices, never for long. */
#define PATIENCE_MS 30000
#define PROGRESS_EVERY_PAGES 1024
#define FD_NAME "vmckpt-stream"
#define CAPABILITY "background-snapshot"
/* How long a QEMU that resumes the guest by itself is waited for. */
#define SELF_RESUME_US (2 * G_USEC_PER_SEC)
#define SELF_RESUME_POLL_US 500
/* QEMU 10.0 may refuse a migration right after the one before it ("duplicate yank instance"). */
#define MIGRATE_ATTEMPTS 20
#define MIGRATE_PAUSE_US 2000

typedef struct {
  CaptureSession session;
  CaptureMode mode;
  Manifest *manifest;
  StreamReader *reader;
  AutoFd stream; /* read end of the pipe */
  StreamParts parts;
  gboolean sending; /* QEMU was told to send */
  guint64 pages;
} Capture;

static void
capture_clear (Capture *capture)
{
  capture_session_clear (&capture->session);
  g_clear_pointer (&capture->reader, stream_reader_free);
  fd_close (&capture->stream);
  stream_parts_clear (&capture->parts);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Capture, capture_clear)

/* ---- prepare ---- */

/* The stopped way instead of the live one. */
static void
fall_back (Capture *capture, const char *reason)
{
  g_autofree char *text =
      g_strdup_printf ("no live checkpoint, the guest is paused meanwhile: %s", reason);

  capture->mode = CAPTURE_STOP;
  capture_message (&capture->session, text);
}

/* QEMU says the same of a host that cannot and of rights that it lacks, which is far more usual: as
 * libvirt's own user it may not watch the kernel's accesses to its memory. Newly allocated. */
static char *
explain_refusal (const char *refusal)
{
  if (strstr (refusal, "not supported by host kernel") == NULL)
    return g_strdup (refusal);
  return g_strdup_printf (
      "%s, which it also says if it is not allowed userfaultfd: live needs sysctl "
      "vm.unprivileged_userfaultfd=1, a QEMU that runs as root (a libvirt domain: user = \"root\" "
      "in qemu.conf), or a domain that is prepared (vmckpt prepare)",
      refusal);
}

/* Live as wanted, or else the stopped way, with the reason told. */
static gboolean
choose_mode (Capture *capture, GError **error)
{
  const CaptureContext *context = capture->session.context;
  g_autoptr (GError) reason = NULL;
  gboolean known;

  if (!capture->session.was_running && capture->mode == CAPTURE_LIVE)
    /* QEMU 7.2 would resume it by itself; a paused guest loses nothing by the stopped way. */
    capture->mode = CAPTURE_STOP;
  /* Left behind by a daemon that died, it would keep the memory out of the stream. */
  qmp_migrate_set_capability (context->monitor, "x-ignore-shared", FALSE, NULL);
  if (!qmp_migrate_has_capability (context->monitor, CAPABILITY, &known, error))
    return FALSE;
  if (!known) {
    if (capture->mode == CAPTURE_LIVE)
      fall_back (capture, "this QEMU has no " CAPABILITY);
    return TRUE;
  }
  if (qmp_migrate_set_capability (context->monitor, CAPABILITY, capture->mode == CAPTURE_LIVE,
                                  &reason))
    return TRUE;
  if (capture->mode != CAPTURE_LIVE || !g_error_matches (reason, QMP_ERROR, QMP_ERROR_COMMAND)) {
    g_propagate_error (error, g_steal_pointer (&reason));
    return FALSE;
  }
  g_autofree char *refusal = explain_refusal (reason->message);
  fall_back (capture, refusal);
  return TRUE;
}

/* Makes the pipe, takes the lease, and gives QEMU the write end. */
static gboolean
prepare (Capture *capture, GError **error)
{
  const CaptureContext *context = capture->session.context;
  g_auto (AutoFd) write_end = -1;
  int ends[2];

  if (pipe2 (ends, O_CLOEXEC) < 0)
    return fd_set_errno_error (error, "making a pipe");
  capture->stream = ends[0];
  write_end = ends[1];
  /* A larger pipe means fewer wake-ups; refused above fs.pipe-max-size, which does no harm. */
  fcntl (write_end, F_SETPIPE_SZ, 1 << 20);
  capture->reader = stream_reader_new (capture->stream);
  stream_reader_set_patience (capture->reader, PATIENCE_MS, context->cancellable);
  return capture_take_lease (&capture->session, capture->stream, error) &&
         fault_visit (FAULT_LEASE_TAKEN, error) &&
         capture_check_migratable (context->monitor, error) && choose_mode (capture, error) &&
         qmp_migrate_set_bandwidth (context->monitor, G_MAXINT64 >> 8, error) &&
         qmp_getfd (context->monitor, FD_NAME, write_end, error);
}

/* ---- stop, capture ---- */

/* Live, but stopped by us first, for what else belongs to the instant. */
static gboolean
stops_itself (const Capture *capture)
{
  return capture->mode != CAPTURE_LIVE || capture->session.context->at_instant != NULL;
}

static gboolean
stop_guest (Capture *capture, GError **error)
{
  const CaptureContext *context = capture->session.context;

  if (!capture_before_stop (&capture->session, error))
    return FALSE;
  run_clock_mark (context->clock);
  capture_enter_phase (&capture->session, PHASE_STOP);
  if (!stops_itself (capture))
    return TRUE;
  if (capture->session.was_running &&
      (!qmp_stop (context->monitor, error) || !fault_visit (FAULT_GUEST_STOPPED, error)))
    return FALSE;
  /* A whole migration takes the images from QEMU; what is taken of them comes after it. */
  if (capture->mode == CAPTURE_LIVE && !capture_take_instant (&capture->session, error))
    return FALSE;
  capture_enter_phase (&capture->session, PHASE_CAPTURE);
  return TRUE;
}

static gboolean
migrate (QmpClient *monitor, GError **error)
{
  for (int attempt = 1;; attempt++) {
    g_autoptr (GError) reason = NULL;
    if (qmp_migrate (monitor, "fd:" FD_NAME, &reason))
      return TRUE;
    if (attempt == MIGRATE_ATTEMPTS || strstr (reason->message, "yank") == NULL) {
      g_propagate_error (error, g_steal_pointer (&reason));
      return FALSE;
    }
    g_usleep (MIGRATE_PAUSE_US);
  }
}

static gboolean
start_sending (Capture *capture, GError **error)
{
  if (!stop_guest (capture, error) || !migrate (capture->session.context->monitor, error))
    return FALSE;
  capture->sending = TRUE;
  return fault_visit (FAULT_STREAM_BEGUN, error);
}

/* QEMU before 8.2, which resumes the guest by itself: whether it has, within a moment. Its event
 * tells. It is not asked: a CPU that runs may hold QEMU's big lock while it waits for the page that
 * it writes to be sent, which waits for us to read on, and the answer would wait for that lock. */
static gboolean
resumed_itself (Capture *capture, GError **error)
{
  const CaptureContext *context = capture->session.context;
  const QmpGreeting *greeting = qmp_client_greeting (context->monitor);
  gboolean waits = greeting->major < 8 || (greeting->major == 8 && greeting->minor < 2);
  gint64 deadline = g_get_monotonic_time() + (waits ? SELF_RESUME_US : 0);

  while (run_clock_read (context->clock).resumes == 0) {
    if (g_get_monotonic_time() >= deadline) {
      g_autofree char *status = qmp_query_status (context->monitor, error);
      return g_strcmp0 (status, "running") == 0;
    }
    g_usleep (SELF_RESUME_POLL_US);
  }
  return TRUE;
}

/* The first page is here: devices are saved, all memory is write-protected, the guest may run. */
static gboolean
resume_live (Capture *capture, GError **error)
{
  CaptureSession *session = &capture->session;
  g_autoptr (GError) reason = NULL;

  if (stops_itself (capture)) {
    capture_enter_phase (session, PHASE_RESUME);
    if (!resumed_itself (capture, &reason)) {
      if (reason != NULL) {
        g_propagate_error (error, g_steal_pointer (&reason));
        return FALSE;
      }
      /* Told, not waited for: as soon as it runs, QEMU's main loop may write to a page that is
       * still to be sent (a disk's answer to the guest), and wait for us to read on. settle() sees
       * to it that the guest runs, once. */
      qmp_client_execute_async (session->context->monitor, "cont", NULL, -1, 0, NULL, NULL, NULL);
    }
  }
  capture_enter_phase (session, PHASE_STORE);
  capture_after_resume (session);
  return TRUE;
}

static gboolean
note_page (Capture *capture, GError **error)
{
  if (capture->pages++ == 0 && capture->mode == CAPTURE_LIVE && !resume_live (capture, error))
    return FALSE;
  if (capture->pages == PROGRESS_EVERY_PAGES && !fault_visit (FAULT_STREAM_MIDDLE, error))
    return FALSE;
  if (capture->pages % PROGRESS_EVERY_PAGES == 0)
    progress_report (capture->session.context->progress, capture->session.phase,
                     capture->pages * STREAM_PAGE_SIZE, capture->session.report->ram_bytes);
  return TRUE;
}

static gboolean
take_item (Capture *capture, const StreamItem *item, GError **error)
{
  if (item->type == STREAM_ITEM_PAGE && !note_page (capture, error))
    return FALSE;
  if (!stream_parts_take (&capture->parts, capture->reader, item, error))
    return FALSE;
  if (item->type == STREAM_ITEM_BLOCKS)
    capture->session.report->ram_bytes = ram_blocks_bytes (capture->parts.ram);
  return item->type != STREAM_ITEM_END || (stream_parts_check_complete (&capture->parts, error) &&
                                           fault_visit (FAULT_STREAM_ENDED, error));
}

/* Turns "the stream broke off" into what QEMU says about it. */
static void
explain_broken_stream (Capture *capture, GError **error)
{
  g_auto (QmpMigration) migration = { 0 };

  if (error == NULL || *error == NULL)
    return;
  if (g_error_matches (*error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
    g_clear_error (error);
    g_set_error (error, RAM_ERROR, RAM_ERROR_STALLED,
                 "QEMU has sent nothing for %d s; its keeper sees to the guest",
                 PATIENCE_MS / 1000);
  } else if ((*error)->domain == STREAM_ERROR &&
             qmp_query_migrate (capture->session.context->monitor, &migration, NULL) &&
             migration.error_desc != NULL) {
    g_clear_error (error);
    g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU gave up: %s", migration.error_desc);
  }
}

static gboolean
read_stream (Capture *capture, GError **error)
{
  StreamItem item = { 0 };

  do {
    if (!stream_reader_next (capture->reader, &item, error)) {
      explain_broken_stream (capture, error);
      return FALSE;
    }
    if (!take_item (capture, &item, error))
      return FALSE;
  } while (item.type != STREAM_ITEM_END);
  return TRUE;
}

/* ---- resume ---- */

static gboolean
settle (Capture *capture, GError **error)
{
  gboolean completed;

  if (!capture_wait_migration_over (capture->session.context->monitor, &completed, error))
    return FALSE;
  if (!completed) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU did not complete the migration");
    return FALSE;
  }
  if (capture->mode != CAPTURE_LIVE) {
    if (!capture_take_instant (&capture->session, error))
      return FALSE;
    capture_enter_phase (&capture->session, PHASE_RESUME);
  }
  gboolean resume = capture->mode != CAPTURE_STOP_KEEP;
  if (resume) {
    if (!capture_ensure_running (&capture->session, error))
      return FALSE;
    capture_after_resume (&capture->session);
  }
  if (!capture_check_stood_still (&capture->session, resume, error))
    return FALSE;
  if (capture->mode == CAPTURE_LIVE)
    return qmp_migrate_set_capability (capture->session.context->monitor, CAPABILITY, FALSE, error);
  capture_enter_phase (&capture->session, PHASE_STORE);
  return TRUE;
}

/* After a failure: the stream to its end, the migration over, the guest as it was. */
static void
capture_put_right (Capture *capture)
{
  QmpClient *monitor = capture->session.context->monitor;
  gboolean completed;

  if (capture->session.lease == NULL)
    return;
  if (capture->sending)
    stream_reader_drain (capture->reader);
  if ((!capture->sending || capture_wait_migration_over (monitor, &completed, NULL)) &&
      capture_ensure_running (&capture->session, NULL) &&
      (capture->mode != CAPTURE_LIVE ||
       qmp_migrate_set_capability (monitor, CAPABILITY, FALSE, NULL)))
    keeper_lease_end (capture->session.lease, NULL);
  /* Otherwise the lease breaks with this capture, and the keeper goes on trying. */
}

/* ---- store ---- */

static void
report_times (Capture *capture)
{
  CaptureReport *report = capture->session.report;

  capture_report_times (&capture->session, capture->mode);
  report->machine = g_steal_pointer (&capture->parts.machine);
  if (!stops_itself (capture)) {
    /* QEMU stops, captures devices and resumes within one command: its events tell the parts. */
    report->phase_ms[PHASE_CAPTURE] = report->pause_ms;
    report->phase_ms[PHASE_STOP] = MAX (0, report->phase_ms[PHASE_STOP] - report->pause_ms);
  }
}

gboolean
stream_engine_capture (const CaptureContext *context, CaptureMode mode, Manifest *manifest,
                       KeeperLease **lease, CaptureReport *report, GError **error)
{
  ERROR_PREFIX (error, "capturing RAM and devices");
  g_auto (Capture) capture = { .mode = mode, .manifest = manifest, .stream = -1 };

  stream_parts_init (&capture.parts, context->writer, context->parent);
  capture_session_init (&capture.session, context, report);

  if (!prepare (&capture, error) || !start_sending (&capture, error) ||
      !read_stream (&capture, error) || !settle (&capture, error) ||
      !stream_parts_store (&capture.parts, manifest, &report->pages, error)) {
    capture_put_right (&capture);
    return FALSE;
  }
  report_times (&capture);
  if (mode == CAPTURE_LIVE && capture.mode == CAPTURE_STOP && report->was_running) {
    /* It was told so, and had the pause of it. */
    g_free (manifest->mode);
    manifest->mode = g_strdup ("stop");
  }
  *lease = g_steal_pointer (&capture.session.lease);
  return TRUE;
}
