/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The `tracked` engine: RAM that QEMU shares with this process is read from outside, and only where
 * the guest wrote since its last checkpoint; devices come from a short migration stream that leaves
 * shared memory out (x-ignore-shared). What a checkpoint costs follows what the guest wrote, not
 * how large it is. vmckpt/ram/README.md, "Tracked".
 */
#pragma once

#include <vmckpt/ram/capture.h>

/**
 * tracked_engine_capture:
 * @context: with `tracking`; if the guest has a base in the store, `parent` should be that one
 * @manifest: (inout): gets the same parts as from the stream engine
 * @lease: (out): as from stream_engine_capture()
 *
 * Blocks; call it from a worker thread. On success the caller must tell what became of the
 * checkpoint: tracked_engine_commit() or tracked_engine_rollback(). On failure the guest is in the
 * state in which it was before, and nothing of what is known about its writes is lost;
 * RAM_ERROR_IMPOSSIBLE: this engine cannot capture this guest, another one may.
 */
gboolean tracked_engine_capture (const CaptureContext *context, CaptureMode mode,
                                 Manifest *manifest, KeeperLease **lease, CaptureReport *report,
                                 GError **error);

/* The checkpoint is durable: what counts as written from now on was written after it. */
void tracked_engine_commit (GuestTracking *tracking, const char *store_id, const char *id);

/* A checkpoint of the same memory is durable: if @former is what writes are known relative to, it
 * is that one from now on. @tracking is nullable. */
void tracked_engine_rename (GuestTracking *tracking, const char *former_store, const char *former,
                            const char *store_id, const char *id);

/* There will be no checkpoint: what was written before it counts again. */
void tracked_engine_rollback (GuestTracking *tracking);
