/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Futexes between processes: a condition two processes meet at, a robust lock whose owner dies. */
#include "cells.h"

#include "../stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void *
shared_memory (Cell *cell, size_t size)
{
  void *memory = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  if (memory == MAP_FAILED)
    cell_fail (cell, "cannot map: %s", strerror (errno));
  return memory;
}

/* futex-shared: a child always sleeps on the condition; each step it is asked and answers. */

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint64_t asked;
  uint64_t answered;
} Meeting;

static void
meeting_child (Cell *cell, Meeting *meeting)
{
  pthread_mutex_lock (&meeting->lock);
  for (uint64_t turn = 1;; turn++) {
    while (meeting->asked < turn)
      pthread_cond_wait (&meeting->changed, &meeting->lock);
    if (meeting->asked != turn)
      cell_fail (cell, "asked %" PRIu64 " times, not %" PRIu64, meeting->asked, turn);
    meeting->answered++;
    pthread_cond_broadcast (&meeting->changed);
  }
}

static void
futex_shared_start (Cell *cell)
{
  Meeting **meeting = cell->state;
  pthread_mutexattr_t lock_kind;
  pthread_condattr_t changed_kind;

  *meeting = shared_memory (cell, sizeof **meeting);
  if (cell_failed (cell))
    return;
  pthread_mutexattr_init (&lock_kind);
  pthread_mutexattr_setpshared (&lock_kind, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init (&(*meeting)->lock, &lock_kind);
  pthread_condattr_init (&changed_kind);
  pthread_condattr_setpshared (&changed_kind, PTHREAD_PROCESS_SHARED);
  pthread_cond_init (&(*meeting)->changed, &changed_kind);
  if (cell_fork (cell) == 0)
    meeting_child (cell, *meeting);
}

static void
futex_shared_check (Cell *cell, uint64_t seq)
{
  Meeting *meeting = *(Meeting **)cell->state;

  pthread_mutex_lock (&meeting->lock);
  uint64_t answered = meeting->answered;
  if (answered == seq) {
    meeting->asked++;
    pthread_cond_broadcast (&meeting->changed);
    while (meeting->answered < seq + 1 && !cell_failed (cell))
      pthread_cond_wait (&meeting->changed, &meeting->lock);
    answered = meeting->answered - 1;
  }
  pthread_mutex_unlock (&meeting->lock);
  CELL_REQUIRE (cell, answered == seq, "answered %" PRIu64 " times, not %" PRIu64, answered, seq);
}

static void
futex_shared_damage (Cell *cell)
{
  Meeting *meeting = *(Meeting **)cell->state;

  pthread_mutex_lock (&meeting->lock);
  meeting->asked++;
  pthread_cond_broadcast (&meeting->changed);
  pthread_mutex_unlock (&meeting->lock);
  while (!cell_failed (cell) &&
         __atomic_load_n (&meeting->answered, __ATOMIC_SEQ_CST) < meeting->asked)
    usleep (1000);
}

const CellType cell_futex_shared = { .name = "futex-shared",
                                     .about = "process-shared mutex and condition, a sleeper",
                                     .state_size = sizeof (Meeting *),
                                     .start = futex_shared_start,
                                     .check = futex_shared_check,
                                     .damage = futex_shared_damage };

/* futex-robust: a child holds a robust lock; each step it is killed, and the kernel must hand the
 * lock on as that of a dead owner. */

typedef struct {
  pthread_mutex_t *lock;
  pid_t holder;
  int orders; /* a byte here makes the holder let go */
  int reports;
} Robust;

static void
robust_child (pthread_mutex_t *lock, int orders, int reports)
{
  char byte = 'h';

  pthread_mutex_lock (lock);
  if (write_full (reports, &byte, 1) && read_full (orders, &byte, 1)) {
    pthread_mutex_unlock (lock);
    write_full (reports, &byte, 1);
  }
  for (;;)
    pause();
}

static void
robust_hold (Cell *cell)
{
  Robust *state = cell->state;
  int orders[2], reports[2];
  char byte;

  CELL_REQUIRE (cell, pipe (orders) == 0 && pipe (reports) == 0, "cannot make pipes: %s",
                strerror (errno));
  state->holder = cell_fork (cell);
  if (state->holder == 0) {
    close (orders[1]);
    close (reports[0]);
    robust_child (state->lock, orders[0], reports[1]);
  }
  close (orders[0]);
  close (reports[1]);
  state->orders = orders[1];
  state->reports = reports[0];
  CELL_REQUIRE (cell, read_full (state->reports, &byte, 1), "the holder does not start");
}

static void
futex_robust_start (Cell *cell)
{
  Robust *state = cell->state;
  pthread_mutexattr_t kind;

  state->lock = shared_memory (cell, sizeof (pthread_mutex_t));
  if (cell_failed (cell))
    return;
  pthread_mutexattr_init (&kind);
  pthread_mutexattr_setpshared (&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust (&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init (state->lock, &kind);
  robust_hold (cell);
}

static void
futex_robust_check (Cell *cell, uint64_t seq)
{
  Robust *state = cell->state;
  int status;

  /* One hand-over in four steps: it costs a fork. */
  int result = pthread_mutex_trylock (state->lock);
  CELL_REQUIRE (cell, result == EBUSY, "the lock is not held: %s", strerror (result));
  if (seq % 4 != 3)
    return;
  kill (state->holder, SIGKILL);
  while (waitpid (state->holder, &status, 0) < 0 && errno == EINTR)
    ;
  result = pthread_mutex_lock (state->lock);
  CELL_REQUIRE (cell, result == EOWNERDEAD, "the dead owner is not told: %s", strerror (result));
  pthread_mutex_consistent (state->lock);
  pthread_mutex_unlock (state->lock);
  close (state->orders);
  close (state->reports);
  robust_hold (cell);
}

static void
futex_robust_damage (Cell *cell)
{
  Robust *state = cell->state;
  char byte = 'u';

  (void)(write_full (state->orders, &byte, 1) && read_full (state->reports, &byte, 1));
}

const CellType cell_futex_robust = { .name = "futex-robust",
                                     .about = "robust mutex of an owner that dies",
                                     .state_size = sizeof (Robust),
                                     .start = futex_robust_start,
                                     .check = futex_robust_check,
                                     .damage = futex_robust_damage };
