/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* journal: records are appended to a file of an ext4 file system through the page cache and made
 * durable one by one; a full file is renamed and a new one begun. RAM knows how far it is; what is
 * read back past the page cache says what the disk has. */
#include "cells.h"

#include "../disk.h"
#include "../pattern.h"
#include "../say.h"
#include "../stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 512, RECORDS_MAX = 2048, APPEAR_MS = 60000 };

typedef struct {
  char mount[PATH_MAX];
  uint64_t salt;
  int dir;
  int file;   /* what is appended to, through the page cache */
  int direct; /* the same, past it */
  uint64_t n; /* records in the file */
  uint64_t records;
  uint64_t files; /* that were begun */
  uint8_t *buffer;
} Journal;

/* Record @number of all files together. */
static void
record_make (uint8_t *record, uint64_t salt, uint64_t number)
{
  char head[64];
  int length = snprintf (head, sizeof head, "record %" PRIu64 " ", number);

  pattern_fill (record, RECORD, salt, number * RECORD);
  memcpy (record, head, (size_t)length);
  record[RECORD - 1] = '\n';
}

/* Opens the file @name, for appending and for reading past the page cache. */
static void
journal_open (Cell *cell, Journal *journal)
{
  journal->file = openat (journal->dir, "journal", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  journal->direct = openat (journal->dir, "journal", O_RDONLY | O_DIRECT | O_CLOEXEC);
  CELL_REQUIRE (cell, journal->file >= 0 && journal->direct >= 0, "cannot make a file on %s: %s",
                cell->type->on, strerror (errno));
  CELL_REQUIRE (cell, fsync (journal->dir) == 0, "cannot sync a directory of %s: %s",
                cell->type->on, strerror (errno));
  journal->n = 0;
  journal->files++;
}

static void
journal_start (Cell *cell)
{
  Journal *journal = cell->state;
  char device[NAME_SIZE + 8];
  uint64_t begun = clock_ms();

  journal->salt = disk_salt (cell->type->on);
  journal->buffer = disk_buffers (cell, 1);
  snprintf (device, sizeof device, "/dev/%s", cell->type->on);
  cell_path (cell, "mount", journal->mount, sizeof journal->mount);
  mkdir (journal->mount, 0700);
  /* Mounted already if the cell is started again. */
  while (mount (device, journal->mount, "ext4", 0, NULL) != 0 && errno != EBUSY) {
    CELL_REQUIRE (cell, (errno == ENOENT || errno == ENXIO) && clock_ms() - begun < APPEAR_MS,
                  "cannot mount %s: %s", device, strerror (errno));
    sleep_ms (20);
  }
  journal->dir = open (journal->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CELL_REQUIRE (cell, journal->dir >= 0, "cannot open %s: %s", journal->mount, strerror (errno));
  unlinkat (journal->dir, "journal", 0);
  journal_open (cell, journal);
}

/* The file is full: it becomes the old one, whose blocks are freed with it. */
static void
journal_turn (Cell *cell, Journal *journal)
{
  close (journal->file);
  close (journal->direct);
  CELL_REQUIRE (cell, renameat (journal->dir, "journal", journal->dir, "old") == 0,
                "cannot rename a file on %s: %s", cell->type->on, strerror (errno));
  journal_open (cell, journal);
}

/* Appends one record, durably; RAM learns of it then. */
static void
journal_append (Cell *cell, Journal *journal)
{
  uint8_t record[RECORD];

  record_make (record, journal->salt, journal->records);
  CELL_REQUIRE (cell,
                write_full (journal->file, record, sizeof record) && fdatasync (journal->file) == 0,
                "cannot write to a file on %s: %s", cell->type->on, strerror (errno));
  journal->n++;
  journal->records++;
}

/* Compares record @at of the file with what RAM says it is. */
static void
journal_verify (Cell *cell, Journal *journal, uint64_t at)
{
  uint64_t number = journal->records - journal->n + at;
  uint8_t expected[RECORD];

  ssize_t got = pread (journal->direct, journal->buffer, RECORD, (off_t)(at * RECORD));
  CELL_REQUIRE (cell, got >= 0, "cannot read a file on %s: %s", cell->type->on, strerror (errno));
  record_make (expected, journal->salt, number);
  CELL_REQUIRE (cell, got == RECORD && memcmp (journal->buffer, expected, RECORD) == 0,
                "MISMATCH %s: record %" PRIu64 " in RAM, '%.24s' in the file", cell->type->on,
                number, got == RECORD ? (char *)journal->buffer : "nothing");
}

static void
journal_verify_all (Cell *cell, Journal *journal)
{
  for (uint64_t at = 0; at < journal->n && !cell_failed (cell); at++)
    journal_verify (cell, journal, at);
  disk_verified (cell, journal->n, "records");
}

static void
journal_check (Cell *cell, uint64_t seq)
{
  Journal *journal = cell->state;
  uint64_t begun = clock_ms(), done = 0;
  struct stat status;

  CELL_REQUIRE (cell,
                fstat (journal->file, &status) == 0 && status.st_nlink == 1 &&
                    (uint64_t)status.st_size == journal->n * RECORD,
                "MISMATCH %s: %" PRIu64 " records in RAM, %ld bytes in the file", cell->type->on,
                journal->n, (long)status.st_size);
  if (atomic_exchange (&cell->slot->verify_me, 0))
    journal_verify_all (cell, journal);
  do {
    if (journal->n == RECORDS_MAX)
      journal_turn (cell, journal);
    if (!cell_failed (cell))
      journal_append (cell, journal);
    if (!cell_failed (cell))
      journal_verify (cell, journal, pattern_word (seq, done) % journal->n);
    disk_pace (cell, begun, ++done);
  } while (!cell_failed (cell) && clock_ms() - begun < cell->pace_ms);
}

/* The file comes back as it was before its last records. */
static void
journal_damage (Cell *cell)
{
  Journal *journal = cell->state;

  (void)!ftruncate (journal->file, (off_t)(journal->n / 2 * RECORD));
}

const CellType cell_disk_journal = { .name = "journal",
                                     .about = "records in a file of ext4, each made durable",
                                     .state_size = sizeof (Journal),
                                     .rests_itself = true,
                                     .start = journal_start,
                                     .check = journal_check,
                                     .damage = journal_damage };
