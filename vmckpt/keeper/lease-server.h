/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper's side of keeper.sock: answers HELLO, holds the one lease, the one guard
 * and the one freeze, and notices when they break.
 * Runs on the default GMainContext. The picture of a connection:
 *
 *   connected ──LEASE_*──▶ waiting ──guest is right──▶ holding ──END──▶ done
 *        │                                               │
 *        └── HELLO: stays, its end says that the keeper is gone
 *                                                        └── breaks ──▶ broken(), then putting
 * right
 *
 * A guard goes the same way, by the side of leases; so does a freeze, which never waits.
 */
#pragma once

#include "state.h"

#define LEASE_MAX_CONNECTIONS 64

typedef struct _LeaseServer LeaseServer;

typedef struct {
  /* A lease begins or ends; to be recorded before the other side hears of it. */
  void (*changed) (LeaseKind kind, gpointer user_data);
  /* A lease broke. @stream (transfer full) or -1. The server grants no lease until
   * lease_server_ready() is called. */
  void (*broken) (LeaseKind kind, int stream, gpointer user_data);
  /* A guard begins, of process @daemon, or ends (start_ticks 0); to be recorded likewise. */
  void (*guarded) (ProcessId daemon, gpointer user_data);
  /* A guard broke; as for a lease. */
  void (*unguarded) (gpointer user_data);
  /* A freeze begins or ends; to be recorded likewise. */
  void (*frozen) (gboolean begins, gpointer user_data);
  /* A freeze broke: the guest is to be thawed. None begins until lease_server_thawed(). */
  void (*thaw) (gpointer user_data);
} LeaseServerFuncs;

/* @listener: (transfer full). @funcs is borrowed and must outlive the server. */
LeaseServer *lease_server_new (int listener, const KeeperState *state,
                               const LeaseServerFuncs *funcs, gpointer user_data);
void lease_server_free (LeaseServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (LeaseServer, lease_server_free)

/* Leases and guards are to wait until lease_server_ready(): the guest is being put right. */
void lease_server_hold (LeaseServer *server);

/* No freeze is to begin until lease_server_thawed(): the guest is being thawed. */
void lease_server_thawing (LeaseServer *server);
void lease_server_thawed (LeaseServer *server);

/* The guest is right again: leases and guards that wait are granted. */
void lease_server_ready (LeaseServer *server);
