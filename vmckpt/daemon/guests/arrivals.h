/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests on their way to this host, and the one decision about each: does it run here. The protocol
 * is in docs/api.md, "Migration"; who runs a guest after which failure, in docs/design.md.
 *
 *   RECEIVING ──▶ ARRIVED ──go──▶ RUNNING      decided: DISKS/migrations/ID.json is durable
 *       └────────────┴──────────▶ ENDED        its QEMU is gone and has not run
 *
 * The source says `go` only when its own QEMU is stopped and everything is here, and never runs the
 * guest by itself afterwards: what this table says counts. It decides once, under a lock, and says
 * RUNNING only after that is durable, so a daemon that dies leaves one of two things: the record,
 * and the next daemon makes the guest run; or none, and the next daemon ends the QEMU. A migration
 * that is not known here has never run here, and never will.
 *
 * Which way the guest comes (a live stream, or checkpoints in a store) is the business of whoever
 * calls arrivals_add(): it brings up a QEMU that is stopped, under a restore lease, and hands that
 * to arrival_wait_decided().
 *
 * Any thread.
 */
#pragma once

#include "runtime.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>

/* In a guest's directory from before its QEMU has got anything until the guest is in service: the
 * id of the migration that it comes by. */
#define GUEST_FILE_ARRIVAL "arrival.json"

#define MIGRATION_PROTOCOL 1
/* The source says something, if only a question, at least this often; half of it is the rule. */
#define MIGRATION_SILENCE_SECONDS 30

typedef enum {
  ARRIVAL_UNKNOWN, /* never heard of, or ended and forgotten: it does not run here and never will */
  ARRIVAL_RECEIVING,
  ARRIVAL_ARRIVED,
  ARRIVAL_RUNNING, /* decided: it runs here (or has, and ended) */
  ARRIVAL_ENDING,  /* it will never run here; its QEMU is being ended */
  ARRIVAL_ENDED,
} ArrivalState;

/* "unknown", "receiving", "arrived", "running", "ending", "ended". */
const char *arrival_state_name (ArrivalState state);
/* ARRIVAL_UNKNOWN for what is no such name. */
ArrivalState arrival_state_parse (const char *name);

typedef struct _Arrivals Arrivals;
typedef struct _Arrival Arrival;

/* @runtime is borrowed. Nothing is read before arrivals_take_over(). */
Arrivals *arrivals_new (const Runtime *runtime);

/**
 * arrivals_add:
 * @id: of the migration: a uuid that the source made
 * @guest: its name here
 * @from: the source host, for people
 *
 * Returns: (transfer full): RECEIVING; API_CONFLICT if that id was used before, API_USAGE if it is
 * none.
 */
Arrival *arrivals_add (Arrivals *arrivals, const char *id, const char *guest, const char *from,
                       GError **error);

Arrival *arrival_ref (Arrival *arrival);
void arrival_unref (Arrival *arrival);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Arrival, arrival_unref)

const char *arrival_id (Arrival *arrival);

/* Cancelled when the guest is not to arrive any more; for everything that takes long. Borrowed. */
GCancellable *arrival_cancellable (Arrival *arrival);

/* Writes GUEST_FILE_ARRIVAL: from here on the next daemon knows that this QEMU is undecided. To
 * be called as soon as @directory is there. */
gboolean arrival_mark (Arrival *arrival, const char *directory, GError **error);
/* The guest is in service: the mark goes. */
void arrival_unmark (const char *directory);

/* A guest that has arrived. Borrowed. */
typedef struct {
  QmpClient *monitor;
  KeeperLease
      *lease; /* (nullable): for a restore; ended when it is decided that the guest runs here */
  gboolean paused; /* it was paused by its user, and stays so */
} ArrivedGuest;

/* @guest: loaded, stopped; borrowed until arrival_wait_decided() returns. ARRIVED from here on:
 * tell the source after this. FALSE with @error if it is not to arrive any more. */
gboolean arrival_announce (Arrival *arrival, const ArrivedGuest *guest, GError **error);

/**
 * arrival_wait_decided:
 *
 * After arrival_announce(), in any case. Waits until the source says `go` and the guest runs, which
 * whoever brings the `go` does; or that it will not: the source said so, was silent for
 * MIGRATION_SILENCE_SECONDS, or arrival_cancellable() was cancelled.
 *
 * Returns: TRUE: it runs. FALSE with @error: ENDING; the caller ends its QEMU, then calls
 * arrival_set_ended().
 */
gboolean arrival_wait_decided (Arrival *arrival, GError **error);

/**
 * arrival_wait_told:
 *
 * Waits for what the source says with arrivals_tell(): of a guest that comes through a store, the
 * checkpoint by which it comes. Gives up as arrival_wait_decided() does.
 *
 * Returns: newly allocated; NULL with @error: ENDING
 */
char *arrival_wait_told (Arrival *arrival, GError **error);

/* What arrival_wait_told() returned is read and checked: loading begins. */
void arrival_note_read (Arrival *arrival);

/* It will never run here, and its QEMU is gone. Also for one that never got as far as ARRIVED. */
void arrival_set_ended (Arrival *arrival, const GError *reason);

/* ---- What the source says (routes-migrate.c); each is a sign of life of it ---- */

/**
 * arrivals_records:
 *
 * What the records of decisions are called, a uuid that is made once with them. A host that has
 * lost them, or uses others, would call each migration unknown: the source takes that as an answer
 * only from who has the records that the guest was going to.
 *
 * Returns: newly allocated; NULL with @error if there are none yet, or they cannot be read
 */
char *arrivals_records (Arrivals *arrivals, GError **error);

/* The state; ARRIVAL_UNKNOWN if there is none. */
ArrivalState arrivals_state (Arrivals *arrivals, const char *id);

/**
 * arrivals_go:
 *
 * Decides. May be said again: the answer is the same.
 *
 * Returns: RUNNING, or ENDING, ENDED or UNKNOWN: then the source runs the guest. Never another.
 * With
 * @error a sentence that says why not.
 */
ArrivalState arrivals_go (Arrivals *arrivals, const char *id, GError **error);

/* Says @text to who waits in arrival_wait_told(), or will, and waits until the guest has arrived,
 * or will not: returns any state but RECEIVING; with @error a sentence that says why not. The first
 * text counts. */
ArrivalState arrivals_tell (Arrivals *arrivals, const char *id, const char *text, GError **error);

/* Milliseconds from arrivals_tell() to arrival_note_read(); 0: it is not known. */
double arrivals_read_ms (Arrivals *arrivals, const char *id);

/* The source gives it up, if it has not been decided: waits a while for the end of its QEMU.
 * Returns RUNNING, ENDING, ENDED or UNKNOWN. */
ArrivalState arrivals_end (Arrivals *arrivals, const char *id);

/* The name of its guest here, newly allocated; NULL with API_NOT_FOUND. */
char *arrivals_guest (Arrivals *arrivals, const char *id, GError **error);

/* The source knows how it ended: the record may go, unless a guest still has its mark. */
void arrivals_forget (Arrivals *arrivals, const char *id);

/* ---- What an earlier daemon left ---- */

/* Whether the guest in @directory comes by a migration that is not finished, and how it was
 * decided:
 * @runs; @paused: and stays paused. Of a QEMU that is found: if it does not run here, it is to be
 * ended; if it does, `cont` unless @paused, then arrival_unmark(). */
gboolean arrivals_find_left (Arrivals *arrivals, const char *directory, gboolean *runs,
                             gboolean *paused);
