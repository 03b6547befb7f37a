/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What marking (mark.c) leaves for settling (pack-use.c). One thread. */
#pragma once

#include "mark.h"
#include "pack-use.h"

/* One index table and bits for each of its entries. The last three are the settling's. */
typedef struct {
  IndexTable *table; /* (transfer none) the view's */
  guint8 *needed;    /* bitmap: checkpoints refer to it */
  guint8 *based;     /* bitmap: deltas that are needed are changes to it */
  guint8 *kept;      /* (nullable) bitmap: needed, and its pack is the one that keeps it */
  guint32 *pack_of;  /* (nullable): per frame, its pack's number */
  PackUse **uses;    /* (nullable): per pack; owned by the table of uses */
} MarkedTable;

struct _Mark {
  Store *store;
  IndexView *view;
  GArray *tables;          /* of MarkedTable */
  GHashTable *checkpoints; /* set of char* */
  GHashTable *missing;     /* set of ChunkName: packs in the index that are not there as it says */
  GHashTable *gone;        /* set of ChunkName: of these, packs of which nothing is there */
  gboolean all_known;      /* of every pack on the medium it is known what is in it */
  GHashTable *unpublished; /* set of ChunkName: packs that only their own footer names */
  GHashTable *condemned;   /* set of ChunkName: packs that are about to go */
  GArray *copies, *bases;  /* scratch of mark.c */
};

static inline gboolean
mark_bit_get (const guint8 *bitmap, guint i)
{
  return bitmap[i / 8] >> i % 8 & 1;
}

static inline void
mark_bit_set (guint8 *bitmap, guint i)
{
  bitmap[i / 8] |= 1 << i % 8;
}
