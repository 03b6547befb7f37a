/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process that stands for QEMU: it maps a memfd as its RAM, has it and two userfaultfds under the
 * numbers of guest-fds.h and one of its own, and touches its memory when it is told to. */
#pragma once

#include "dirty-tracker.h"

#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

typedef struct {
  ChildProcess child;
  TrackedMemory memory; /* with descriptors of this process's own */
  AutoFd uffd_own;      /* one that the daemon knows nothing of */
  AutoFd control;
  DirtyLog *log;
} TrackedChild;

/* What the child may be told to do with pages. */
typedef enum {
  CHILD_WRITE,    /* the first byte of each, without a word to anybody */
  CHILD_READ,     /* the same */
  CHILD_PUNCH,    /* out of the memfd, and the mapping, as QEMU discards */
  CHILD_DONTNEED, /* out of the page tables alone */
  CHILD_PAGEOUT,  /* have the kernel reclaim them */
  CHILD_SYSCALL,  /* have a system call write them: read(2) of zeros */
} ChildOp;

/* Starts one with @pages pages; skips the test and returns FALSE if userfaultfd is not permitted.
 */
gboolean tracked_child_start (TrackedChild *child, guint64 pages);
/* Kills and reaps it. */
void tracked_child_end (TrackedChild *child);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TrackedChild, tracked_child_end)

/* Sends an order, without waiting; @value is what is written. */
void tracked_child_order (TrackedChild *child, ChildOp op, guint64 first, guint64 count,
                          guint8 value);
/* Waits until the last order is done; returns the sum of the bytes that it read. */
guint64 tracked_child_wait (TrackedChild *child);

/* Both. */
guint64 tracked_child_do (TrackedChild *child, ChildOp op, guint64 first, guint64 count,
                          guint8 value);

/* Begins to follow what it writes, which nobody did before; skips the test and returns NULL where
 * that way does not work. */
DirtyTracker *tracked_child_track (TrackedChild *child, TrackMode mode);

/* Collects, and asserts that just pages @first to @end (excluded) are found. */
void tracked_child_assert_found (TrackedChild *child, DirtyTracker *tracker, guint64 first,
                                 guint64 end);
