/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frees a guest whose vCPUs wait on a userfaultfd that nobody serves any more. Whoever may ptrace
 * QEMU can take a duplicate of a descriptor that is open in it (pidfd_getfd(2)) and undo the
 * protection from outside (ioctl_userfaultfd(2)). There are two reasons to:
 *
 * QEMU 7.2 write-protects the guest's memory for a background snapshot and, when that fails or is
 * cancelled, forgets to take the protection off: the first write of each vCPU then waits for ever.
 *
 * The daemon serves write faults of the guest through a userfaultfd of its own that QEMU holds
 * (guest-fds.h), and dies.
 *
 * Memory that is registered for missing pages, of a guest that is restored lazily, stays so: to
 * take that off would show the guest zeros. It waits for the next daemon.
 */
#pragma once

#include <vmckpt/util/process.h>

/**
 * unprotect_memory:
 * @qemu: the process
 * @ranges: (out) (optional): how many ranges of memory were freed; 0 if there was nothing to do
 *
 * Takes write-protection and registration off every range that a userfaultfd of QEMU's own guards.
 * Harmless to the guest at any time; it spoils a background snapshot that is still going on.
 *
 * Returns: FALSE with @error (G_IO_ERROR) if descriptors or ranges could not be reached.
 */
gboolean unprotect_memory (ProcessId qemu, guint *ranges, GError **error);

/* The same for what the daemon served (GUEST_FD_UFFD_SYNC). */
gboolean unprotect_served_memory (ProcessId qemu, guint *ranges, GError **error);
