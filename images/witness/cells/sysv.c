/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System V IPC: a shared memory segment, a semaphore set, a message queue. */
#include "cells.h"

#include "../pattern.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

/* sysv-shm: one segment attached twice; written through one address, read through the other. */

enum { SHM_SIZE = 64 * 1024, SHM_BLOCK = 256, SHM_BLOCKS = SHM_SIZE / SHM_BLOCK };

typedef struct {
  int id;
  uint8_t *write;
  uint8_t *read;
} SysvShm;

static void
sysv_shm_start (Cell *cell)
{
  SysvShm *shm = cell->state;

  shm->id = shmget (IPC_PRIVATE, SHM_SIZE, IPC_CREAT | 0600);
  CELL_REQUIRE (cell, shm->id >= 0, "cannot make a segment: %s", strerror (errno));
  cell_leaves (cell, LEFT_SYSV_SHM, shm->id, NULL);
  shm->write = shmat (shm->id, NULL, 0);
  shm->read = shmat (shm->id, NULL, SHM_RDONLY);
  CELL_REQUIRE (cell, shm->write != (void *)-1 && shm->read != (void *)-1, "cannot attach: %s",
                strerror (errno));
  pattern_fill (shm->write, SHM_SIZE, cell->salt, 0);
}

static void
sysv_shm_check (Cell *cell, uint64_t seq)
{
  SysvShm *shm = cell->state;
  size_t at = seq % SHM_BLOCKS * SHM_BLOCK;
  struct shmid_ds status;

  ssize_t differs = pattern_mismatch (shm->read + at, SHM_BLOCK, cell->salt, seq * SHM_BLOCK);
  CELL_REQUIRE (cell, differs < 0, "byte %zd of the segment differs", (ssize_t)at + differs);
  pattern_fill (shm->write + at, SHM_BLOCK, cell->salt, seq * SHM_BLOCK + SHM_SIZE);
  CELL_REQUIRE (cell, shmctl (shm->id, IPC_STAT, &status) == 0, "the segment is gone: %s",
                strerror (errno));
  CELL_REQUIRE (cell, status.shm_nattch == 2 && status.shm_cpid == getpid(),
                "attached %lu times, made by %d", (unsigned long)status.shm_nattch,
                (int)status.shm_cpid);
}

static void
sysv_shm_damage (Cell *cell)
{
  SysvShm *shm = cell->state;

  for (size_t at = 0; at < SHM_SIZE; at += SHM_BLOCK)
    shm->write[at] ^= 1;
}

const CellType cell_sysv_shm = { .name = "sysv-shm",
                                 .about = "System V shared memory, attached twice",
                                 .state_size = sizeof (SysvShm),
                                 .start = sysv_shm_start,
                                 .check = sysv_shm_check,
                                 .damage = sysv_shm_damage };

/* sysv-sem: a child sleeps in semop(); a third semaphore keeps a count, partly by SEM_UNDO. */

enum { SEM_ASK, SEM_ANSWER, SEM_TALLY, SEM_COUNT, TALLY_SPAN = 1000 };

static int
sem_change (int id, unsigned short number, short by, short flags)
{
  struct sembuf change = { .sem_num = number, .sem_op = by, .sem_flg = flags };
  int result;

  do
    result = semop (id, &change, 1);
  while (result < 0 && errno == EINTR);
  return result;
}

/* Counts in the tally; what it has added is to be undone by the kernel should it die. */
static void
sysv_sem_child (int id)
{
  for (short tally = 1; sem_change (id, SEM_ASK, -1, 0) == 0; tally++) {
    short by = tally == TALLY_SPAN ? 1 - TALLY_SPAN : 1;
    if (sem_change (id, SEM_TALLY, by, SEM_UNDO) != 0 || sem_change (id, SEM_ANSWER, 1, 0) != 0)
      break;
    tally = tally == TALLY_SPAN ? 0 : tally;
  }
  _exit (0);
}

static void
sysv_sem_start (Cell *cell)
{
  int *id = cell->state;

  *id = semget (IPC_PRIVATE, SEM_COUNT, IPC_CREAT | 0600);
  CELL_REQUIRE (cell, *id >= 0, "cannot make semaphores: %s", strerror (errno));
  cell_leaves (cell, LEFT_SYSV_SEM, *id, NULL);
  if (cell_fork (cell) == 0)
    sysv_sem_child (*id);
}

static void
sysv_sem_check (Cell *cell, uint64_t seq)
{
  int id = *(int *)cell->state;
  int expected = (int)(seq % TALLY_SPAN);
  int found = semctl (id, SEM_TALLY, GETVAL);

  CELL_REQUIRE (cell, found == expected, "semaphore value %d, not %d", found, expected);
  CELL_REQUIRE (cell,
                sem_change (id, SEM_ASK, 1, 0) == 0 && sem_change (id, SEM_ANSWER, -1, 0) == 0,
                "cannot change a semaphore: %s", strerror (errno));
}

static void
sysv_sem_damage (Cell *cell)
{
  (void)sem_change (*(int *)cell->state, SEM_TALLY, 1, 0);
}

const CellType cell_sysv_sem = { .name = "sysv-sem",
                                 .about = "System V semaphores, a sleeper in semop, SEM_UNDO",
                                 .state_size = sizeof (int),
                                 .start = sysv_sem_start,
                                 .check = sysv_sem_check,
                                 .damage = sysv_sem_damage };

/* sysv-msg: a queue that always holds eight messages, of types in turn. */

enum { MSG_DEPTH = 8 };

typedef struct {
  long type;
  Message message;
} SysvMessage;

static void
sysv_msg_put (Cell *cell, uint64_t seq)
{
  SysvMessage packet = { .type = 1 + (long)(seq % 3) };

  message_make (&packet.message, cell->salt, seq);
  CELL_REQUIRE (cell, msgsnd (*(int *)cell->state, &packet, sizeof packet.message, IPC_NOWAIT) == 0,
                "cannot send: %s", strerror (errno));
}

static void
sysv_msg_start (Cell *cell)
{
  int *id = cell->state;

  *id = msgget (IPC_PRIVATE, IPC_CREAT | 0600);
  CELL_REQUIRE (cell, *id >= 0, "cannot make a queue: %s", strerror (errno));
  cell_leaves (cell, LEFT_SYSV_MSG, *id, NULL);
  for (uint64_t seq = 0; seq < MSG_DEPTH; seq++)
    sysv_msg_put (cell, seq);
}

static void
sysv_msg_check (Cell *cell, uint64_t seq)
{
  int id = *(int *)cell->state;
  SysvMessage packet;
  struct msqid_ds status;

  CELL_REQUIRE (cell, msgctl (id, IPC_STAT, &status) == 0 && status.msg_qnum == MSG_DEPTH,
                "%lu messages in the queue, not %d", (unsigned long)status.msg_qnum, MSG_DEPTH);
  ssize_t n = msgrcv (id, &packet, sizeof packet.message, 1 + (long)(seq % 3), IPC_NOWAIT);
  CELL_REQUIRE (cell, n == sizeof packet.message, "cannot receive: %s", strerror (errno));
  message_verify (cell, &packet.message, seq);
  sysv_msg_put (cell, seq + MSG_DEPTH);
}

static void
sysv_msg_damage (Cell *cell)
{
  SysvMessage packet;

  (void)!msgrcv (*(int *)cell->state, &packet, sizeof packet.message, 0, IPC_NOWAIT);
}

const CellType cell_sysv_msg = { .name = "sysv-msg",
                                 .about = "System V message queue with unread messages",
                                 .state_size = sizeof (int),
                                 .start = sysv_msg_start,
                                 .check = sysv_msg_check,
                                 .damage = sysv_msg_damage };
