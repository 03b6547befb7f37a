/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "say.h"

#include "stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void
say (const char *format, ...)
{
  char line[512];
  va_list arguments;

  va_start (arguments, format);
  int length = vsnprintf (line, sizeof line - 1, format, arguments);
  va_end (arguments);
  if (length < 0)
    return;
  size_t size = (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
  line[size] = '\n';
  (void)write_full (STDOUT_FILENO, line, size + 1);
}

uint64_t
clock_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void
sleep_ms (uint64_t ms)
{
  struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

  while (clock_nanosleep (CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
    ;
}
