/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands for a QEMU whose RAM is a memfd: a child process that maps it, has a userfaultfd, and
 * writes to random pages with several threads whenever it is not stopped.
 */
#pragma once

#include <vmckpt/util/fd.h>

#include <sys/types.h>

typedef struct _WrittenControl WrittenControl;

typedef struct {
  pid_t pid;
  AutoFd memory;   /* the RAM */
  AutoFd uffd;     /* a duplicate of the child's; no handshake done */
  guint64 address; /* of the RAM in the child */
  guint64 pages;
  guint8 *view; /* the RAM, mapped here */
  WrittenControl *control;
} WrittenChild;

#define WRITTEN_CHILD_NONE ((WrittenChild){ .memory = -1, .uffd = -1 })

/* Starts a child, stopped, with every other page of its RAM populated. FALSE, and the test is
 * skipped, where a userfaultfd that sees faults of the kernel cannot be had. */
gboolean written_child_start (WrittenChild *child, guint64 pages, guint threads);
void written_child_end (WrittenChild *child);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (WrittenChild, written_child_end)

/* The handshake for faults served here: no WP_ASYNC. */
void written_child_handshake (WrittenChild *child);

/* Lets it write on. */
void written_child_run (WrittenChild *child);

/* Stops all its threads; on return none writes. */
void written_child_stop (WrittenChild *child);

/* Waits until the child has made @writes more writes. It must run. */
void written_child_await (WrittenChild *child, guint64 writes);
