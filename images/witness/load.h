/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A chosen amount of RAM with chosen content, rewritten at a chosen rate and verified all the time.
 */
#ifndef WITNESS_LOAD_H
#define WITNESS_LOAD_H

#include "witness.h"

typedef struct {
  uint64_t fill_mib;    /* 0 = no load */
  uint64_t compress;    /* percent of each page that is zero */
  uint64_t dirty_mib_s; /* random pages rewritten */
  uint64_t
      touch_mib_s; /* random pages of which the first words are written: more of them per CPU */
  uint64_t sweep_mib_s; /* pages verified in turn, besides those rewritten */
  uint64_t seed;        /* guests of different seeds have different content */
} LoadOptions;

typedef struct {
  pid_t pid; /* 0 = no load */
  int to;
  Slot *slot; /* counts pages filled and verified, and turns; fails like a cell's */
} Load;

/* Starts the load's process; @slot is in shared memory. Prints "load filled N MiB" once it is. */
void load_start (Load *load, const LoadOptions *options, Slot *slot);

/* Asks for @mib MiB of distinct pages to be rewritten at once; "load wrote N MiB" is the answer. */
void load_request_write (const Load *load, uint64_t mib);

/* Asks for all pages to be verified; "load verified N MiB" is the answer. */
void load_request_verify (const Load *load);

#endif
