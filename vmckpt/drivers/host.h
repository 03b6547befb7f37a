/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host has. */
#pragma once

#include <gio/gio.h>

/* Bytes of memory that can be used without swapping (MemAvailable); 0 if the kernel does not say.
 */
guint64 host_memory_available (void);

/* The same from text in the format of /proc/meminfo. */
guint64 host_parse_memory (const char *meminfo);

/* The running kernel's version. */
void host_kernel_version (guint *major, guint *minor);

/* TRUE if this process may have a userfaultfd that also serves faults taken in the kernel, which is
 * what QEMU's background snapshot needs; @reason: (out): how, or why not; newly allocated. */
gboolean host_has_userfaultfd (char **reason);
