/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restore into a QEMU whose RAM is a memory file: the pages are put there from outside, QEMU loads
 * its devices alone, and what the guest writes from then on is known relative to the checkpoint, so
 * that its next one is incremental.
 *
 *   tracked_restore_check    can it be done this way
 *   tracked_restore_fill     all pages to their places (filled lazily: guest-fill.h)
 *   tracked_restore_protect  writes are known from here on
 *   tracked_restore_load     devices and the small memory blocks; then the guest may run
 *
 * Any checkpoint will do, whichever engine made it. QEMU compares the addresses of the blocks that
 * it leaves out with its own (mr->addr); the RAM of PC machines is mapped through aliases alone and
 * its own address is always 0.
 */
#pragma once

#include <vmckpt/qmp/client.h>
#include <vmckpt/ram/guest-tracking.h>
#include <vmckpt/ram/stream-engine.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/* What a restore works on. Everything is borrowed. */
typedef struct {
  QmpClient *monitor; /* of a QEMU that was started with -incoming defer and -S */
  GuestRam *ram;      /* its memory, attached */
  /* (nullable) the guest's, whose keeper frees it should this process die while it serves writes */
  const char *directory;
  Store *store;
  const Manifest *manifest;
  RestoreStream *stream; /* (nullable): opened before, with the block of @ram left out */
  const Progress *progress;
  GCancellable *cancellable;
} TrackedRestore;

/**
 * tracked_restore_check:
 * @reason: (out): why it cannot be done, for people; newly allocated. NULL: it can
 *
 * Asks before anything is done. stream_engine_restore() is the other way.
 */
gboolean tracked_restore_check (const TrackedRestore *restore, char **reason, GError **error);

/* The part of the checkpoint that the memory file holds; borrowed. NULL if there is none of that
 * name and size. */
const ManifestPart *tracked_restore_part (const TrackedRestore *restore);

/* Writes all of the RAM's pages, each verified, into the file, which reads as zeros before. */
gboolean tracked_restore_fill (const TrackedRestore *restore, GError **error);

/**
 * tracked_restore_protect:
 *
 * The memory is that of the checkpoint, and nothing has run since. Where this host cannot track
 * writes, there is no error, and the next checkpoint compares contents.
 *
 * Returns: (transfer full): to be kept until the guest is in service: without it, a guest that is
 * tracked in sync mode waits.
 */
GuestTracking *tracked_restore_protect (const TrackedRestore *restore, GError **error);

/* Loads everything but the RAM. On success the guest is loaded and paused; on failure QEMU is of no
 * use any more. Also for RAM that QEMU maps copy-on-write (a fork's). */
gboolean tracked_restore_load (const TrackedRestore *restore, GError **error);
