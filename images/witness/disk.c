/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every sector of a block says who wrote it, where, and with which write:
 *
 *   word 0   salt of the writer
 *   word 1   number of the block
 *   word 2   number of the write
 *   word 3…  words that depend on all of them
 *   last     checksum of the other words
 *
 * Requests go through the kernel's asynchronous interface, so that several are in flight. */
#include "disk.h"

#include "pattern.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SECTOR = 512, SECTOR_WORDS = SECTOR / 8, SECTORS = DISK_BLOCK / SECTOR, HEADER = 3 };
enum { APPEAR_MS = 60000 };

bool
disk_open (Cell *cell, Disk *disk, const char *name, int flags)
{
  char path[NAME_SIZE + 8];
  uint64_t size = 0, begun = clock_ms();

  snprintf (disk->name, sizeof disk->name, "%s", name);
  snprintf (path, sizeof path, "/dev/%s", disk->name);
  while ((disk->fd = open (path, O_RDWR | O_DIRECT | O_CLOEXEC | flags)) < 0 &&
         (errno == ENOENT || errno == ENXIO) && clock_ms() - begun < APPEAR_MS)
    sleep_ms (20);
  if (disk->fd < 0)
    cell_fail (cell, "cannot open %s: %s", path, strerror (errno));
  else if (ioctl (disk->fd, BLKGETSIZE64, &size) != 0 || size < DISK_BLOCK)
    cell_fail (cell, "%s is not a disk", path);
  else if (syscall (SYS_io_setup, DISK_DEPTH_MAX, &disk->aio) != 0)
    cell_fail (cell, "no asynchronous requests: %s", strerror (errno));
  disk->n_blocks = size / DISK_BLOCK;
  return !cell_failed (cell);
}

/* Takes the answers to @n requests; the first bad one fails the cell. */
static void
take_answers (Cell *cell, Disk *disk, const DiskRequest *requests, unsigned n)
{
  struct io_event events[DISK_DEPTH_MAX];

  for (unsigned done = 0; done < n;) {
    long got = syscall (SYS_io_getevents, disk->aio, 1, (long)(n - done), events, NULL);
    if (got < 0 && errno == EINTR)
      continue;
    CELL_REQUIRE (cell, got > 0, "no answer from %s: %s", disk->name, strerror (errno));
    for (long i = 0; i < got; i++) {
      const DiskRequest *request = &requests[events[i].data];
      if (events[i].res != DISK_BLOCK)
        cell_fail (cell, "cannot %s block %" PRIu64 " of %s: %s", request->write ? "write" : "read",
                   request->block, disk->name,
                   events[i].res < 0 ? strerror ((int)-events[i].res) : "only a part");
    }
    done += (unsigned)got;
  }
}

bool
disk_run (Cell *cell, Disk *disk, const DiskRequest *requests, unsigned n)
{
  struct iocb blocks[DISK_DEPTH_MAX] = { 0 }, *list[DISK_DEPTH_MAX];
  unsigned sent = 0;

  for (unsigned i = 0; i < n; i++) {
    list[i] = &blocks[i];
    blocks[i] =
        (struct iocb){ .aio_data = i,
                       .aio_lio_opcode = requests[i].write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                       .aio_fildes = (uint32_t)disk->fd,
                       .aio_buf = (uintptr_t)requests[i].buffer,
                       .aio_nbytes = DISK_BLOCK,
                       .aio_offset = (int64_t)(requests[i].block * DISK_BLOCK) };
  }
  while (sent < n) {
    long got = syscall (SYS_io_submit, disk->aio, (long)(n - sent), list + sent);
    if (got <= 0 && errno != EAGAIN && errno != EINTR) {
      cell_fail (cell, "no request can be sent to %s: %s", disk->name, strerror (errno));
      break;
    }
    sent += got > 0 ? (unsigned)got : 0;
  }
  take_answers (cell, disk, requests, sent);
  return !cell_failed (cell);
}

void *
disk_buffers (Cell *cell, unsigned n)
{
  void *buffers = NULL;

  if (posix_memalign (&buffers, DISK_BLOCK, (size_t)n * DISK_BLOCK) != 0)
    cell_fail (cell, "no memory for requests");
  else
    memset (buffers, 0, (size_t)n * DISK_BLOCK);
  return buffers;
}

static uint64_t
sector_checksum (const uint64_t *sector)
{
  uint64_t sum = 0;

  for (unsigned i = 0; i < SECTOR_WORDS - 1; i++)
    sum = (sum << 7 | sum >> 57) + (sector[i] ^ i);
  return sum;
}

void
disk_block_make (void *buffer, uint64_t salt, uint64_t block, uint64_t seq)
{
  for (unsigned s = 0; s < SECTORS; s++) {
    uint64_t *sector = (uint64_t *)buffer + (size_t)s * SECTOR_WORDS;
    uint64_t word = pattern_word (salt ^ block, seq * SECTORS + s) | 1;
    sector[0] = salt;
    sector[1] = block;
    sector[2] = seq;
    for (unsigned i = HEADER; i < SECTOR_WORDS - 1; i++)
      sector[i] = word *= 0x9e3779b97f4a7c15u;
    sector[SECTOR_WORDS - 1] = sector_checksum (sector);
  }
}

void
disk_block_verify (Cell *cell, const Disk *disk, const void *buffer, uint64_t salt, uint64_t block,
                   uint64_t seq)
{
  static const uint64_t zeros[SECTOR_WORDS];

  for (unsigned s = 0; s < SECTORS; s++) {
    const uint64_t *sector = (const uint64_t *)buffer + (size_t)s * SECTOR_WORDS;
    bool zero = memcmp (sector, zeros, SECTOR) == 0;
    if (seq == 0) {
      CELL_REQUIRE (cell, zero,
                    "MISMATCH %s block %" PRIu64 " sector %u: write %" PRIu64
                    " on disk, zeros in RAM",
                    disk->name, block, s, sector[2]);
      continue;
    }
    CELL_REQUIRE (cell, !zero,
                  "MISMATCH %s block %" PRIu64 " sector %u: zeros on disk, write %" PRIu64
                  " in RAM",
                  disk->name, block, s, seq);
    CELL_REQUIRE (cell, sector[SECTOR_WORDS - 1] == sector_checksum (sector),
                  "MISMATCH %s block %" PRIu64 " sector %u has a wrong checksum", disk->name, block,
                  s);
    CELL_REQUIRE (cell, sector[0] == salt && sector[1] == block,
                  "MISMATCH %s block %" PRIu64 " sector %u is one of block %" PRIu64
                  " of another place",
                  disk->name, block, s, sector[1]);
    CELL_REQUIRE (cell, sector[2] == seq,
                  "MISMATCH %s block %" PRIu64 " sector %u: write %" PRIu64 " on disk, %" PRIu64
                  " in RAM",
                  disk->name, block, s, sector[2], seq);
  }
}

uint64_t
disk_block_seq (const void *buffer, uint64_t salt, uint64_t block)
{
  const uint64_t *first = buffer;

  for (unsigned s = 0; s < SECTORS; s++) {
    const uint64_t *sector = first + (size_t)s * SECTOR_WORDS;
    if (sector[0] != salt || sector[1] != block || sector[2] != first[2] ||
        sector[SECTOR_WORDS - 1] != sector_checksum (sector))
      return 0;
  }
  return first[2];
}

uint64_t
disk_salt (const char *name)
{
  uint64_t salt = 0;

  for (const char *at = name; *at; at++)
    salt = pattern_word (salt, (uint8_t)*at);
  return salt;
}

void
disk_pace (const Cell *cell, uint64_t begun, uint64_t requests)
{
  uint64_t due = cell->disk_rate ? begun + requests * 1000 / cell->disk_rate : 0, now = clock_ms();

  if (due > now)
    sleep_ms (due - now);
}

void
disk_verified (const Cell *cell, uint64_t n, const char *what)
{
  if (!cell_failed (cell))
    say ("disk %s verified %" PRIu64 " %s", cell->type->name, n, what);
}
