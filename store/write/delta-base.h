/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making deltas while writing: finding the base of a page that changed, reading it, and knowing
 * when that is not worth it.
 */
#pragma once

#include <vmckpt/store/writer.h>

#include "store-private.h"

/* Whether deltas are tried: they cost the reading of a frame for each page, which is wasted when
 * pages are written anew as a whole, and too much where reading takes long. */
typedef struct {
  StoreDeltaMode mode;
  guint64 tried, made; /* pages, lately */
  gint64 us;           /* what that took */
  guint refused;       /* frames of pages that were not tried */
} DeltaRule;

/* Pages of a frame that are tried first where it is not known that deltas pay. */
#define DELTA_SAMPLE_PAGES 8

typedef enum {
  DELTA_TRY_NONE,
  DELTA_TRY_SAMPLE, /* DELTA_SAMPLE_PAGES of them, and the rest if delta_sample_pays() */
  DELTA_TRY_ALL,
} DeltaTry;

/* How much of the next frame of pages that changed is to be tried. Asked when it is its turn, not
 * when its pages come, so that what became of those before it is known. */
DeltaTry delta_rule_wants (DeltaRule *rule);

/* Whether the rest of a frame is worth it, of which @tried pages were tried and @made are deltas.
 */
gboolean delta_sample_pays (guint tried, guint made);

/* Takes in what became of some pages. */
void delta_rule_note (DeltaRule *rule, guint tried, guint made, gint64 us);

/* A page that changed. */
typedef struct {
  ChunkName former;
  const guint8 *data; /* borrowed */
} DeltaPage;

/* Finds a chunk that may be relied on; @full: stored in full. Any thread. */
typedef gboolean (*DeltaFindFunc) (const ChunkName *name, gboolean full, ChunkLocation *location,
                                   gpointer user_data);

/**
 * delta_make:
 * @pages: at most DELTA_FRAME_PAGES
 * @builder: takes the deltas
 * @made: (out caller-allocates): @count places in @pages: those that are deltas now, in the order
 * in which the builder has them
 *
 * Compares pages with their former content, or with the base of that if it is a delta itself.
 * Whatever cannot be read is no base.
 *
 * Returns: how many pages are deltas.
 */
guint delta_make (Store *store, const DeltaPage *pages, guint count, DeltaFindFunc find,
                  gpointer user_data, DeltaBuilder *builder, guint *made);
