/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A child process of a cell that answers questions. */
#ifndef WITNESS_HELPER_H
#define WITNESS_HELPER_H

#include "witness.h"

typedef uint64_t (*HelperAnswer) (Cell *cell, uint64_t question);

typedef struct {
  pid_t pid;
  int to;
  int from;
} Helper;

/* Starts a child that answers every question with @answer until it is asked no more. */
void helper_start (Cell *cell, Helper *helper, HelperAnswer answer);

/* The child's own loop, for a child that is forked in another way. */
void helper_serve (Cell *cell, int in, int out, HelperAnswer answer) __attribute__ ((noreturn));

/* Asks and waits. Fails @cell and returns false if the child is gone. */
bool helper_ask (Cell *cell, const Helper *helper, uint64_t question, uint64_t *answer);

#endif
