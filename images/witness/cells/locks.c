/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File locks: POSIX ones of another process, open-file-description ones, flock(). */
#include "cells.h"

#include "../helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LOCK_LENGTH = 10, LOCK_SPAN = 1000 };

static off_t
lock_at (uint64_t seq)
{
  return (off_t)(seq % LOCK_SPAN * 7);
}

static int
lock_file (Cell *cell)
{
  char path[PATH_MAX];

  cell_path (cell, "file", path, sizeof path);
  int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    cell_fail (cell, "cannot open a file: %s", strerror (errno));
  return fd;
}

/* Sets one lock (or none, F_UNLCK, on the whole file) with @command of fcntl(). */
static int
lock_set (int fd, int command, short type, off_t start, off_t length)
{
  struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };

  return fcntl (fd, command, &lock) == 0 ? 0 : errno;
}

/* Fails the cell unless @fd meets a write lock of @owner on the range of step @seq. */
static void
lock_expect (Cell *cell, int fd, int command, pid_t owner, uint64_t seq)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

  CELL_REQUIRE (cell, fcntl (fd, command, &lock) == 0, "cannot ask: %s", strerror (errno));
  CELL_REQUIRE (cell, lock.l_type == F_WRLCK, "the lock is gone");
  CELL_REQUIRE (cell, lock.l_start == lock_at (seq) && lock.l_len == LOCK_LENGTH,
                "locked at %ld, not %ld", (long)lock.l_start, (long)lock_at (seq));
  CELL_REQUIRE (cell, lock.l_pid == owner, "locked by %d, not %d", (int)lock.l_pid, (int)owner);
}

/* lock-posix: a child holds the lock and moves it when asked. */

static const uint64_t lock_release = UINT64_MAX;

typedef struct {
  int fd;
  Helper holder;
} LockPosix;

static uint64_t
lock_posix_answer (Cell *cell, uint64_t question)
{
  const LockPosix *state = cell->state;
  int result = lock_set (state->fd, F_SETLK, F_UNLCK, 0, 0);

  if (result == 0 && question != lock_release)
    result = lock_set (state->fd, F_SETLK, F_WRLCK, lock_at (question), LOCK_LENGTH);
  return (uint64_t)result;
}

static void
lock_posix_move (Cell *cell, uint64_t question)
{
  LockPosix *state = cell->state;
  uint64_t result = 0;

  if (helper_ask (cell, &state->holder, question, &result))
    CELL_REQUIRE (cell, result == 0, "cannot lock: %s", strerror ((int)result));
}

static void
lock_posix_start (Cell *cell)
{
  LockPosix *state = cell->state;

  state->fd = lock_file (cell);
  helper_start (cell, &state->holder, lock_posix_answer);
  lock_posix_move (cell, 0);
}

static void
lock_posix_check (Cell *cell, uint64_t seq)
{
  LockPosix *state = cell->state;

  lock_expect (cell, state->fd, F_GETLK, state->holder.pid, seq);
  lock_posix_move (cell, seq + 1);
}

static void
lock_posix_damage (Cell *cell)
{
  lock_posix_move (cell, lock_release);
}

const CellType cell_lock_posix = { .name = "lock-posix",
                                   .about = "POSIX record lock held by a child",
                                   .state_size = sizeof (LockPosix),
                                   .start = lock_posix_start,
                                   .check = lock_posix_check,
                                   .damage = lock_posix_damage };

/* lock-ofd and lock-flock: two open descriptions of one file in one process. */

typedef struct {
  int holder;
  int other;
} LockPair;

static void
lock_ofd_start (Cell *cell)
{
  LockPair *pair = cell->state;

  pair->holder = lock_file (cell);
  pair->other = lock_file (cell);
  int result = lock_set (pair->holder, F_OFD_SETLK, F_WRLCK, lock_at (0), LOCK_LENGTH);
  CELL_REQUIRE (cell, result == 0, "cannot lock: %s", strerror (result));
}

static void
lock_ofd_check (Cell *cell, uint64_t seq)
{
  LockPair *pair = cell->state;

  lock_expect (cell, pair->other, F_OFD_GETLK, -1, seq);
  int result = lock_set (pair->holder, F_OFD_SETLK, F_UNLCK, 0, 0);
  if (result == 0)
    result = lock_set (pair->holder, F_OFD_SETLK, F_WRLCK, lock_at (seq + 1), LOCK_LENGTH);
  CELL_REQUIRE (cell, result == 0, "cannot lock: %s", strerror (result));
}

static void
lock_ofd_damage (Cell *cell)
{
  const LockPair *pair = cell->state;

  lock_set (pair->holder, F_OFD_SETLK, F_UNLCK, 0, 0);
}

const CellType cell_lock_ofd = { .name = "lock-ofd",
                                 .about = "open-file-description lock",
                                 .state_size = sizeof (LockPair),
                                 .start = lock_ofd_start,
                                 .check = lock_ofd_check,
                                 .damage = lock_ofd_damage };

static void
lock_flock_start (Cell *cell)
{
  LockPair *pair = cell->state;

  pair->holder = lock_file (cell);
  pair->other = lock_file (cell);
  CELL_REQUIRE (cell, flock (pair->holder, LOCK_EX | LOCK_NB) == 0, "cannot lock: %s",
                strerror (errno));
}

static void
lock_flock_check (Cell *cell, uint64_t seq)
{
  LockPair *pair = cell->state;

  (void)seq;
  CELL_REQUIRE (cell, flock (pair->other, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK,
                "the lock is not held");
  CELL_REQUIRE (cell,
                flock (pair->holder, LOCK_UN) == 0 && flock (pair->other, LOCK_EX | LOCK_NB) == 0,
                "cannot hand the lock over: %s", strerror (errno));
  LockPair swapped = { .holder = pair->other, .other = pair->holder };
  *pair = swapped;
}

static void
lock_flock_damage (Cell *cell)
{
  const LockPair *pair = cell->state;

  flock (pair->holder, LOCK_UN);
}

const CellType cell_lock_flock = { .name = "lock-flock",
                                   .about = "flock() lock, handed over each step",
                                   .state_size = sizeof (LockPair),
                                   .start = lock_flock_start,
                                   .check = lock_flock_check,
                                   .damage = lock_flock_damage };
