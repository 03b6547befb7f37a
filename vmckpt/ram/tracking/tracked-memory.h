/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's RAM as those see it who track what is written to it. */
#pragma once

#include "page-bitmap.h"

#include <sys/types.h>

/* A guest's RAM in QEMU. Everything is borrowed and outlives it; what is not there is -1. */
typedef struct {
  pid_t pid;       /* QEMU's */
  guint64 address; /* where it maps the RAM */
  guint64 bytes;   /* of RAM */
  int memory;      /* the RAM itself, a memfd */
  int pagemap;     /* /proc/PID/pagemap */
  int uffd_async;  /* QEMU's userfaultfds */
  int uffd_sync;
} TrackedMemory;

/* Adds to @populated the pages that were ever touched; all others are zeros. Reads no memory. FALSE
 * with G_IO_ERROR. */
gboolean tracked_memory_populated (const TrackedMemory *memory, PageBitmap *populated,
                                   GError **error);
