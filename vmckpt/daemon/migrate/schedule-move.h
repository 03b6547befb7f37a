/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checkpoints at regular times go along with their guest: what is left of a schedule is said to the
 * host where the guest runs by now, and kept there (schedules.h). */
#pragma once

#include "peer.h"
#include "request.h"

typedef struct {
  const char *store_here, *store_there; /* (nullable): paths of one store on both hosts */
  /* (nullable): told a sentence for each. */
  void (*message) (const char *text, gpointer user_data);
  gpointer user_data;
} ScheduleMove;

/**
 * schedules_move:
 * @guest: is known to run at @peer, which it went to, and is not known there as finished yet
 * @move: (nullable)
 *
 * Each goes on there, or ends here with the other host's reason. Blocks.
 */
void schedules_move (Daemon *daemon, Guest *guest, Peer *peer, const ScheduleMove *move);

/* Those of a domain that libvirt has moved to @to, where perhaps no vmckptd is: they end, and
 * whoever asked for them is told. */
void schedules_leave (Daemon *daemon, Guest *guest, const char *to);

/* The route of that at the destination: POST /v1/migrations/ID/schedules. */
JsonObject *schedules_arrive (Request *request, GError **error);
