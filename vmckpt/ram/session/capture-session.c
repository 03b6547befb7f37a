/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "capture-session.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/progress.h>

#define SETTLE_TIMEOUT_US (20 * G_USEC_PER_SEC)
#define SETTLE_POLL_US 2000
#define LEASE_ATTEMPTS 3

GQuark
ram_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-ram-error");
}

void
capture_report_clear (CaptureReport *report)
{
  g_clear_pointer (&report->machine, g_free);
}

void
capture_session_init (CaptureSession *session, const CaptureContext *context, CaptureReport *report)
{
  *session = (CaptureSession){ .context = context,
                               .report = report,
                               .phase = PHASE_PREPARE,
                               .phase_began_us = g_get_monotonic_time() };
}

void
capture_session_clear (CaptureSession *session)
{
  g_clear_pointer (&session->lease, keeper_lease_free);
}

void
capture_enter_phase (CaptureSession *session, Phase phase)
{
  gint64 now = g_get_monotonic_time();

  session->report->phase_ms[session->phase] += (now - session->phase_began_us) / 1000.0;
  session->phase = phase;
  session->phase_began_us = now;
  progress_report (session->context->progress, phase, 0, 0);
}

gboolean
capture_take_instant (CaptureSession *session, GError **error)
{
  const CaptureContext *context = session->context;

  if (context->at_instant == NULL)
    return TRUE;
  capture_enter_phase (session, PHASE_DISKS);
  return context->at_instant (context->at_instant_data, error);
}

/* The answer to the last command comes after the events before it, so they are all counted. */
gboolean
capture_check_stood_still (const CaptureSession *session, gboolean resumed, GError **error)
{
  RunClockReading clock = run_clock_read (session->context->clock);
  guint stops = session->was_running ? 1 : 0;
  guint resumes = session->was_running && resumed ? 1 : 0;

  if (session->context->at_instant == NULL || (clock.stops == stops && clock.resumes == resumes))
    return TRUE;
  g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED,
               "its disks would not match its memory: the guest ran in between (%u stops, %u "
               "resumes): something else stops and resumes it; try again without that",
               clock.stops, clock.resumes);
  return FALSE;
}

void
capture_report_times (CaptureSession *session, CaptureMode mode)
{
  CaptureReport *report = session->report;
  RunClockReading clock = run_clock_read (session->context->clock);

  capture_enter_phase (session, PHASE_STORE);
  report->was_running = session->was_running;
  report->pause_ms = clock.paused_us / 1000.0;
  if (mode == CAPTURE_STOP_KEEP) /* it does not end here: what it took to read the guest */
    report->pause_ms = report->phase_ms[PHASE_STOP] + report->phase_ms[PHASE_CAPTURE] +
                       report->phase_ms[PHASE_DISKS];
  report->instant_us = clock.stopped_us != 0 ? clock.stopped_us : g_get_real_time();
}

void
capture_message (const CaptureSession *session, const char *text)
{
  if (session->context->message != NULL)
    session->context->message (text, session->context->message_data);
}

static gboolean
migration_is_at_work (const QmpMigration *migration)
{
  static const char *const over[] = { "none", "completed", "failed", "cancelled", NULL };
  return !g_strv_contains (over, migration->status);
}

gboolean
capture_check_migratable (QmpClient *monitor, GError **error)
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

/* Taking a lease waits until the keeper is through with putting the guest right after an earlier
 * failure, which may change the state; hence the second look. */
gboolean
capture_take_lease (CaptureSession *session, int stream, GError **error)
{
  const CaptureContext *context = session->context;

  for (int attempt = 0; attempt < LEASE_ATTEMPTS; attempt++) {
    g_autofree char *before = qmp_query_status (context->monitor, error);
    if (before == NULL)
      return FALSE;
    session->was_running = g_str_equal (before, "running");
    g_clear_pointer (&session->lease, keeper_lease_free);
    session->lease = keeper_lease_checkpoint (context->keeper, stream, session->was_running, error);
    g_autofree char *after =
        session->lease != NULL ? qmp_query_status (context->monitor, error) : NULL;
    if (after == NULL)
      return FALSE;
    if (g_str_equal (before, after))
      return TRUE;
    if (!keeper_lease_end (session->lease, error))
      return FALSE;
  }
  g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "the guest keeps being stopped and resumed");
  return FALSE;
}

/* The stream has ended by now, so this is a matter of milliseconds; QMP tells it by polling in
 * every version, by event only if that was asked for. */
gboolean
capture_wait_migration_over (QmpClient *monitor, gboolean *completed, GError **error)
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

gboolean
capture_before_stop (CaptureSession *session, GError **error)
{
  const CaptureContext *context = session->context;

  return context->before_stop == NULL || context->before_stop (context->before_stop_data, error);
}

void
capture_after_resume (CaptureSession *session)
{
  const CaptureContext *context = session->context;

  if (context->after_resume != NULL)
    context->after_resume (context->before_stop_data);
}

gboolean
capture_ensure_running (CaptureSession *session, GError **error)
{
  g_autofree char *status = NULL;

  if (!session->was_running)
    return TRUE;
  status = qmp_query_status (session->context->monitor, error);
  if (status == NULL)
    return FALSE;
  return g_str_equal (status, "running") || qmp_cont (session->context->monitor, error);
}
