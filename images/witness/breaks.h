/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The proof that each cell can fail, and fails alone. */
#ifndef WITNESS_BREAKS_H
#define WITNESS_BREAKS_H

#include "set.h"

/* For each cell in turn: starts all cells afresh, breaks the one, and waits until it has failed and
 * every other one has passed several more checks. Prints a line for each and a summary; true if
 * every cell was caught and none dragged another along. */
bool breaks_in_turn (CellSet *set, const Options *options);

#endif
