/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all engines do alike around a capture: ask whether the guest can be saved, hold a lease that
 * is right for the state it is in, keep the times of the phases, and make it run again.
 */
#pragma once

#include <vmckpt/ram/capture.h>

typedef struct {
  const CaptureContext *context;
  CaptureReport *report;
  KeeperLease *lease;
  gboolean was_running; /* the guest ran when the lease was taken */
  Phase phase;
  gint64 phase_began_us;
} CaptureSession;

/* Begins in PHASE_PREPARE. */
void capture_session_init (CaptureSession *session, const CaptureContext *context,
                           CaptureReport *report);

/* Breaks the lease if it is still there: the keeper then puts the guest right. */
void capture_session_clear (CaptureSession *session);

/* Books the time so far for the phase that ends, and says that @phase begins. */
void capture_enter_phase (CaptureSession *session, Phase phase);

/**
 * capture_take_instant:
 *
 * Lets the caller take what else belongs to the instant (@context->at_instant), as a phase of its
 * own: PHASE_DISKS. Nothing, where there is nothing. While the guest is stopped.
 */
gboolean capture_take_instant (CaptureSession *session, GError **error);

/**
 * capture_check_stood_still:
 * @resumed: the guest was resumed since
 *
 * What was taken at the instant (capture_take_instant()) and RAM belong together only if the guest
 * did not run in between: it was stopped once since run_clock_mark(), and resumed at most by us.
 * RAM_ERROR_FAILED if that is not so: somebody else resumed it.
 */
gboolean capture_check_stood_still (const CaptureSession *session, gboolean resumed,
                                    GError **error);

/* At the end: the times so far, how long the guest was paused, and when. */
void capture_report_times (CaptureSession *session, CaptureMode mode);

/* Tells whoever listens, if anybody does. */
void capture_message (const CaptureSession *session, const char *text);

/* Refuses a guest that QEMU itself says cannot be migrated, before anything is touched. */
gboolean capture_check_migratable (QmpClient *monitor, GError **error);

/**
 * capture_take_lease:
 * @stream: as keeper_lease_checkpoint() takes it
 *
 * Takes a lease that is right for the state the guest is in, and notes that state in
 * @session->was_running.
 */
gboolean capture_take_lease (CaptureSession *session, int stream, GError **error);

/**
 * capture_wait_migration_over:
 * @completed: (out): whether QEMU calls it completed
 *
 * Waits, by polling, until QEMU is through with a migration whose stream has ended.
 */
gboolean capture_wait_migration_over (QmpClient *monitor, gboolean *completed, GError **error);

/* Right before the guest is stopped, and once it runs again: what others have to do then. */
gboolean capture_before_stop (CaptureSession *session, GError **error);
void capture_after_resume (CaptureSession *session);

/* The guest runs again if it ran before. */
gboolean capture_ensure_running (CaptureSession *session, GError **error);
