/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which engine captures a guest. */
#pragma once

#include <vmckpt/disk/disk-capture.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/unit/unit.h>

/* QEMU's `stop` flushes every disk image, while the guest is stopped. What can be written before is
 * written by this. Failures do not matter here: QEMU's own flush will tell them. */
void engine_flush_images (const Unit *unit);

/**
 * engine_capture:
 * @unit: its recorder has recorded the machine for this checkpoint
 * @context: complete but for what an engine needs to know about the guest
 * @disks: (nullable): disks that are to be of the same instant; prepared here
 * @engine: the wish; CHECKPOINT_ENGINE_AUTO falls back, telling why
 * @manifest: (inout): gets the parts, and the engine's name
 *
 * Captures with the tracked engine if the guest's writes can be tracked, else with the stream
 * engine. With a wish that cannot be: RAM_ERROR_IMPOSSIBLE with the reason. What became of the
 * checkpoint is to be told to engine_settle().
 */
gboolean engine_capture (const Unit *unit, CaptureContext *context, DiskCapture *disks,
                         CheckpointEngine engine, CaptureMode mode, Manifest *manifest,
                         KeeperLease **lease, CaptureReport *report, GError **error);

/* After engine_capture() has succeeded: @committed: the checkpoint is durable, else there is none.
 */
void engine_settle (const Unit *unit, Store *store, const Manifest *manifest, gboolean committed);
