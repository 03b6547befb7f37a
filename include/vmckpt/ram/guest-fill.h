/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fill of one guest (lazy-fill.h), as the guest's log knows of it: from which checkpoint, and
 * which pages have come. It outlives whoever serves it: the next daemon goes on from the log.
 */
#pragma once

#include <vmckpt/ram/guest-tracking.h>
#include <vmckpt/ram/lazy-fill.h>

typedef struct _GuestFill GuestFill;

/* How a fill is made; everything is borrowed. */
typedef struct {
  GuestRam *ram;
  Store *store;
  const char *checkpoint; /* its id */
  PageMap map;            /* of the RAM block */
  gboolean discards;      /* see LazyFillSetup */
  LazyFillFunc func; /* (nullable) likewise; the log is brought up to date before it is called */
  gpointer user_data;
} GuestFillSetup;

/**
 * guest_fill_begin:
 * @tracking: of that guest
 *
 * For a QEMU that waits for its devices: begins to track what is written, relative to the
 * checkpoint, and readies the memory. Faults are served when this returns; nothing is read ahead
 * before guest_fill_run().
 *
 * Returns: NULL with RAM_ERROR_IMPOSSIBLE if that cannot be here (the message says why).
 */
GuestFill *guest_fill_begin (const GuestFillSetup *setup, GuestTracking *tracking, GError **error);

/* The pages of a guest of an earlier daemon go on to come from there. */
GuestFill *guest_fill_take_over (const GuestFillSetup *setup, GError **error);

/* Whether pages of @ram are missing; of which checkpoint in which store: newly allocated. */
gboolean guest_fill_is_wanted (GuestRam *ram, char **store_id, char **checkpoint, GError **error);

/* Another receiver of events (NULL: none); the former is not told any more when this returns. That
 * the guest waits already is told at once. */
void guest_fill_set_func (GuestFill *fill, LazyFillFunc func, gpointer user_data);

/* The background reading begins; FALSE if it had. One thread at a time. */
gboolean guest_fill_run (GuestFill *fill);

/* The fill itself; borrowed. */
LazyFill *guest_fill_lazy (GuestFill *fill);
/* The checkpoint and the store's id; borrowed. */
const char *guest_fill_checkpoint (GuestFill *fill);
const char *guest_fill_store_id (GuestFill *fill);

/* Any thread. */
GuestFill *guest_fill_ref (GuestFill *fill);
/* With the last reference nobody serves the guest any more: it waits where pages are missing. Not
 * the last one from a LazyFillFunc. NULL is ignored. */
void guest_fill_unref (GuestFill *fill);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestFill, guest_fill_unref)
