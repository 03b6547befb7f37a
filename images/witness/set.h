/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The running cells: started together, watched through their slots, removed without a trace. */
#ifndef WITNESS_SET_H
#define WITNESS_SET_H

#include "options.h"

#define SET_MAX 64
#define DIR_SIZE 256

typedef struct {
  size_t n;
  const CellType *type[SET_MAX];
  DiskCell disks[DISKS_MAX]; /* cells that the table does not have */
  pid_t pid[SET_MAX];        /* 0 once reaped */
  Slot *slots;               /* SET_MAX cells and one more for the load, shared by all processes */
  char dir[DIR_SIZE];
} CellSet;

/* Makes an empty set with its shared memory and its directory; false with a message on failure. */
bool set_init (CellSet *set, bool guest);

/* Chooses the cells that the options ask for and this machine can run; prints which cannot. */
void set_choose (CellSet *set, const Options *options);

/* Starts the chosen cells, all counts at zero. */
void set_start (CellSet *set, const Options *options);

/* Notes that process @pid has ended: if it was a cell, the cell has failed. */
void set_note_end (CellSet *set, pid_t pid, int status);

/* Has all disk cells compare all that they wrote; each says "disk NAME verified N WHAT". Returns
 * how many there are. */
size_t set_verify_disks (CellSet *set);

/* True when each cell has passed @checks checks since its count was @since[], or has failed. */
bool set_passed (const CellSet *set, const uint64_t *since, uint64_t checks);

/* Has the cells named in the comma-separated @list break themselves; "load" is the load. Returns
 * how many there are. */
size_t set_break (CellSet *set, const char *list);

bool slot_failed (const Slot *slot);

/* Fails cell @index (or the load, @index SET_MAX) from outside. */
void set_fail (CellSet *set, size_t index, const char *what);

/* Ends all cells and removes all they made; they can be started again. */
void set_stop (CellSet *set);

/* set_stop(), and removes the directory. */
void set_clear (CellSet *set);

#endif
