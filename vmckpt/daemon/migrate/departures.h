/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests of this host that are on their way to another, and what this side owes them: that exactly
 * one of the two runs (docs/design.md, "Migration: exactly one copy"; the other side is
 * arrivals.h).
 *
 *   MOVING ──▶ GOING ──go──▶ MOVED      it runs there: the QEMU here is ended
 *     └──────────┴──────────▶ none      it does not, and never will: it goes on here
 *
 * The state is in the guest's daemon.json before anything is done that needs it. In MOVING the
 * guest may go on here at any time. In GOING only the other side knows, and is asked until it says;
 * by this daemon or the next.
 */
#pragma once

#include "daemon.h"
#include "peer.h"

/* Begins to settle what an earlier daemon left, when its guests have been found, and goes on until
 * each is known, in the background. @daemon is borrowed for good. Main thread. */
void departures_watch (Daemon *daemon);

/* @id: of the migration, a new uuid; @runs: it runs, and is to run wherever it will be. With work
 * begun on @guest, as for all of these. Before anything is done: MOVING. */
gboolean departure_begin (Guest *guest, const char *id, const char *to, gboolean runs,
                          GError **error);

typedef enum {
  DEPARTURE_THERE,   /* it runs there */
  DEPARTURE_HERE,    /* it does not run there, and never will */
  DEPARTURE_UNKNOWN, /* nobody knows yet; it stands still, and departures_watch() asks on */
} DepartureEnd;

/* Before departure_go(), when everything is there: from here on the keeper does not have the guest
 * go on here if this process dies. @lease: (nullable). FALSE if it does not answer, and QEMU lives;
 * the guest of a QEMU that is gone runs nowhere but there. */
gboolean departure_release (Guest *guest, KeeperLease *lease, GError **error);

/**
 * departure_go:
 * @peer: the destination, which has said that everything is there
 * @records: what its records are called; no other's word counts afterwards
 * @cancellable: (nullable): ends the asking, not what was said
 *
 * The guest's QEMU stands still. GOING, then says `go`, and asks for up to half a minute if the
 * answer is lost. After THERE the state is MOVED: departure_finish(). After HERE it is still GOING:
 * the caller has the guest go on, then departure_give_up().
 *
 * Returns: with @error unless THERE.
 */
DepartureEnd departure_go (Guest *guest, Peer *peer, const char *records, GCancellable *cancellable,
                           GError **error);

/* It runs there: what is left of its schedules goes there, the QEMU here is ended, the guest listed
 * as exited, its claims given up, and the destination forgets the migration. Nothing of it can fail
 * for good. @peer: (nullable): as above. */
void departure_finish (Daemon *daemon, Guest *guest, Peer *peer);

/* It goes on here, and does already: no state any more. Tells the destination if @peer (nullable)
 * can be reached. */
void departure_give_up (Guest *guest, Peer *peer);
