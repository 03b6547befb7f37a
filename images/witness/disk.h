/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk of the guest, written and read past the page cache, in blocks that say what they are: so
 * what lies on it can be compared with what the guest remembers in RAM. */
#ifndef WITNESS_DISK_H
#define WITNESS_DISK_H

#include "witness.h"

#include <linux/aio_abi.h>

enum { DISK_BLOCK = 4096, DISK_DEPTH_MAX = 64 };

typedef struct {
  char name[NAME_SIZE]; /* below /dev */
  int fd;
  uint64_t n_blocks;
  aio_context_t aio;
} Disk;

/* One request; a read or write of a whole block. */
typedef struct {
  bool write;
  uint64_t block;
  void *buffer; /* DISK_BLOCK bytes, aligned to as many */
} DiskRequest;

/* Opens /dev/@name, past the page cache, with more open(2) @flags; waits for it, since drivers find
 * their disks at leisure. Fails @cell and returns false if it does not come. */
bool disk_open (Cell *cell, Disk *disk, const char *name, int flags);

/* Has @n requests (at most DISK_DEPTH_MAX) in flight at once and returns when all are done. Fails
 * @cell and returns false if one has. */
bool disk_run (Cell *cell, Disk *disk, const DiskRequest *requests, unsigned n);

/* @n aligned buffers of a block each, never freed; fails @cell and returns NULL without memory. */
void *disk_buffers (Cell *cell, unsigned n);

/* Makes the content of block @block when write number @seq of the writer @salt has filled it. Each
 * of its sectors says so, and has a checksum. */
void disk_block_make (void *buffer, uint64_t salt, uint64_t block, uint64_t seq);

/* Fails @cell, with MISMATCH and where, unless @buffer was read from @block after write @seq; 0 is
 * a block of zeros. */
void disk_block_verify (Cell *cell, const Disk *disk, const void *buffer, uint64_t salt,
                        uint64_t block, uint64_t seq);

/* Number of the write that has left block @block as it is; 0 if it is not whole or from elsewhere.
 */
uint64_t disk_block_seq (const void *buffer, uint64_t salt, uint64_t block);

/* A writer's salt, of a name: two disks that are taken for each other show. */
uint64_t disk_salt (const char *name);

/* Rests until so many requests since @begun (clock_ms()) are due at the cell's rate. */
void disk_pace (const Cell *cell, uint64_t begun, uint64_t requests);

/* Tells the console that all that cell @cell wrote was compared, if it was asked to. */
void disk_verified (const Cell *cell, uint64_t n, const char *what);

#endif
