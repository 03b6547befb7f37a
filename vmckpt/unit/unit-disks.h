/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which disks of a guest belong to a checkpoint, and what their bitmaps are relative to after it.
 */
#pragma once

#include <vmckpt/disk/disk-capture.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/unit/unit.h>

/* Of the disks whose mode is capture; NULL if there are none. What @unit and @context refer to must
 * outlive it. */
DiskCapture *unit_disks_new (const Unit *unit, const CaptureContext *context);

/* Reads and stores them, once the guest's memory is; TRUE without any. The time counts as
 * PHASE_STORE of @report. */
gboolean unit_disks_copy (DiskCapture *disks, Manifest *manifest, CaptureReport *report,
                          GError **error);

/**
 * unit_disks_settle:
 * @disks: (nullable)
 * @manifest: durable in @store, if @committed
 *
 * First the base is recorded, then the bitmaps are relative to it. If the former fails, they stay
 * relative to the base before, which a message says.
 */
void unit_disks_settle (const Unit *unit, DiskCapture *disks, Store *store,
                        const Manifest *manifest, const CaptureContext *context,
                        gboolean committed);

/* @manifest is durable in @store and has the same disks as @former: if that is the base, it is
 * @manifest from now on. */
void unit_disks_rename (const Unit *unit, Store *former_store, const Manifest *former, Store *store,
                        const Manifest *manifest);
