/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that have no name any more, and memory mapped from them. */
#include "cells.h"

#include "../helper.h"
#include "../pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_SIZE = 128 * 1024, FILE_BLOCK = 512, FILE_BLOCKS = FILE_SIZE / FILE_BLOCK };

/* Makes a file with the first FILE_SIZE bytes of the cell's pattern and removes its name. */
static int
nameless_file (Cell *cell)
{
  static uint8_t content[FILE_SIZE];
  char path[PATH_MAX];

  cell_path (cell, "file", path, sizeof path);
  int fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  pattern_fill (content, sizeof content, cell->salt, 0);
  if (fd < 0 || write (fd, content, sizeof content) != sizeof content || unlink (path) != 0)
    cell_fail (cell, "cannot make a file: %s", strerror (errno));
  return fd;
}

/* Where block @seq of the endless pattern lies in FILE_SIZE bytes of memory or file. */
static size_t
block_at (uint64_t seq)
{
  return seq % FILE_BLOCKS * FILE_BLOCK;
}

/* deleted-file: read and rewritten block by block; its offset says where it stands. */

static void
deleted_start (Cell *cell)
{
  int *fd = cell->state;

  *fd = nameless_file (cell);
  if (!cell_failed (cell))
    lseek (*fd, 0, SEEK_SET);
}

static void
deleted_check (Cell *cell, uint64_t seq)
{
  int fd = *(int *)cell->state;
  off_t at = (off_t)block_at (seq);
  uint8_t block[FILE_BLOCK];
  struct stat status;

  CELL_REQUIRE (
      cell, fstat (fd, &status) == 0 && status.st_nlink == 0 && status.st_size == FILE_SIZE,
      "the file has %ld bytes and %ld names", (long)status.st_size, (long)status.st_nlink);
  off_t found = lseek (fd, 0, SEEK_CUR);
  CELL_REQUIRE (cell, found == at, "offset %ld, not %ld", (long)found, (long)at);
  CELL_REQUIRE (cell, read (fd, block, sizeof block) == sizeof block, "cannot read: %s",
                strerror (errno));
  ssize_t differs = pattern_mismatch (block, sizeof block, cell->salt, seq * FILE_BLOCK);
  CELL_REQUIRE (cell, differs < 0, "byte %ld of the file differs", (long)at + (long)differs);
  pattern_fill (block, sizeof block, cell->salt, seq * FILE_BLOCK + FILE_SIZE);
  CELL_REQUIRE (cell, pwrite (fd, block, sizeof block, at) == sizeof block, "cannot write: %s",
                strerror (errno));
  if (block_at (seq + 1) == 0)
    lseek (fd, 0, SEEK_SET);
}

static void
deleted_damage (Cell *cell)
{
  int fd = *(int *)cell->state;
  char zero[FILE_BLOCK] = { 0 };

  (void)!pwrite (fd, zero, sizeof zero, lseek (fd, 0, SEEK_CUR));
}

const CellType cell_deleted_file = { .name = "deleted-file",
                                     .about = "open file without a name, content and offset",
                                     .state_size = sizeof (int),
                                     .start = deleted_start,
                                     .check = deleted_check,
                                     .damage = deleted_damage };

/* mmap-shared: what is written through the mapping is read through the file, and back. */

typedef struct {
  int fd;
  uint8_t *map;
} MmapShared;

static void
mmap_shared_start (Cell *cell)
{
  MmapShared *state = cell->state;

  state->fd = nameless_file (cell);
  if (cell_failed (cell))
    return;
  state->map = mmap (NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, state->fd, 0);
  CELL_REQUIRE (cell, state->map != MAP_FAILED, "cannot map: %s", strerror (errno));
}

static void
mmap_shared_check (Cell *cell, uint64_t seq)
{
  MmapShared *state = cell->state;
  size_t at = block_at (seq);
  uint8_t block[FILE_BLOCK];

  CELL_REQUIRE (cell, pread (state->fd, block, sizeof block, (off_t)at) == sizeof block,
                "cannot read: %s", strerror (errno));
  ssize_t differs = pattern_mismatch (block, sizeof block, cell->salt, seq * FILE_BLOCK);
  CELL_REQUIRE (cell, differs < 0, "byte %ld of the file differs", (long)at + (long)differs);
  CELL_REQUIRE (cell, memcmp (state->map + at, block, sizeof block) == 0,
                "mapping and file differ at %zu", at);
  pattern_fill (state->map + at, FILE_BLOCK, cell->salt, seq * FILE_BLOCK + FILE_SIZE);
}

static void
mmap_shared_damage (Cell *cell)
{
  MmapShared *state = cell->state;

  for (size_t at = 0; at < FILE_SIZE; at += FILE_BLOCK)
    state->map[at] ^= 1;
}

const CellType cell_mmap_shared = { .name = "mmap-shared",
                                    .about = "shared file mapping against the file",
                                    .state_size = sizeof (MmapShared),
                                    .start = mmap_shared_start,
                                    .check = mmap_shared_check,
                                    .damage = mmap_shared_damage };

/* mmap-private: a private mapping that leaves its file alone, and a page that a child still sees
 * as it was at fork. */

enum { COW_WORDS = 512 };

static uint64_t cow_page[COW_WORDS];

typedef struct {
  int fd;
  uint8_t *map;
  Helper child;
} MmapPrivate;

static uint64_t
cow_answer (Cell *cell, uint64_t question)
{
  (void)cell;
  return cow_page[question % COW_WORDS];
}

static void
mmap_private_start (Cell *cell)
{
  MmapPrivate *state = cell->state;

  state->fd = nameless_file (cell);
  if (cell_failed (cell))
    return;
  state->map = mmap (NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, state->fd, 0);
  CELL_REQUIRE (cell, state->map != MAP_FAILED, "cannot map: %s", strerror (errno));
  for (uint64_t i = 0; i < COW_WORDS; i++)
    cow_page[i] = pattern_word (cell->salt, i);
  helper_start (cell, &state->child, cow_answer);
  for (uint64_t i = 0; i < COW_WORDS; i++)
    cow_page[i] = 0;
}

static void
mmap_private_check (Cell *cell, uint64_t seq)
{
  MmapPrivate *state = cell->state;
  size_t at = block_at (seq), word = seq % COW_WORDS;
  uint8_t block[FILE_BLOCK];
  uint64_t seen;

  ssize_t differs = pattern_mismatch (state->map + at, FILE_BLOCK, cell->salt, seq * FILE_BLOCK);
  CELL_REQUIRE (cell, differs < 0, "byte %ld of the mapping differs", (long)at + (long)differs);
  pattern_fill (state->map + at, FILE_BLOCK, cell->salt, seq * FILE_BLOCK + FILE_SIZE);
  CELL_REQUIRE (cell,
                pread (state->fd, block, sizeof block, (off_t)at) == sizeof block &&
                    pattern_mismatch (block, sizeof block, cell->salt, at) < 0,
                "the file has changed at %zu", at);
  CELL_REQUIRE (cell, cow_page[word] == seq / COW_WORDS,
                "the cell's own copy of a page has changed");
  cow_page[word]++;
  if (helper_ask (cell, &state->child, seq, &seen))
    CELL_REQUIRE (cell, seen == pattern_word (cell->salt, word), "the child's copy has changed");
}

static void
mmap_private_damage (Cell *cell)
{
  MmapPrivate *state = cell->state;

  /* The pages of the mapping come back a write too old. */
  for (size_t at = 0; at < FILE_SIZE; at += FILE_BLOCK)
    state->map[at] ^= 1;
}

const CellType cell_mmap_private = { .name = "mmap-private",
                                     .about = "private file mapping, copy on write after fork",
                                     .state_size = sizeof (MmapPrivate),
                                     .start = mmap_private_start,
                                     .check = mmap_private_check,
                                     .damage = mmap_private_damage };
