/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of a guest's writes, for as long as this process serves the guest: the log that
 * QEMU keeps, and whoever adds to it. Made once per guest and daemon, from its GuestRam.
 */
#pragma once

#include <vmckpt/ram/guest-ram.h>

typedef struct _GuestTracking GuestTracking;

/* Checks VMCKPT_TRACK and VMCKPT_COPY_BEFORE_WRITE (vmckptd(8)) for a known value; call it in
 * main(). */
gboolean guest_tracking_check_environment (GError **error);

/**
 * guest_tracking_new:
 * @ram: attached; a reference is taken
 *
 * Opens the log and, if an earlier daemon left it in the middle of something, puts it right. Writes
 * are tracked from the first checkpoint on, or since a former daemon began; until then this costs
 * the guest nothing.
 *
 * Returns: NULL with @error: RAM_ERROR_IMPOSSIBLE if writes to this memory cannot be told at all
 * (RAM that is a copy), else G_IO_ERROR.
 */
GuestTracking *guest_tracking_new (GuestRam *ram, GError **error);
/* The log stays in QEMU. */
void guest_tracking_free (GuestTracking *tracking);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestTracking, guest_tracking_free)

/* @directory: the guest's, whose keeper is to free the guest if this process dies while it serves
 * write faults. */
void guest_tracking_set_keeper (GuestTracking *tracking, const char *directory);

/* TRUE once: what was known was in doubt and the next checkpoint compares contents. */
gboolean guest_tracking_take_doubt (GuestTracking *tracking);

/* The checkpoint that writes are known relative to, borrowed until the next one; FALSE: none. */
gboolean guest_tracking_base (GuestTracking *tracking, const char **store, const char **id);

/* ---- A guest that goes to another host ---- */

/**
 * guest_tracking_written:
 * @most: bound on how many ranges; near ones are joined beyond it
 *
 * What was written since guest_tracking_base(), of a guest that stands still for good.
 *
 * Returns: (element-type guint64): the first page of each range and the one after its last; NULL
 * with
 * @error if that is not known.
 */
GArray *guest_tracking_written (GuestTracking *tracking, guint most, GError **error);

/**
 * guest_tracking_begin_arrived:
 * @name: of the migration; stands for a base until that is known
 *
 * The memory has come from another host, and the guest has not run here: what it writes is known
 * from here on, relative to a checkpoint that guest_tracking_accept() will name. Until then the
 * next checkpoint reads and compares all of it.
 */
gboolean guest_tracking_begin_arrived (GuestTracking *tracking, const char *name, GError **error);

/**
 * guest_tracking_accept:
 * @name: as for guest_tracking_begin_arrived()
 * @store: its id
 * @checkpoint: the guest's on its former host
 * @ranges: (element-type guint64): what guest_tracking_written() said there
 *
 * Returns: FALSE with @error if tracking was not begun so, or has been begun anew since, or a range
 * is none: nothing has changed.
 */
gboolean guest_tracking_accept (GuestTracking *tracking, const char *name, const char *store,
                                const char *checkpoint, const GArray *ranges, GError **error);

/**
 * guest_tracking_estimate:
 * @store: id of a store
 *
 * How many bytes of RAM a checkpoint into that store would have to read now: what was written since
 * the base, if the store has that, else what was ever touched. What this finds out is in the log.
 * By whoever works on the guest.
 */
guint64 guest_tracking_estimate (GuestTracking *tracking, const char *store);

/* Borrowed. */
GuestRam *guest_tracking_ram (GuestTracking *tracking);

/* For the other files of this room (dirty-log.h, dirty-tracker.h); borrowed. One thread at a time:
 * whoever works on the guest. */
struct _DirtyLog *guest_tracking_log (GuestTracking *tracking);
struct _DirtyTracker *guest_tracking_tracker (GuestTracking *tracking);
