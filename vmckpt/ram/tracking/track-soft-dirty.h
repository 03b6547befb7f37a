/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tracking by the kernel's soft-dirty bits (dirty-tracker.h, "soft-dirty"; Linux's
 * Documentation/admin-guide/mm/soft-dirty.rst), for kernels built with CONFIG_MEM_SOFT_DIRTY where
 * QEMU could not get a userfaultfd.
 */
#pragma once

#include "dirty-log.h"
#include "tracked-memory.h"

/* Whether this kernel has soft-dirty bits, found out on a page of this process's own. */
gboolean track_soft_dirty_is_there (void);

/* Clears the bits of all of QEMU. G_IO_ERROR_NOT_SUPPORTED if there are none or they are not ours
 * to clear. The guest is stopped. */
gboolean track_soft_dirty_begin (const TrackedMemory *memory, GError **error);

/* Adds what was written since the last time to the log and to @found (nullable), and clears the
 * bits. The guest is stopped: between asking and clearing a write would be lost. */
gboolean track_soft_dirty_collect (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found,
                                   GError **error);

/**
 * track_soft_dirty_parse:
 * @entries: of /proc/PID/pagemap
 * @count: how many
 * @first: the page that the first of them describes; all must be in @written
 * @written: (inout): pages are added of which the bit is set, or which are in no page table: the
 * kernel forgets the bit of a page of a file that it takes out of there, to swap it
 */
void track_soft_dirty_parse (const guint64 *entries, gsize count, guint64 first,
                             PageBitmap *written);
