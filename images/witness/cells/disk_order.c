/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* order: a log on one disk, data on another. Block n of the data is written when record n of the
 * log is durable, and record n + 1 when block n is. So at each instant the log is level with the
 * data or one ahead. That needs no RAM to be seen: started on disks that have been written before,
 * the cell first looks whether it is so, then goes on from there. */
#include "cells.h"

#include "../disk.h"
#include "../pattern.h"
#include "../say.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* So many records are kept, each with its block, then the first is overwritten. */
enum { SLOTS = 512 };

typedef struct {
  Disk log, data;
  uint64_t log_salt, data_salt;
  uint64_t last; /* number of the record and the block that were written last */
  uint8_t (*buffers)[DISK_BLOCK];
} Order;

static bool
order_request (Cell *cell, Disk *disk, bool write, uint64_t slot, void *buffer)
{
  DiskRequest request = { .write = write, .block = slot, .buffer = buffer };

  return disk_run (cell, disk, &request, 1);
}

/* Reads DISK_DEPTH_MAX slots from @slot on into the buffers. */
static bool
order_read (Cell *cell, Order *order, Disk *disk, uint64_t slot)
{
  DiskRequest requests[DISK_DEPTH_MAX] = { 0 };

  for (unsigned i = 0; i < DISK_DEPTH_MAX; i++)
    requests[i] = (DiskRequest){ .block = slot + i, .buffer = order->buffers[i] };
  return disk_run (cell, disk, requests, DISK_DEPTH_MAX);
}

/* Number of the last write to @disk, which has all before it, or 0. */
static uint64_t
order_last (Cell *cell, Order *order, Disk *disk, uint64_t salt)
{
  uint64_t last = 0, found = 0;

  for (uint64_t slot = 0; slot < SLOTS; slot++) {
    if (slot % DISK_DEPTH_MAX == 0 && !order_read (cell, order, disk, slot))
      return 0;
    uint64_t seq = disk_block_seq (order->buffers[slot % DISK_DEPTH_MAX], salt, slot);
    if (seq % SLOTS != slot && seq)
      cell_fail (cell, "MISMATCH %s has write %" PRIu64 " in block %" PRIu64, disk->name, seq,
                 slot);
    found += seq != 0;
    last = seq > last ? seq : last;
  }
  if (found < last && found < SLOTS)
    cell_fail (cell, "MISMATCH %s lacks writes before %" PRIu64, disk->name, last);
  return last;
}

static void
order_start (Cell *cell)
{
  Order *order = cell->state;
  char names[NAME_SIZE];

  snprintf (names, sizeof names, "%s", cell->type->on);
  char *data = strchr (names, '+');
  CELL_REQUIRE (cell, data, "wants two disks, as in order:vda+vdb");
  *data++ = '\0';
  order->log_salt = disk_salt ("log");
  order->data_salt = disk_salt ("data");
  order->buffers = disk_buffers (cell, DISK_DEPTH_MAX);
  if (!order->buffers || !disk_open (cell, &order->log, names, O_DSYNC) ||
      !disk_open (cell, &order->data, data, O_DSYNC))
    return;
  CELL_REQUIRE (cell, order->log.n_blocks >= SLOTS && order->data.n_blocks >= SLOTS,
                "a disk is smaller than %d KiB", SLOTS * DISK_BLOCK / 1024);
  uint64_t log_last = order_last (cell, order, &order->log, order->log_salt);
  uint64_t data_last = order_last (cell, order, &order->data, order->data_salt);
  CELL_REQUIRE (cell, log_last == data_last || log_last == data_last + 1,
                "MISMATCH the log on %s ends at %" PRIu64 ", the data on %s at %" PRIu64,
                order->log.name, log_last, order->data.name, data_last);
  order->last = data_last;
  say ("disk %s begins log %" PRIu64 " data %" PRIu64, cell->type->name, log_last, data_last);
}

/* Compares write @seq on both disks with RAM. */
static void
order_verify (Cell *cell, Order *order, uint64_t seq)
{
  if (seq == 0)
    return;
  if (order_request (cell, &order->log, false, seq % SLOTS, order->buffers[0]))
    disk_block_verify (cell, &order->log, order->buffers[0], order->log_salt, seq % SLOTS, seq);
  if (order_request (cell, &order->data, false, seq % SLOTS, order->buffers[0]))
    disk_block_verify (cell, &order->data, order->buffers[0], order->data_salt, seq % SLOTS, seq);
}

static void
order_verify_all (Cell *cell, Order *order)
{
  uint64_t n = order->last < SLOTS ? order->last : SLOTS;

  for (uint64_t i = 0; i < n && !cell_failed (cell); i++)
    order_verify (cell, order, order->last - i);
  disk_verified (cell, n, "pairs");
}

/* The next record, then its block. */
static void
order_write (Cell *cell, Order *order)
{
  uint64_t next = order->last + 1;

  disk_block_make (order->buffers[0], order->log_salt, next % SLOTS, next);
  if (!order_request (cell, &order->log, true, next % SLOTS, order->buffers[0]))
    return;
  disk_block_make (order->buffers[0], order->data_salt, next % SLOTS, next);
  if (order_request (cell, &order->data, true, next % SLOTS, order->buffers[0]))
    order->last = next;
}

static void
order_check (Cell *cell, uint64_t seq)
{
  Order *order = cell->state;
  uint64_t begun = clock_ms(), done = 0;

  if (atomic_exchange (&cell->slot->verify_me, 0))
    order_verify_all (cell, order);
  do {
    uint64_t back = order->last < SLOTS ? order->last : SLOTS;
    order_verify (cell, order, order->last);
    if (back && !cell_failed (cell))
      order_verify (cell, order, order->last - pattern_word (seq, done) % back);
    if (!cell_failed (cell))
      order_write (cell, order);
    disk_pace (cell, begun, ++done);
  } while (!cell_failed (cell) && clock_ms() - begun < cell->pace_ms);
}

/* Both disks come back one write too old. (Were it the log alone, no later set could begin.) */
static void
order_damage (Cell *cell)
{
  Order *order = cell->state;

  order->last++;
}

const CellType cell_disk_order = { .name = "order",
                                   .about = "a log on one disk, always ahead of another's data",
                                   .state_size = sizeof (Order),
                                   .rests_itself = true,
                                   .start = order_start,
                                   .check = order_check,
                                   .damage = order_damage };
