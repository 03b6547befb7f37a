/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "helper.h"

#include "stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void
helper_serve (Cell *cell, int in, int out, HelperAnswer answer)
{
  uint64_t word;

  while (read_full (in, &word, sizeof word)) {
    word = answer (cell, word);
    if (!write_full (out, &word, sizeof word))
      break;
  }
  _exit (0);
}

void
helper_start (Cell *cell, Helper *helper, HelperAnswer answer)
{
  int to[2], from[2];

  CELL_REQUIRE (cell, pipe (to) == 0 && pipe (from) == 0, "cannot make pipes: %s",
                strerror (errno));
  helper->pid = cell_fork (cell);
  if (helper->pid == 0) {
    close (to[1]);
    close (from[0]);
    helper_serve (cell, to[0], from[1], answer);
  }
  close (to[0]);
  close (from[1]);
  helper->to = to[1];
  helper->from = from[0];
}

bool
helper_ask (Cell *cell, const Helper *helper, uint64_t question, uint64_t *answer)
{
  if (write_full (helper->to, &question, sizeof question) &&
      read_full (helper->from, answer, sizeof *answer))
    return true;
  cell_fail (cell, "a child process does not answer");
  return false;
}
