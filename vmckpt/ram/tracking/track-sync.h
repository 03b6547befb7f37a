/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tracking by write faults that this process serves (dirty-tracker.h, "sync"). */
#pragma once

#include "dirty-log.h"
#include "tracked-memory.h"
#include "write-faults.h"

/* Agrees on features, registers all of the RAM with the sync userfaultfd, protects it and serves
 * its faults. G_IO_ERROR_NOT_SUPPORTED if kernel or descriptors lack what it needs. */
WriteFaults *track_sync_begin (const TrackedMemory *memory, DirtyLog *log, GError **error);

/* Adds what was written since the last time to the log and to @found (nullable), and protects it
 * again. */
gboolean track_sync_collect (WriteFaults *faults, DirtyLog *log, PageBitmap *found, GError **error);

/* Takes protection and registration off that a killed daemon may have left, and lets go on who
 * waits for it. */
void track_sync_clean_up (const TrackedMemory *memory);
