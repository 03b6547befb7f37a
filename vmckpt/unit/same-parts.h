/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint of a guest that has not run since another one: it has that one's parts. */
#pragma once

#include <vmckpt/ram/capture.h>
#include <vmckpt/unit/unit.h>

/* The checkpoint whose parts are to be taken over. */
typedef struct {
  Store *store;       /* borrowed */
  Manifest *manifest; /* (nullable): none: the guest is to be read; owned */
} FormerCheckpoint;

/* Frees what it holds and resets it. */
void former_checkpoint_clear (FormerCheckpoint *former);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FormerCheckpoint, former_checkpoint_clear)

/**
 * former_checkpoint_find:
 * @store: where the new one is to be
 * @former: (out caller-allocates): without a manifest if QEMU can save the guest itself
 *
 * A guest of ours that is to be suspended and could not be saved so is let run for a moment.
 *
 * Returns: FALSE with @error, which says what to do, if QEMU cannot save the guest and the
 * checkpoint that shows it is not known or cannot be read.
 */
gboolean former_checkpoint_find (const Unit *unit, Store *store, const CheckpointOptions *options,
                                 const UnitWatcher *watcher, FormerCheckpoint *former,
                                 GError **error);

/**
 * same_parts_capture:
 * @former: with a manifest
 * @manifest: (inout): gets parts, machine record and engine of @former's
 *
 * Instead of engine_capture(). Within one store maps are named again; from another store contents
 * are read and stored.
 */
gboolean same_parts_capture (const FormerCheckpoint *former, const CaptureContext *context,
                             Manifest *manifest, CaptureReport *report, GError **error);

/* After that, instead of engine_settle(): @manifest is durable in @store. */
void same_parts_settle (const Unit *unit, const FormerCheckpoint *former, Store *store,
                        const Manifest *manifest);

/* Before the guest is powered off: that it still has not run. */
gboolean same_parts_check_still (const Unit *unit, GError **error);
