/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the console is told in each round, and when a cell that does nothing counts as failed. */
#ifndef WITNESS_REPORT_H
#define WITNESS_REPORT_H

#include "set.h"

typedef struct {
  uint64_t round;
  uint64_t seen[SET_MAX + 1];         /* counts at the last round */
  uint64_t still_rounds[SET_MAX + 1]; /* rounds since they changed */
  uint64_t still_since[SET_MAX + 1];  /* and the time of the last change */
} Report;

/* Makes @report the one of a set that has just been started. */
void report_init (Report *report);

/* Fails what stands still and prints one round. Returns false if anything has failed. */
bool report_round (Report *report, CellSet *set, const Load *load);

#endif
