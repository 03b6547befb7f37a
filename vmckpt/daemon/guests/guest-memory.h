/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon must still know about a guest after it was killed: daemon.json beside guest.json.
 */
#pragma once

#include <vmckpt/disk/disk-base.h>
#include <vmckpt/keeper/keeper.h>
#include <vmckpt/unit/standstill.h>

/* How far a guest is on its way to another host (departures.h). */
typedef enum {
  DEPARTURE_MOVING,
  DEPARTURE_GOING,
  DEPARTURE_MOVED,
} DepartureState;

typedef struct {
  char *id;      /* of the migration */
  char *to;      /* the other host, as peer_new() takes it */
  char *records; /* (nullable) from GOING on: arrivals_records() of the other host. Only who has
                    these can say that the guest does not run there */
  DepartureState state;
  gboolean runs; /* it ran before, and is to */
} Departure;

void departure_free (Departure *departure);
Departure *departure_copy (const Departure *departure);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Departure, departure_free)

typedef struct {
  char *checkpoint;       /* (nullable): id that the guest descends from */
  gint64 started_us;      /* when it was first seen here */
  GPtrArray *claims;      /* of char *: store paths in which the guest is claimed */
  Standstill *standstill; /* (nullable): the checkpoint since which it may not have run */
  DiskBase *disk_base;    /* (nullable): what the bitmaps of its disks are relative to */
  Departure *departure;   /* (nullable): it is on its way to another host */
  gboolean doubted;       /* what was remembered is lost: it may have been handed over */
} GuestMemory;

GuestMemory *guest_memory_new (void);
void guest_memory_free (GuestMemory *memory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestMemory, guest_memory_free)

/* Reads daemon.json; a missing or bad one leaves @memory as it is (a lost hint costs time, no more;
 * a lost claim is recognised as dead by its process), but sets `doubted` if there is one: a lost
 * departure would have the guest run twice. */
void guest_memory_load (GuestMemory *memory, const char *directory);

/* Writes it atomically; a guest whose directory is gone is none to remember. On failure the former
 * one is still there. */
gboolean guest_memory_save (const GuestMemory *memory, const char *directory, GError **error);

GStrv guest_memory_claims (const GuestMemory *memory);
void guest_memory_add_claim (GuestMemory *memory, const char *store_path);
