/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File systems of a guest frozen over the instant of its checkpoint, so that its disks alone make
 * sense, too:
 *
 *   prepare ──▶ freeze ──▶ (stop, instant, resume) ──▶ thaw ──▶ finish
 *   is there    from here on the keeper thaws,         answered by the guest
 *   an agent?   whatever becomes of this process       while its memory is still read
 */
#pragma once

#include <vmckpt/unit/unit.h>

typedef struct _Quiesce Quiesce;

/**
 * quiesce_new:
 * @timeout_ms: for each of freezing and thawing
 *
 * Finds the guest's agent and holds its port. DRIVER_ERROR_IMPOSSIBLE, with what to do, if there is
 * none, the guest is paused, or somebody has frozen it already.
 */
Quiesce *quiesce_new (const Unit *unit, int timeout_ms, GCancellable *cancellable, GError **error);

/* The guest's writers wait from here on. Nothing if it is frozen already. On failure it is thawed
 * by quiesce_finish(). */
gboolean quiesce_freeze (Quiesce *quiesce, GError **error);

/* The guest runs: begins to thaw it, and does not wait. Idempotent. */
void quiesce_thaw (Quiesce *quiesce);

/* Waits until the guest is thawed. FALSE with @error if it does not say so in time: its keeper then
 * goes on trying. Idempotent; @quiesce may be NULL. */
gboolean quiesce_finish (Quiesce *quiesce, GError **error);

/* How long writers waited, milliseconds; as far as is known. */
double quiesce_frozen_ms (Quiesce *quiesce);

/* Finishes, and frees. */
void quiesce_free (Quiesce *quiesce);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Quiesce, quiesce_free)

/* ---- A guest that was saved frozen ---- */

/* Notes in @machine, the record of a checkpoint, that its guest is frozen in it. */
void quiesce_record (JsonObject *machine);

/**
 * quiesce_take_over:
 * @freeze: (out): NULL if the guest of @manifest was not frozen
 *
 * To be called before a restored guest runs. As soon as @freeze is freed its keeper thaws the
 * guest, which may be at any time after that: the first thing that a running guest does then.
 */
gboolean quiesce_take_over (const Manifest *manifest, const GuestSpec *spec, const char *directory,
                            KeeperFreeze **freeze, GError **error);
