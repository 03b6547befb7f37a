/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capture through the migration stream.
 *
 *   QEMU ──pipe──▶ StreamReader ──▶ RamBlocks: a PageMapWriter each ──▶ StoreWriter
 *          │                    └─▶ configuration, device state (in memory, then a map each)
 *          └── the keeper holds a second read end: if this process dies, it reads on
 *
 * Whatever goes wrong after QEMU was told to send, the stream is read to its end, the migration
 * waited for, and the guest resumed if it ran (capture_put_right). Where even that cannot be done
 * (QEMU does not answer), the lease is broken and the keeper does it as soon as QEMU lets it.
 */
#include <vmckpt/ram/stream-engine.h>

#include "ram-blocks.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <unistd.h>

/* QEMU keeps silent while it stops the guest and saves devices, never for long. */
#define PATIENCE_MS 30000
#define SETTLE_TIMEOUT_US (20 * G_USEC_PER_SEC)
#define SETTLE_POLL_US 2000
#define LEASE_ATTEMPTS 3
#define MAX_DEVICE_STATE (256u << 20)
#define PROGRESS_EVERY_PAGES 1024
#define FD_NAME "vmckpt-stream"
#define CAPABILITY "background-snapshot"

GQuark
ram_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-ram-error");
}

typedef struct {
  const StreamCaptureContext *context;
  CaptureMode mode;
  Manifest *manifest;
  CaptureReport *report;
  KeeperLease *lease;
  StreamReader *reader;
  AutoFd stream;       /* read end of the pipe */
  RamBlocks *ram;      /* NULL until the stream has declared its blocks */
  GByteArray *config;  /* the configuration section */
  GByteArray *devices; /* the opaque device state */
  gboolean was_running;
  gboolean sending; /* QEMU was told to send */
  guint64 pages;
  Phase phase;
  gint64 phase_began_us;
} Capture;

static void
capture_clear (Capture *capture)
{
  g_clear_pointer (&capture->lease, keeper_lease_free);
  g_clear_pointer (&capture->reader, stream_reader_free);
  fd_close (&capture->stream);
  g_clear_pointer (&capture->ram, ram_blocks_free);
  g_clear_pointer (&capture->config, g_byte_array_unref);
  g_clear_pointer (&capture->devices, g_byte_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Capture, capture_clear)

void
capture_report_clear (CaptureReport *report)
{
  g_clear_pointer (&report->machine, g_free);
}

static void
enter_phase (Capture *capture, Phase phase)
{
  gint64 now = g_get_monotonic_time();

  capture->report->phase_ms[capture->phase] += (now - capture->phase_began_us) / 1000.0;
  capture->phase = phase;
  capture->phase_began_us = now;
  progress_report (capture->context->progress, phase, 0, 0);
}

/* ---- prepare ---- */

static gboolean
migration_is_at_work (const QmpMigration *migration)
{
  static const char *const over[] = { "none", "completed", "failed", "cancelled", NULL };
  return !g_strv_contains (over, migration->status);
}

/* Refuses a guest that QEMU itself says cannot be migrated, before anything is touched. */
static gboolean
check_migratable (QmpClient *monitor, GError **error)
{
  g_auto (QmpMigration) migration = { 0 };

  if (!qmp_query_migrate (monitor, &migration, error))
    return FALSE;
  if (migration.blocked_reasons != NULL) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE, "QEMU cannot save this guest now: %s",
                 migration.blocked_reasons);
    return FALSE;
  }
  if (migration_is_at_work (&migration)) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_BUSY, "another migration of this guest is '%s'",
                 migration.status);
    return FALSE;
  }
  return TRUE;
}

/* Takes a lease that is right for the state the guest is in. Taking one waits until the keeper is
 * through with putting the guest right after an earlier failure, which may change that state. */
static gboolean
take_lease (Capture *capture, GError **error)
{
  const StreamCaptureContext *context = capture->context;

  for (int attempt = 0; attempt < LEASE_ATTEMPTS; attempt++) {
    g_autofree char *before = qmp_query_status (context->monitor, error);
    if (before == NULL)
      return FALSE;
    capture->was_running = g_str_equal (before, "running");
    g_clear_pointer (&capture->lease, keeper_lease_free);
    capture->lease =
        keeper_lease_checkpoint (context->keeper, capture->stream, capture->was_running, error);
    g_autofree char *after =
        capture->lease != NULL ? qmp_query_status (context->monitor, error) : NULL;
    if (after == NULL)
      return FALSE;
    if (g_str_equal (before, after))
      return TRUE;
    if (!keeper_lease_end (capture->lease, error))
      return FALSE;
  }
  g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "the guest keeps being stopped and resumed");
  return FALSE;
}

/* Live as wanted, or else the stopped way, with the reason told. */
static gboolean
choose_mode (Capture *capture, GError **error)
{
  const StreamCaptureContext *context = capture->context;
  g_autoptr (GError) reason = NULL;
  gboolean known;

  if (!capture->was_running && capture->mode == CAPTURE_LIVE)
    /* QEMU 7.2 would resume it by itself; a paused guest loses nothing by the stopped way. */
    capture->mode = CAPTURE_STOP;
  if (!qmp_migrate_has_capability (context->monitor, CAPABILITY, &known, error))
    return FALSE;
  if (!known) {
    if (capture->mode == CAPTURE_LIVE && context->fallback != NULL)
      context->fallback ("this QEMU has no " CAPABILITY, context->fallback_data);
    if (capture->mode == CAPTURE_LIVE)
      capture->mode = CAPTURE_STOP;
    return TRUE;
  }
  if (qmp_migrate_set_capability (context->monitor, CAPABILITY, capture->mode == CAPTURE_LIVE,
                                  &reason))
    return TRUE;
  if (capture->mode != CAPTURE_LIVE || !g_error_matches (reason, QMP_ERROR, QMP_ERROR_COMMAND)) {
    g_propagate_error (error, g_steal_pointer (&reason));
    return FALSE;
  }
  if (context->fallback != NULL)
    context->fallback (reason->message, context->fallback_data);
  capture->mode = CAPTURE_STOP;
  return TRUE;
}

/* Makes the pipe, takes the lease, and gives QEMU the write end. */
static gboolean
prepare (Capture *capture, GError **error)
{
  const StreamCaptureContext *context = capture->context;
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
  return take_lease (capture, error) && fault_visit (FAULT_LEASE_TAKEN, error) &&
         check_migratable (context->monitor, error) && choose_mode (capture, error) &&
         qmp_migrate_set_bandwidth (context->monitor, G_MAXINT64 >> 8, error) &&
         qmp_getfd (context->monitor, FD_NAME, write_end, error);
}

/* ---- stop, capture ---- */

static gboolean
start_sending (Capture *capture, GError **error)
{
  const StreamCaptureContext *context = capture->context;

  run_clock_mark (context->clock);
  enter_phase (capture, PHASE_STOP);
  if (capture->mode != CAPTURE_LIVE && capture->was_running &&
      (!qmp_stop (context->monitor, error) || !fault_visit (FAULT_GUEST_STOPPED, error)))
    return FALSE;
  if (capture->mode != CAPTURE_LIVE)
    enter_phase (capture, PHASE_CAPTURE);
  if (!qmp_migrate (context->monitor, "fd:" FD_NAME, error))
    return FALSE;
  capture->sending = TRUE;
  return fault_visit (FAULT_STREAM_BEGUN, error);
}

static gboolean
open_blocks (Capture *capture, GError **error)
{
  guint count;
  const StreamBlock *blocks = stream_reader_blocks (capture->reader, &count);

  capture->ram =
      ram_blocks_open (capture->context->writer, blocks, count, capture->context->parent, error);
  if (capture->ram != NULL)
    capture->report->ram_bytes = ram_blocks_bytes (capture->ram);
  return capture->ram != NULL;
}

static gboolean
take_page (Capture *capture, const StreamItem *item, GError **error)
{
  if (capture->pages++ == 0 && capture->mode == CAPTURE_LIVE)
    enter_phase (capture, PHASE_STORE); /* QEMU sends pages once the guest runs again */
  if (capture->pages == PROGRESS_EVERY_PAGES && !fault_visit (FAULT_STREAM_MIDDLE, error))
    return FALSE;
  if (capture->pages % PROGRESS_EVERY_PAGES == 0)
    progress_report (capture->context->progress, capture->phase, capture->pages * STREAM_PAGE_SIZE,
                     capture->report->ram_bytes);
  return ram_blocks_put (capture->ram, item, error);
}

static gboolean
take_device_state (Capture *capture, const StreamItem *item, GError **error)
{
  if (item->len > MAX_DEVICE_STATE - capture->devices->len) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                 "the guest has more than %u MiB of device state", MAX_DEVICE_STATE >> 20);
    return FALSE;
  }
  g_byte_array_append (capture->devices, item->data, item->len);
  return TRUE;
}

static gboolean
take_item (Capture *capture, const StreamItem *item, GError **error)
{
  switch (item->type) {
  case STREAM_ITEM_CONFIGURATION:
    g_byte_array_append (capture->config, item->data, item->len);
    g_free (capture->report->machine);
    capture->report->machine = g_strdup (item->machine);
    return TRUE;
  case STREAM_ITEM_BLOCKS:
    return open_blocks (capture, error);
  case STREAM_ITEM_PAGE:
    return take_page (capture, item, error);
  case STREAM_ITEM_DEVICE_STATE:
    return take_device_state (capture, item, error);
  case STREAM_ITEM_END:
    if (capture->ram == NULL) {
      g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU sent no RAM at all");
      return FALSE;
    }
    return ram_blocks_check_complete (capture->ram, error) &&
           fault_visit (FAULT_STREAM_ENDED, error);
  }
  g_assert_not_reached();
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
             qmp_query_migrate (capture->context->monitor, &migration, NULL) &&
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

/*
 * Waits until QEMU is through with the migration. The stream has ended by now, so this is a matter
 * of milliseconds; QMP tells it by polling in every version, by event only if that was asked for.
 */
static gboolean
wait_migration_over (QmpClient *monitor, gboolean *completed, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + SETTLE_TIMEOUT_US;

  for (;;) {
    g_auto (QmpMigration) migration = { 0 };
    if (!qmp_query_migrate (monitor, &migration, error))
      return FALSE;
    *completed = g_str_equal (migration.status, "completed");
    if (!migration_is_at_work (&migration))
      return TRUE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error (error, RAM_ERROR, RAM_ERROR_STALLED, "QEMU's migration stays '%s'",
                   migration.status);
      return FALSE;
    }
    g_usleep (SETTLE_POLL_US);
  }
}

/* The guest runs again if it ran before. A background snapshot resumes it by itself. */
static gboolean
ensure_running (Capture *capture, GError **error)
{
  g_autofree char *status = NULL;

  if (!capture->was_running)
    return TRUE;
  status = qmp_query_status (capture->context->monitor, error);
  if (status == NULL)
    return FALSE;
  return g_str_equal (status, "running") || qmp_cont (capture->context->monitor, error);
}

static gboolean
settle (Capture *capture, GError **error)
{
  gboolean completed;

  if (!wait_migration_over (capture->context->monitor, &completed, error))
    return FALSE;
  if (!completed) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU did not complete the migration");
    return FALSE;
  }
  if (capture->mode != CAPTURE_LIVE)
    enter_phase (capture, PHASE_RESUME);
  if (capture->mode != CAPTURE_STOP_KEEP && !ensure_running (capture, error))
    return FALSE;
  if (capture->mode == CAPTURE_LIVE)
    return qmp_migrate_set_capability (capture->context->monitor, CAPABILITY, FALSE, error);
  enter_phase (capture, PHASE_STORE);
  return TRUE;
}

/* After a failure: the stream to its end, the migration over, the guest as it was. */
static void
capture_put_right (Capture *capture)
{
  QmpClient *monitor = capture->context->monitor;
  gboolean completed;

  if (capture->lease == NULL)
    return;
  if (capture->sending)
    stream_reader_drain (capture->reader);
  if ((!capture->sending || wait_migration_over (monitor, &completed, NULL)) &&
      ensure_running (capture, NULL) &&
      (capture->mode != CAPTURE_LIVE ||
       qmp_migrate_set_capability (monitor, CAPABILITY, FALSE, NULL)))
    keeper_lease_end (capture->lease, NULL);
  /* Otherwise the lease breaks with this capture, and the keeper goes on trying. */
}

/* ---- store ---- */

static gboolean
add_data_part (Capture *capture, const char *role, const GByteArray *data, GError **error)
{
  PageMap map;

  if (!store_writer_put_data (capture->context->writer, data->data, data->len, &map, error))
    return FALSE;
  manifest_add_part (capture->manifest, role, "", &map);
  return TRUE;
}

/* Everything read becomes parts of the manifest. */
static gboolean
add_parts (Capture *capture, GError **error)
{
  return ram_blocks_finish (capture->ram, capture->manifest, &capture->report->pages, error) &&
         add_data_part (capture, "configuration", capture->config, error) &&
         add_data_part (capture, "device-state", capture->devices, error);
}

static void
report_times (Capture *capture)
{
  CaptureReport *report = capture->report;
  RunClockReading clock = run_clock_read (capture->context->clock);

  enter_phase (capture, PHASE_STORE);
  report->was_running = capture->was_running;
  report->pause_ms = clock.paused_us / 1000.0;
  if (capture->mode == CAPTURE_STOP_KEEP) /* it does not end here: what it took to read the guest */
    report->pause_ms = report->phase_ms[PHASE_STOP] + report->phase_ms[PHASE_CAPTURE];
  report->instant_us = clock.stopped_us != 0 ? clock.stopped_us : g_get_real_time();
  if (capture->mode == CAPTURE_LIVE) {
    /* QEMU stops, captures devices and resumes within one command: its events tell the parts. */
    report->phase_ms[PHASE_CAPTURE] = report->pause_ms;
    report->phase_ms[PHASE_STOP] = MAX (0, report->phase_ms[PHASE_STOP] - report->pause_ms);
  }
}

gboolean
stream_engine_capture (const StreamCaptureContext *context, CaptureMode mode, Manifest *manifest,
                       KeeperLease **lease, CaptureReport *report, GError **error)
{
  ERROR_PREFIX (error, "capturing RAM and devices");
  g_auto (Capture) capture = { .context = context,
                               .mode = mode,
                               .manifest = manifest,
                               .report = report,
                               .stream = -1,
                               .config = g_byte_array_new(),
                               .devices = g_byte_array_new(),
                               .phase = PHASE_PREPARE,
                               .phase_began_us = g_get_monotonic_time() };

  if (!prepare (&capture, error) || !start_sending (&capture, error) ||
      !read_stream (&capture, error) || !settle (&capture, error) || !add_parts (&capture, error)) {
    capture_put_right (&capture);
    return FALSE;
  }
  report_times (&capture);
  *lease = g_steal_pointer (&capture.lease);
  return TRUE;
}
