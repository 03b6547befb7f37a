/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Output on the console: every line, or group of lines, is one write, so that writers do not mix.
 */
#ifndef WITNESS_SAY_H
#define WITNESS_SAY_H

#include <stdint.h>

/* Prints one line. */
void say (const char *format, ...) __attribute__ ((format (printf, 1, 2)));

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t clock_ms (void);

/* Sleeps @ms milliseconds whatever signals arrive. */
void sleep_ms (uint64_t ms);

#endif
