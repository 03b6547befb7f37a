/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Write-protection faults of a guest's RAM, served by a thread of this process: the way to know
 * what a guest writes where the kernel cannot note it by itself (UFFD_FEATURE_WP_ASYNC, ≥ 6.7), and
 * to have the last word before a page is written at all. Kernel ≥ 5.19 for shared memory
 * (ioctl_userfaultfd(2), "UFFDIO_WRITEPROTECT").
 *
 *   vCPU writes a protected page ── waits ──▶ fault thread:  guard (copies the page, if it must)
 *                                                            ┌ lock
 *                                                            │ the page is marked
 *                                                            │ protection off, vCPU goes on
 *                                                            └ unlock
 *   write_faults_collect:  ┌ lock
 *                          │ takes the marks, protects those pages again
 *                          └ unlock;  then the caller reads the pages
 *
 * A mark that was taken while its page is still to be unprotected would lose the write behind it;
 * hence the lock. A page is marked before it can be written, and protected before it is read.
 *
 * While this is on, the guest depends on this process: its death leaves vCPUs waiting until the
 * keeper takes the protection off (keeper.h, guards).
 */
#pragma once

#include <gio/gio.h>

typedef struct _WriteFaults WriteFaults;

/**
 * write_faults_start:
 * @uffd: userfaultfd of the guest's process, handshake done without WP_ASYNC; duplicated
 * @address: of the range in that process
 * @pages: its length in pages of 4 KiB
 *
 * Registers the range, protects all of it and starts the thread. Pages written before count as not
 * written. Blocks for some ms per GiB.
 *
 * Returns: G_IO_ERROR if the range is registered with another userfaultfd (EBUSY) or the kernel
 * cannot protect this memory.
 */
WriteFaults *write_faults_start (int uffd, guint64 address, guint64 pages, GError **error);

/* Takes protection and registration off, wakes who waits, ends the thread. No guard may be set. */
void write_faults_stop (WriteFaults *faults);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (WriteFaults, write_faults_stop)

/**
 * write_faults_collect:
 * @written: (inout): a bit for each page, lowest of a word first; those written since the last
 * call are added
 *
 * Takes the marks and protects those pages again: what is read of them after this is what a later
 * call does not report again. One caller at a time.
 *
 * Returns: FALSE with @error if pages could not be protected; all of them are marked again.
 */
gboolean write_faults_collect (WriteFaults *faults, guint64 *written, GError **error);

/* Called by the fault thread with no lock held, before @page may be written; may block, and then
 * so does the guest. */
typedef void (*WriteGuardFunc) (guint64 page, gpointer user_data);

/* Sets or (NULL) takes away the guard. When this returns no call of the former one is going on. */
void write_faults_set_guard (WriteFaults *faults, WriteGuardFunc func, gpointer user_data);

/* How many faults were served so far. */
guint64 write_faults_served (WriteFaults *faults);
