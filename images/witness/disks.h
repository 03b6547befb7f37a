/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cells that work on disks. Unlike those of the table they overwrite what they are given, so
 * they run only on the disks that witness.disk names: KIND:DISK,…, each with a cell of its own. */
#ifndef WITNESS_DISKS_H
#define WITNESS_DISKS_H

#include "witness.h"

#define DISKS_MAX 16

typedef struct {
  CellType type;
  char name[NAME_SIZE]; /* KIND-DISK, or KIND-DISK-DISK */
  char on[NAME_SIZE];   /* DISK, or DISK+DISK */
} DiskCell;

/* Reads @list into @cells (DISKS_MAX of them; NULL: only looks whether it can be read). Returns how
 * many there are, 0 if @list is not such a list. */
size_t disks_parse (const char *list, DiskCell *cells);

/* True if @name has the form of a disk cell's name. */
bool disks_name_known (const char *name);

#endif
