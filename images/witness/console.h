/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Orders typed on the console, one per line. */
#ifndef WITNESS_CONSOLE_H
#define WITNESS_CONSOLE_H

#include "set.h"
#include "work.h"

typedef struct {
  char line[256];
  size_t size;
  bool open; /* false where nobody types, and once the input has ended */
} Console;

/* Takes the terminal out of echo, so that what is typed does not mix with the report. */
void console_init (void);

/* Waits at most @ms, for input if @console is open, and obeys the lines that came. */
void console_serve (Console *console, uint64_t ms, CellSet *set, const Load *load,
                    const Work *work);

#endif
