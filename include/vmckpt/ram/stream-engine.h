/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The `stream` engine: RAM and device state of any QEMU ≥ 6.0 through its migration stream.
 *
 * Live capture uses the capability `background-snapshot`: QEMU stops the guest for about 2 ms, then
 * sends the state of that instant while the guest runs on (QEMU: docs/devel/migration,
 * migration/migration.c). Stopped capture stops the guest, migrates, and resumes it. Either way the
 * stream comes through a pipe whose read end the keeper shares, and is always read to its end: on
 * QEMU 7.2 a background snapshot whose reader goes away leaves the guest hanging.
 *
 * Live pre-copy is not used: QEMU 7.2 under TCG loses writes in it.
 */
#pragma once

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/ram/run-clock.h>
#include <vmckpt/store/writer.h>

#define RAM_ERROR (ram_error_quark())
GQuark ram_error_quark (void);

typedef enum {
  RAM_ERROR_IMPOSSIBLE, /* QEMU says that this guest cannot be migrated now, or lacks the capability
                         */
  RAM_ERROR_FAILED,     /* QEMU did not send or take the stream; the message ends with its reason */
  RAM_ERROR_STALLED,    /* QEMU has stopped sending for long */
  RAM_ERROR_BUSY,       /* QEMU is migrating this guest already, on somebody else's behalf */
} RamError;

/* What a capture works on. Everything is borrowed. */
typedef struct {
  QmpClient *monitor;
  Keeper *keeper;
  RunClock *clock;
  StoreWriter *writer;
  const Manifest *parent; /* (nullable): pages equal to its are not stored again */
  const Progress *progress;
  GCancellable *cancellable;
  /* (nullable): told why, when a live capture was wanted and the guest is stopped instead */
  void (*fallback) (const char *reason, gpointer user_data);
  gpointer fallback_data;
} StreamCaptureContext;

typedef enum {
  CAPTURE_LIVE, /* the guest runs on while its pages are sent; CAPTURE_STOP where that cannot be */
  CAPTURE_STOP, /* the guest is stopped, sent, resumed (if it ran) */
  CAPTURE_STOP_KEEP, /* stopped and, on success, left stopped: for suspend */
} CaptureMode;

/* Duration of each phase so far, milliseconds, and what was found. */
typedef struct {
  double phase_ms[PHASE_COUNT];
  double pause_ms;
  gint64 instant_us; /* the instant that the checkpoint shows, microseconds since 1970 */
  guint64 ram_bytes;
  PageMapStats pages;   /* of all RAM blocks */
  gboolean was_running; /* the guest ran before */
  char *machine;        /* machine type as the stream says; owned */
} CaptureReport;

/* Frees what it holds and resets it. */
void capture_report_clear (CaptureReport *report);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CaptureReport, capture_report_clear)

/**
 * stream_engine_capture:
 * @manifest: (inout): gets the parts "configuration", "ram" (one per block) and "device-state"
 * @lease: (out): the keeper's lease; the caller ends it when the guest needs no help any more. With
 *   CAPTURE_STOP_KEEP that is when the guest was powered off.
 *
 * Blocks; call it from a worker thread. On failure the guest is in the state in which it was
 * before.
 */
gboolean stream_engine_capture (const StreamCaptureContext *context, CaptureMode mode,
                                Manifest *manifest, KeeperLease **lease, CaptureReport *report,
                                GError **error);

/**
 * stream_engine_restore:
 * @monitor: of a QEMU that was started with -incoming defer and -S
 *
 * Feeds QEMU a synthesised stream of @manifest's parts, every page verified. On success the guest
 * is loaded and paused. On failure QEMU is of no use any more.
 */
gboolean stream_engine_restore (QmpClient *monitor, Store *store, const Manifest *manifest,
                                const Progress *progress, GCancellable *cancellable,
                                GError **error);
