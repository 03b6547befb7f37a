/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POSIX IPC: a shared memory object, named semaphores, a message queue. */
#include "cells.h"

#include "../pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* posix-shm: a named object, mapped, written by a child's mapping and read by the cell's. */

enum { SHM_SIZE = 32 * 1024, SHM_BLOCK = 128, SHM_BLOCKS = SHM_SIZE / SHM_BLOCK };

typedef struct {
  int fd;
  uint8_t *write;
  uint8_t *read;
  char name[NAME_SIZE];
} PosixShm;

static void
posix_shm_start (Cell *cell)
{
  PosixShm *shm = cell->state;

  cell_unique_name (cell, "memory", shm->name);
  shm->fd = shm_open (shm->name, O_RDWR | O_CREAT | O_EXCL, 0600);
  CELL_REQUIRE (cell, shm->fd >= 0, "cannot make the object: %s", strerror (errno));
  cell_leaves (cell, LEFT_POSIX_SHM, 0, shm->name);
  CELL_REQUIRE (cell, ftruncate (shm->fd, SHM_SIZE) == 0, "cannot size it: %s", strerror (errno));
  shm->write = mmap (NULL, SHM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shm->fd, 0);
  shm->read = mmap (NULL, SHM_SIZE, PROT_READ, MAP_SHARED, shm->fd, 0);
  CELL_REQUIRE (cell, shm->write != MAP_FAILED && shm->read != MAP_FAILED, "cannot map: %s",
                strerror (errno));
  pattern_fill (shm->write, SHM_SIZE, cell->salt, 0);
}

static void
posix_shm_check (Cell *cell, uint64_t seq)
{
  PosixShm *shm = cell->state;
  size_t at = seq % SHM_BLOCKS * SHM_BLOCK;
  struct stat by_name, by_fd;

  ssize_t differs = pattern_mismatch (shm->read + at, SHM_BLOCK, cell->salt, seq * SHM_BLOCK);
  CELL_REQUIRE (cell, differs < 0, "byte %zd of the object differs", (ssize_t)at + differs);
  pattern_fill (shm->write + at, SHM_BLOCK, cell->salt, seq * SHM_BLOCK + SHM_SIZE);

  int fd = shm_open (shm->name, O_RDONLY, 0);
  bool same = fd >= 0 && fstat (fd, &by_name) == 0 && fstat (shm->fd, &by_fd) == 0 &&
              by_name.st_ino == by_fd.st_ino && by_name.st_size == SHM_SIZE;
  if (fd >= 0)
    close (fd);
  CELL_REQUIRE (cell, same, "the name no longer leads to the object");
}

static void
posix_shm_damage (Cell *cell)
{
  PosixShm *shm = cell->state;

  for (size_t at = 0; at < SHM_SIZE; at += SHM_BLOCK)
    shm->write[at + SHM_BLOCK - 1] ^= 0x80;
}

const CellType cell_posix_shm = { .name = "posix-shm",
                                  .about = "POSIX shared memory, mapped twice, by name",
                                  .state_size = sizeof (PosixShm),
                                  .start = posix_shm_start,
                                  .check = posix_shm_check,
                                  .damage = posix_shm_damage };

/* posix-sem: named semaphores; a child sleeps in sem_wait(), a third one keeps a value. */

enum { TALLY_SPAN = 1000 };

typedef struct {
  sem_t *ask;
  sem_t *answer;
  sem_t *tally;
} PosixSem;

static sem_t *
posix_sem_make (Cell *cell, const char *part)
{
  char name[NAME_SIZE];

  cell_unique_name (cell, part, name);
  sem_t *sem = sem_open (name, O_CREAT | O_EXCL, 0600, 0);
  if (sem == SEM_FAILED)
    cell_fail (cell, "cannot make a semaphore: %s", strerror (errno));
  else
    cell_leaves (cell, LEFT_POSIX_SEM, 0, name);
  return sem;
}

static bool
posix_sem_wait (sem_t *sem)
{
  int result;

  do
    result = sem_wait (sem);
  while (result < 0 && errno == EINTR);
  return result == 0;
}

static void
posix_sem_start (Cell *cell)
{
  PosixSem *sems = cell->state;

  sems->ask = posix_sem_make (cell, "ask");
  sems->answer = posix_sem_make (cell, "answer");
  sems->tally = posix_sem_make (cell, "tally");
  if (cell_failed (cell))
    return;
  if (cell_fork (cell) == 0) {
    while (posix_sem_wait (sems->ask)) {
      sem_post (sems->tally);
      sem_post (sems->answer);
    }
    _exit (0);
  }
}

static void
posix_sem_check (Cell *cell, uint64_t seq)
{
  PosixSem *sems = cell->state;
  int expected = (int)(seq % TALLY_SPAN);
  int found = -1;

  sem_getvalue (sems->tally, &found);
  CELL_REQUIRE (cell, found == expected, "semaphore value %d, not %d", found, expected);
  CELL_REQUIRE (cell, sem_post (sems->ask) == 0 && posix_sem_wait (sems->answer),
                "cannot change a semaphore: %s", strerror (errno));
  if (expected == TALLY_SPAN - 1)
    for (int i = 0; i < TALLY_SPAN; i++)
      CELL_REQUIRE (cell, sem_trywait (sems->tally) == 0, "cannot take the tally back");
}

static void
posix_sem_damage (Cell *cell)
{
  PosixSem *sems = cell->state;

  sem_post (sems->tally);
}

const CellType cell_posix_sem = { .name = "posix-sem",
                                  .about = "POSIX named semaphores, a sleeper in sem_wait",
                                  .state_size = sizeof (PosixSem),
                                  .start = posix_sem_start,
                                  .check = posix_sem_check,
                                  .damage = posix_sem_damage };

/* posix-mq: a queue of eight unread messages; the kernel orders them by priority, then by age. */

enum { MQ_DEPTH = 8, MQ_PRIORITY = 5 };

static void
posix_mq_put (Cell *cell, uint64_t seq)
{
  Message message;

  message_make (&message, cell->salt, seq);
  CELL_REQUIRE (cell,
                mq_send (*(mqd_t *)cell->state, (char *)&message, sizeof message, MQ_PRIORITY) == 0,
                "cannot send: %s", strerror (errno));
}

static void
posix_mq_start (Cell *cell)
{
  mqd_t *queue = cell->state;
  struct mq_attr shape = { .mq_maxmsg = MQ_DEPTH, .mq_msgsize = sizeof (Message) };
  char name[NAME_SIZE];

  cell_unique_name (cell, "queue", name);
  *queue = mq_open (name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &shape);
  CELL_REQUIRE (cell, *queue >= 0, "cannot make a queue: %s", strerror (errno));
  cell_leaves (cell, LEFT_POSIX_MQ, 0, name);
  for (uint64_t seq = 0; seq < MQ_DEPTH; seq++)
    posix_mq_put (cell, seq);
}

static void
posix_mq_check (Cell *cell, uint64_t seq)
{
  mqd_t queue = *(mqd_t *)cell->state;
  struct mq_attr shape;
  Message message;
  unsigned priority = 0;

  CELL_REQUIRE (cell, mq_getattr (queue, &shape) == 0 && shape.mq_curmsgs == MQ_DEPTH,
                "%ld messages in the queue, not %d", shape.mq_curmsgs, MQ_DEPTH);
  ssize_t n = mq_receive (queue, (char *)&message, sizeof message, &priority);
  CELL_REQUIRE (cell, n == sizeof message, "cannot receive: %s", strerror (errno));
  CELL_REQUIRE (cell, priority == MQ_PRIORITY, "priority %u, not %d", priority, MQ_PRIORITY);
  message_verify (cell, &message, seq);
  posix_mq_put (cell, seq + MQ_DEPTH);
}

static void
posix_mq_damage (Cell *cell)
{
  Message message;

  (void)!mq_receive (*(mqd_t *)cell->state, (char *)&message, sizeof message, NULL);
}

const CellType cell_posix_mq = { .name = "posix-mq",
                                 .about = "POSIX message queue with unread messages",
                                 .state_size = sizeof (mqd_t),
                                 .start = posix_mq_start,
                                 .check = posix_mq_check,
                                 .damage = posix_mq_damage };
