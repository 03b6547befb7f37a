/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a run is asked to do: on the kernel command line as witness.NAME=VALUE, or as --NAME VALUE.
 */
#ifndef WITNESS_OPTIONS_H
#define WITNESS_OPTIONS_H

#include "disk.h"
#include "disks.h"
#include "load.h"
#include "work.h"

#define LIST_SIZE 1024

typedef struct {
  bool guest;                               /* process 1 of a guest, not a program on a host */
  bool list;                                /* print the table and end */
  bool off;                                 /* no cells */
  uint64_t rounds;                          /* end after so many rounds; 0 = never */
  uint64_t report_ms;                       /* time between two rounds */
  uint64_t pace_ms;                         /* time between two checks of a cell */
  char cells[LIST_SIZE];                    /* only these, separated by commas; empty = all */
  char broken[LIST_SIZE];                   /* the cell to break, or all-in-turn; empty = none */
  char disks[LIST_SIZE];                    /* what is to be done to which disks; see disks.h */
  uint64_t disk_rate, disk_depth, disk_mib; /* as in Cell */
  uint64_t work_mib;                        /* memory of each worker; 0 = no workers */
  uint64_t workers;
  LoadOptions load;
} Options;

/* Sets the defaults. */
void options_init (Options *options);

/* Reads --NAME VALUE arguments. Says what is wrong and returns false at the first bad one. */
bool options_from_arguments (Options *options, int argc, char **argv);

/* Reads the witness.* words of /proc/cmdline; a bad one is reported and left out. */
void options_from_kernel (Options *options);

/* True if @name is one of the words of the comma-separated @list. */
bool options_names (const char *list, const char *name);

#endif
