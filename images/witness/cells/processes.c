/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes: a tree that passes a word down and up, a zombie, a stopped child. */
#include "cells.h"

#include "../helper.h"
#include "../pattern.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* tree: child, grandchild and great-grandchild, the last one leads a session of its own. */

enum { TREE_DEPTH = 3, TREE_HARM = 0 };

static struct {
  pid_t self;
  pid_t parent;
  unsigned level;
  Helper next;
} branch; /* each process of the tree has its own copy */

static uint64_t
tree_answer (Cell *cell, uint64_t question)
{
  if (branch.self != getpid()) { /* the first question: grow */
    branch.self = getpid();
    branch.parent = getppid();
    branch.level++;
    if (branch.level < TREE_DEPTH)
      helper_start (cell, &branch.next, tree_answer);
    else
      setsid();
  }
  if (getppid() != branch.parent)
    cell_fail (cell, "level %u has another parent", branch.level);
  if (branch.level < TREE_DEPTH) {
    uint64_t answer = 0;
    if (helper_ask (cell, &branch.next, question, &answer))
      return answer + 1;
    return 0;
  }
  if (question == TREE_HARM)
    _exit (1);
  if (getsid (0) != branch.self)
    cell_fail (cell, "the session has changed");
  return question + 1;
}

static void
tree_start (Cell *cell)
{
  helper_start (cell, cell->state, tree_answer);
}

static void
tree_check (Cell *cell, uint64_t seq)
{
  const Helper *top = cell->state;
  uint64_t word = pattern_word (cell->salt, seq) | 1, answer = 0;

  CELL_REQUIRE (cell, kill (top->pid, 0) == 0, "the child is gone");
  if (helper_ask (cell, top, word, &answer))
    CELL_REQUIRE (cell, answer == word + TREE_DEPTH, "the tree answers wrongly");
}

static void
tree_damage (Cell *cell)
{
  uint64_t answer;

  (void)helper_ask (cell, cell->state, TREE_HARM, &answer);
}

const CellType cell_tree = { .name = "tree",
                             .about = "process tree three deep, parents and a session",
                             .state_size = sizeof (Helper),
                             .start = tree_start,
                             .check = tree_check,
                             .damage = tree_damage };

/* zombie: a child that has ended and is not reaped; every fourth step it is replaced. */

typedef struct {
  pid_t pid;
  int code;
} Zombie;

static void
zombie_make (Cell *cell, uint64_t seq)
{
  Zombie *zombie = cell->state;
  siginfo_t info;

  zombie->code = (int)(pattern_word (cell->salt, seq) % 251);
  zombie->pid = cell_fork (cell);
  if (zombie->pid == 0)
    _exit (zombie->code);
  while (waitid (P_PID, (id_t)zombie->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
    ;
}

static void
zombie_start (Cell *cell)
{
  zombie_make (cell, 0);
}

static void
zombie_check (Cell *cell, uint64_t seq)
{
  Zombie *zombie = cell->state;
  siginfo_t info = { 0 };

  int result = waitid (P_PID, (id_t)zombie->pid, &info, WEXITED | WNOWAIT | WNOHANG);
  CELL_REQUIRE (cell, result == 0 && info.si_pid == zombie->pid, "there is no zombie: %s",
                strerror (errno));
  CELL_REQUIRE (cell, info.si_code == CLD_EXITED && info.si_status == zombie->code,
                "exit status %d, not %d", info.si_status, zombie->code);
  if (seq % 4 == 3) {
    CELL_REQUIRE (cell, waitpid (zombie->pid, NULL, 0) == zombie->pid, "cannot reap: %s",
                  strerror (errno));
    zombie_make (cell, seq + 1);
  }
}

static void
zombie_damage (Cell *cell)
{
  Zombie *zombie = cell->state;

  waitpid (zombie->pid, NULL, 0);
}

const CellType cell_zombie = { .name = "zombie",
                               .about = "ended child with its exit status, not reaped",
                               .state_size = sizeof (Zombie),
                               .start = zombie_start,
                               .check = zombie_check,
                               .damage = zombie_damage };

/* stopped: a child that counts once each time it is let run, and stops itself again. */

typedef struct {
  pid_t pid;
  _Atomic uint64_t *runs;
} Stopped;

/* Waits until the child has stopped and leaves the news of it unread. */
static void
stopped_await (Cell *cell)
{
  Stopped *stopped = cell->state;
  siginfo_t info;
  int result;

  do
    result = waitid (P_PID, (id_t)stopped->pid, &info, WSTOPPED | WNOWAIT);
  while (result < 0 && errno == EINTR);
  CELL_REQUIRE (cell, result == 0, "the child does not stop: %s", strerror (errno));
}

static void
stopped_start (Cell *cell)
{
  Stopped *stopped = cell->state;

  stopped->runs =
      mmap (NULL, sizeof *stopped->runs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CELL_REQUIRE (cell, stopped->runs != MAP_FAILED, "cannot map: %s", strerror (errno));
  stopped->pid = cell_fork (cell);
  if (stopped->pid == 0)
    for (;;) {
      atomic_fetch_add (stopped->runs, 1);
      raise (SIGSTOP);
    }
  stopped_await (cell);
}

static void
stopped_check (Cell *cell, uint64_t seq)
{
  Stopped *stopped = cell->state;
  siginfo_t info = { 0 };

  int result = waitid (P_PID, (id_t)stopped->pid, &info, WSTOPPED | WNOHANG);
  CELL_REQUIRE (cell, result == 0 && info.si_pid == stopped->pid && info.si_status == SIGSTOP,
                "the child is not stopped");
  uint64_t runs = atomic_load (stopped->runs);
  CELL_REQUIRE (cell, runs == seq + 1, "the child ran %" PRIu64 " times, not %" PRIu64, runs,
                seq + 1);
  kill (stopped->pid, SIGCONT);
  stopped_await (cell);
}

static void
stopped_damage (Cell *cell)
{
  Stopped *stopped = cell->state;
  siginfo_t info;

  waitid (P_PID, (id_t)stopped->pid, &info, WSTOPPED);
  kill (stopped->pid, SIGCONT);
  stopped_await (cell);
}

const CellType cell_stopped = { .name = "stopped",
                                .about = "child stopped by SIGSTOP, its news unread",
                                .state_size = sizeof (Stopped),
                                .start = stopped_start,
                                .check = stopped_check,
                                .damage = stopped_damage };
