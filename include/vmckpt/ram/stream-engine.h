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

#include <vmckpt/ram/capture.h>

/**
 * stream_engine_capture:
 * @manifest: (inout): gets the parts "configuration", "ram" (one per block) and "device-state"
 * @lease: (out): the keeper's lease; the caller ends it when the guest needs no help any more. With
 *   CAPTURE_STOP_KEEP that is when the guest was powered off.
 *
 * Blocks; call it from a worker thread. On failure the guest is in the state in which it was
 * before.
 */
gboolean stream_engine_capture (const CaptureContext *context, CaptureMode mode, Manifest *manifest,
                                KeeperLease **lease, CaptureReport *report, GError **error);

/* A QEMU that loads from a pipe into which nothing was written yet. */
typedef struct _RestoreStream RestoreStream;

/**
 * restore_stream_open:
 * @monitor: of a QEMU that was started with -incoming defer and -S
 * @left_out: (nullable): RAM block whose pages it has already, as a shared file
 *
 * What can be done before it is known which checkpoint comes: three questions to QEMU less for
 * whoever waits for that one.
 */
RestoreStream *restore_stream_open (QmpClient *monitor, const char *left_out, GError **error);

/* Closes the pipe: a QEMU that has not got all of it exits. */
void restore_stream_free (RestoreStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (RestoreStream, restore_stream_free)

/**
 * stream_engine_restore:
 * @monitor: of a QEMU that was started with -incoming defer and -S
 * @stream: (nullable): from restore_stream_open(), without a block left out
 *
 * Feeds QEMU a synthesised stream of @manifest's parts, every page verified. On success the guest
 * is loaded and paused. On failure QEMU is of no use any more.
 */
gboolean stream_engine_restore (QmpClient *monitor, RestoreStream *stream, Store *store,
                                const Manifest *manifest, const Progress *progress,
                                GCancellable *cancellable, GError **error);
