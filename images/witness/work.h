/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Workers: processes that do as much as the CPUs allow, so that what they have done in a time says
 * how fast the guest runs. */
#ifndef WITNESS_WORK_H
#define WITNESS_WORK_H

#include "witness.h"

#define WORKERS_MAX 16

typedef struct {
  _Atomic uint64_t *done; /* of each worker, in memory shared by all; NULL without workers */
  unsigned workers;
  pid_t pids[WORKERS_MAX];
} Work;

/* Starts @workers processes, each with @mib MiB of its own; prints "work ready N MiB" when the last
 * has filled them. A worker that finds its memory changed fails @slot. */
void work_start (Work *work, uint64_t mib, unsigned workers, Slot *slot);

/* How many pages all workers have computed over since they began. */
uint64_t work_done (const Work *work);

/* Stops them (@rest), or lets them go on; "work rests" or "work goes on" is the answer. */
void work_rest (const Work *work, bool rest);

/* Ends them. */
void work_end (Work *work);

#endif
