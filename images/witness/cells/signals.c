/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals: queued in a signalfd, pending with values, and the masks and handlers themselves. */
#include "cells.h"

#include "../pattern.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_DEPTH = 5 };

/* Queues @signal at the cell's own process, with the low bits of pattern word @seq. */
static void
signal_put (Cell *cell, int signal, uint64_t seq)
{
  union sigval value = { .sival_int = (int)pattern_word (cell->salt, seq) };

  CELL_REQUIRE (cell, sigqueue (getpid(), signal, value) == 0, "cannot queue a signal: %s",
                strerror (errno));
}

static void
signal_block (sigset_t *set, int signal)
{
  sigemptyset (set);
  sigaddset (set, signal);
  sigprocmask (SIG_BLOCK, set, NULL);
}

/* signalfd: five unread signals, each with its value. */

static void
signalfd_start (Cell *cell)
{
  int *fd = cell->state;
  sigset_t set;

  signal_block (&set, SIGRTMIN + 1);
  *fd = signalfd (-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  CELL_REQUIRE (cell, *fd >= 0, "cannot make a signalfd: %s", strerror (errno));
  for (uint64_t seq = 0; seq < QUEUE_DEPTH; seq++)
    signal_put (cell, SIGRTMIN + 1, seq);
}

static void
signalfd_check (Cell *cell, uint64_t seq)
{
  struct signalfd_siginfo info;
  ssize_t n = read (*(int *)cell->state, &info, sizeof info);

  CELL_REQUIRE (cell, n == sizeof info, "no signal is pending: %s", strerror (errno));
  CELL_REQUIRE (cell, info.ssi_int == (int)pattern_word (cell->salt, seq),
                "another signal than the next one");
  signal_put (cell, SIGRTMIN + 1, seq + QUEUE_DEPTH);
}

static void
signalfd_damage (Cell *cell)
{
  struct signalfd_siginfo info;

  (void)!read (*(int *)cell->state, &info, sizeof info);
}

const CellType cell_signalfd = { .name = "signalfd",
                                 .about = "signalfd with unread signals and values",
                                 .state_size = sizeof (int),
                                 .start = signalfd_start,
                                 .check = signalfd_check,
                                 .damage = signalfd_damage };

/* signal-pending: a queue of real-time signals and one classic signal stay pending. */

typedef struct {
  sigset_t queued;
} Pending;

static void
pending_start (Cell *cell)
{
  Pending *state = cell->state;
  sigset_t classic;

  signal_block (&state->queued, SIGRTMIN + 3);
  signal_block (&classic, SIGUSR2);
  CELL_REQUIRE (cell, raise (SIGUSR2) == 0, "cannot raise: %s", strerror (errno));
  for (uint64_t seq = 0; seq < QUEUE_DEPTH; seq++)
    signal_put (cell, SIGRTMIN + 3, seq);
}

static void
pending_check (Cell *cell, uint64_t seq)
{
  Pending *state = cell->state;
  struct timespec none = { 0 };
  sigset_t pending;
  siginfo_t info;

  CELL_REQUIRE (cell,
                sigpending (&pending) == 0 && sigismember (&pending, SIGUSR2) == 1 &&
                    sigismember (&pending, SIGRTMIN + 3) == 1 &&
                    sigismember (&pending, SIGUSR1) == 0,
                "another set of signals is pending");
  int signal = sigtimedwait (&state->queued, &info, &none);
  CELL_REQUIRE (cell, signal == SIGRTMIN + 3 && info.si_code == SI_QUEUE,
                "no queued signal is pending");
  CELL_REQUIRE (cell, info.si_value.sival_int == (int)pattern_word (cell->salt, seq),
                "another signal than the next one");
  signal_put (cell, SIGRTMIN + 3, seq + QUEUE_DEPTH);
}

static void
pending_damage (Cell *cell)
{
  Pending *state = cell->state;
  struct timespec none = { 0 };

  (void)sigtimedwait (&state->queued, NULL, &none);
}

const CellType cell_signal_pending = { .name = "signal-pending",
                                       .about = "pending signals with values, in order",
                                       .state_size = sizeof (Pending),
                                       .start = pending_start,
                                       .check = pending_check,
                                       .damage = pending_damage };

/* signal-blocked: which signals are blocked changes with every step; handlers and the alternate
 * stack are kept. */

enum { BLOCK_FIRST = 40, BLOCK_SPAN = 20, ALT_STACK_SIZE = 16384 };

static volatile sig_atomic_t handled;

typedef struct {
  uint32_t handled;
  sigset_t mask;
  stack_t stack;
  uint8_t memory[ALT_STACK_SIZE];
} Blocked;

static void
blocked_handler (int signal)
{
  (void)signal;
  handled = handled + 1;
}

/* Blocks the set of step @seq and remembers the whole mask. */
static void
blocked_set (Cell *cell, uint64_t seq)
{
  Blocked *state = cell->state;
  uint64_t word = pattern_word (cell->salt, seq);
  sigset_t span, chosen;

  sigemptyset (&span);
  sigemptyset (&chosen);
  for (int i = 0; i < BLOCK_SPAN; i++) {
    sigaddset (&span, BLOCK_FIRST + i);
    if (word >> i & 1)
      sigaddset (&chosen, BLOCK_FIRST + i);
  }
  sigprocmask (SIG_UNBLOCK, &span, NULL);
  sigprocmask (SIG_BLOCK, &chosen, NULL);
  sigprocmask (SIG_BLOCK, NULL, &state->mask);
}

static void
blocked_start (Cell *cell)
{
  Blocked *state = cell->state;
  struct sigaction action = { .sa_handler = blocked_handler, .sa_flags = SA_ONSTACK };

  state->stack = (stack_t){ .ss_sp = state->memory, .ss_size = ALT_STACK_SIZE };
  CELL_REQUIRE (cell,
                sigaltstack (&state->stack, NULL) == 0 && sigaction (SIGUSR1, &action, NULL) == 0,
                "cannot set a handler: %s", strerror (errno));
  blocked_set (cell, 0);
}

static void
blocked_check (Cell *cell, uint64_t seq)
{
  Blocked *state = cell->state;
  sigset_t mask;
  stack_t stack;
  struct sigaction action;

  sigprocmask (SIG_BLOCK, NULL, &mask);
  for (int signal = 1; signal < SIGRTMAX; signal++)
    CELL_REQUIRE (cell, sigismember (&mask, signal) == sigismember (&state->mask, signal),
                  "signal %d is %sblocked", signal, sigismember (&mask, signal) == 1 ? "" : "not ");
  CELL_REQUIRE (cell, sigaltstack (NULL, &stack) == 0 && stack.ss_sp == state->memory,
                "the alternate stack is another");
  CELL_REQUIRE (cell,
                sigaction (SIGUSR1, NULL, &action) == 0 && action.sa_handler == blocked_handler &&
                    (action.sa_flags & SA_ONSTACK),
                "the handler is another");
  raise (SIGUSR1);
  state->handled++;
  CELL_REQUIRE (cell, (uint32_t)handled == state->handled, "the handler ran %d times, not %u",
                (int)handled, state->handled);
  blocked_set (cell, seq + 1);
}

static void
blocked_damage (Cell *cell)
{
  Blocked *state = cell->state;
  sigset_t one;

  sigemptyset (&one);
  sigaddset (&one, BLOCK_FIRST);
  sigprocmask (sigismember (&state->mask, BLOCK_FIRST) ? SIG_UNBLOCK : SIG_BLOCK, &one, NULL);
}

const CellType cell_signal_blocked = { .name = "signal-blocked",
                                       .about = "signal masks, handlers, alternate stack",
                                       .state_size = sizeof (Blocked),
                                       .start = blocked_start,
                                       .check = blocked_check,
                                       .damage = blocked_damage };
