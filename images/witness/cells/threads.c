/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that pass a number on, each with a count in thread-local storage. */
#include "cells.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

enum { RING = 4, STACK_SIZE = 64 * 1024, HARMED = 2 };

static _Thread_local uint64_t turns;

typedef struct {
  sem_t turn[RING + 1]; /* the last one is the cell's own */
  uint64_t seq;         /* passed on with the turn */
  bool harm;
} Ring;

typedef struct {
  Cell *cell;
  unsigned place;
} Place;

static void
ring_wait (sem_t *turn)
{
  while (sem_wait (turn) != 0)
    ;
}

static void *
ring_thread (void *argument)
{
  Place *place = argument;
  Ring *ring = place->cell->state;

  for (;;) {
    ring_wait (&ring->turn[place->place]);
    if (ring->harm && place->place == HARMED)
      turns++;
    if (turns != ring->seq)
      cell_fail (place->cell, "thread %u counts %" PRIu64 ", not %" PRIu64, place->place, turns,
                 ring->seq);
    turns++;
    sem_post (&ring->turn[place->place + 1]);
  }
  return NULL;
}

static void
threads_start (Cell *cell)
{
  static Place places[RING];
  Ring *ring = cell->state;
  pthread_attr_t attributes;
  pthread_t thread;

  pthread_attr_init (&attributes);
  pthread_attr_setstacksize (&attributes, STACK_SIZE);
  for (unsigned i = 0; i <= RING; i++)
    sem_init (&ring->turn[i], 0, 0);
  for (unsigned i = 0; i < RING; i++) {
    places[i] = (Place){ cell, i };
    int result = pthread_create (&thread, &attributes, ring_thread, &places[i]);
    CELL_REQUIRE (cell, result == 0, "cannot start a thread: %s", strerror (result));
  }
}

static void
threads_check (Cell *cell, uint64_t seq)
{
  Ring *ring = cell->state;

  CELL_REQUIRE (cell, turns == seq, "the main thread counts %" PRIu64 ", not %" PRIu64, turns, seq);
  turns++;
  ring->seq = seq;
  sem_post (&ring->turn[0]);
  ring_wait (&ring->turn[RING]);
}

static void
threads_damage (Cell *cell)
{
  Ring *ring = cell->state;

  ring->harm = true;
}

const CellType cell_threads = { .name = "threads",
                                .about = "threads asleep in turn, thread-local counts",
                                .state_size = sizeof (Ring),
                                .start = threads_start,
                                .check = threads_check,
                                .damage = threads_damage };
