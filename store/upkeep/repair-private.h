/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of a repair. */
#pragma once

#include <vmckpt/store/repair.h>

#include "check-private.h"
#include "pack-set.h"
#include "writer-private.h"

typedef struct {
  Store *store;
  Store *from; /* (nullable) */
  const Progress *progress;
  GCancellable *cancellable;
  Check check;         /* what is wrong */
  GHashTable *damaged; /* set of ChunkName: packs to be emptied */
  GHashTable *missing; /* set of ChunkName: packs that are not there */
  GHashTable *unknown; /* set of ChunkName: packs of which nobody knows what is in them */
  GHashTable *avoid;   /* set of ChunkName: all of these */
  NameSet *fetched;    /* chunks that were lost and are stored again */
  StoreRepair *report;
} Repair;

/* repair-salvage.c: copies what can be read of the damaged packs into @writer; packs of which
 * nothing is known go over to repair->unknown. */
gboolean repair_salvage (Repair *repair, StoreWriter *writer, GError **error);

/* repair-fetch.c: finds out which pages of which checkpoints are hurt. With @writer, what is lost
 * is looked for in the other store and put. */
gboolean repair_hurt (Repair *repair, StoreWriter *writer, GError **error);

/* Copies the checkpoints whose maps or manifests are lost anew from the other store. */
gboolean repair_replace (Repair *repair, GError **error);
