/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blocks: blocks spread over the whole of a disk are rewritten at random, several at once. RAM
 * knows the number of the write that each must hold; read back they say which one they do hold. */
#include "cells.h"

#include "../disk.h"
#include "../pattern.h"
#include "../say.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Each so many turns one block is made zero by the device's own means. */
enum { ZERO_TURNS = 8 };

typedef struct {
  Disk disk;
  uint64_t salt;
  uint64_t n_slots;
  uint64_t stride;    /* blocks from one slot to the next */
  uint64_t *expected; /* of each slot: number of its last write; 0 = zeros */
  uint64_t writes;
  uint64_t turns;
  uint64_t random;
  uint8_t (*buffers)[DISK_BLOCK];
} Blocks;

static uint64_t
next_slot (Blocks *blocks)
{
  return pattern_word (blocks->salt, ++blocks->random) % blocks->n_slots;
}

/* Chooses @n slots, none twice; fewer if there are no more. */
static unsigned
choose_slots (Blocks *blocks, uint64_t *slots, unsigned n)
{
  unsigned chosen = 0;

  for (unsigned tries = 0; chosen < n && tries < 2 * n; tries++) {
    uint64_t slot = next_slot (blocks);
    bool twice = false;
    for (unsigned i = 0; i < chosen; i++)
      twice |= slots[i] == slot;
    if (!twice)
      slots[chosen++] = slot;
  }
  return chosen;
}

/* Writes @slots; RAM learns of it once the disk has all of them. */
static void
write_slots (Cell *cell, Blocks *blocks, const uint64_t *slots, unsigned n)
{
  DiskRequest requests[DISK_DEPTH_MAX] = { 0 };

  for (unsigned i = 0; i < n; i++) {
    uint64_t block = slots[i] * blocks->stride;
    disk_block_make (blocks->buffers[i], blocks->salt, block, blocks->writes + i + 1);
    requests[i] = (DiskRequest){ .write = true, .block = block, .buffer = blocks->buffers[i] };
  }
  if (!disk_run (cell, &blocks->disk, requests, n))
    return;
  for (unsigned i = 0; i < n; i++)
    blocks->expected[slots[i]] = ++blocks->writes;
}

static void
verify_slots (Cell *cell, Blocks *blocks, const uint64_t *slots, unsigned n)
{
  DiskRequest requests[DISK_DEPTH_MAX] = { 0 };

  for (unsigned i = 0; i < n; i++)
    requests[i] = (DiskRequest){ .block = slots[i] * blocks->stride, .buffer = blocks->buffers[i] };
  if (!disk_run (cell, &blocks->disk, requests, n))
    return;
  for (unsigned i = 0; i < n; i++)
    disk_block_verify (cell, &blocks->disk, blocks->buffers[i], blocks->salt, requests[i].block,
                       blocks->expected[slots[i]]);
}

static void
zero_slot (Cell *cell, Blocks *blocks, uint64_t slot)
{
  uint64_t range[2] = { slot * blocks->stride * DISK_BLOCK, DISK_BLOCK };

  CELL_REQUIRE (cell, ioctl (blocks->disk.fd, BLKZEROOUT, range) == 0,
                "cannot zero a block of %s: %s", blocks->disk.name, strerror (errno));
  blocks->expected[slot] = 0;
}

/* Does what @each does for all slots, as many at once as may be. */
static void
all_slots (Cell *cell, Blocks *blocks,
           void (*each) (Cell *cell, Blocks *blocks, const uint64_t *slots, unsigned n))
{
  uint64_t slots[DISK_DEPTH_MAX];
  unsigned n = 0;

  for (uint64_t slot = 0; slot < blocks->n_slots && !cell_failed (cell); slot++) {
    slots[n++] = slot;
    if (n == DISK_DEPTH_MAX || slot + 1 == blocks->n_slots) {
      each (cell, blocks, slots, n);
      n = 0;
    }
  }
}

static void
blocks_start (Cell *cell)
{
  Blocks *blocks = cell->state;
  uint64_t wanted = cell->disk_mib * ((1 << 20) / DISK_BLOCK);

  blocks->salt = disk_salt (cell->type->on);
  blocks->buffers = disk_buffers (cell, DISK_DEPTH_MAX);
  if (!blocks->buffers || !disk_open (cell, &blocks->disk, cell->type->on, 0))
    return;
  blocks->n_slots = wanted < blocks->disk.n_blocks ? wanted : blocks->disk.n_blocks;
  blocks->stride = blocks->disk.n_blocks / blocks->n_slots;
  blocks->expected = calloc (blocks->n_slots, sizeof *blocks->expected);
  CELL_REQUIRE (cell, blocks->expected, "no memory");
  all_slots (cell, blocks, write_slots);
}

static void
blocks_check (Cell *cell, uint64_t seq)
{
  Blocks *blocks = cell->state;
  uint64_t slots[DISK_DEPTH_MAX], begun = clock_ms(), done = 0;

  (void)seq;
  if (atomic_exchange (&cell->slot->verify_me, 0)) {
    all_slots (cell, blocks, verify_slots);
    disk_verified (cell, blocks->n_slots, "blocks");
  }
  do {
    unsigned n = choose_slots (blocks, slots, (unsigned)cell->disk_depth);
    write_slots (cell, blocks, slots, n);
    if (++blocks->turns % ZERO_TURNS == 0)
      zero_slot (cell, blocks, next_slot (blocks));
    n = choose_slots (blocks, slots, (unsigned)cell->disk_depth);
    verify_slots (cell, blocks, slots, n);
    done += n;
    disk_pace (cell, begun, done);
  } while (!cell_failed (cell) && clock_ms() - begun < cell->pace_ms);
}

/* Writes everything once more without telling RAM: the disk is of a later instant. */
static void
blocks_damage (Cell *cell)
{
  Blocks *blocks = cell->state;
  size_t size = blocks->n_slots * sizeof *blocks->expected;
  uint64_t *copy = malloc (size);

  if (!copy)
    return;
  memcpy (copy, blocks->expected, size);
  all_slots (cell, blocks, write_slots);
  memcpy (blocks->expected, copy, size);
  free (copy);
}

const CellType cell_disk_blocks = { .name = "blocks",
                                    .about = "blocks of a disk against their numbers in RAM",
                                    .state_size = sizeof (Blocks),
                                    .rests_itself = true,
                                    .start = blocks_start,
                                    .check = blocks_check,
                                    .damage = blocks_damage };
