/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tracking by write-protection that the kernel takes off by itself (dirty-tracker.h, "async"). */
#pragma once

#include "dirty-log.h"
#include "tracked-memory.h"

/* Agrees on features, registers all of the RAM with the async userfaultfd, if it is not, and
 * protects it. G_IO_ERROR_NOT_SUPPORTED if kernel or descriptors lack what it needs. */
gboolean track_async_begin (const TrackedMemory *memory, DirtyLog *log, GError **error);

/* Whether the RAM is registered so. */
gboolean track_async_is_on (const TrackedMemory *memory);

/* Adds what was written since the last time to the log and to @found (nullable), and protects it
 * again. Two threads for large guests. */
gboolean track_async_collect (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found,
                              GError **error);

/* As track_async_collect(), but only the addresses of pages @first to @end (excluded). */
gboolean track_async_collect_range (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found,
                                    guint64 first, guint64 end, GError **error);

/**
 * uffd_agree:
 * @features: what is needed
 * @agreed: (inout): what was agreed before, 0: nothing; then what is
 *
 * The handshake that each userfaultfd needs once (UFFDIO_API).
 *
 * Returns: FALSE with @error (G_IO_ERROR_NOT_SUPPORTED) if the kernel lacks some of @features.
 */
gboolean uffd_agree (int uffd, guint64 features, _Atomic uint64_t *agreed, GError **error);

/* Registers the RAM with @uffd, @mode (UFFDIO_REGISTER_MODE_…), or ends that, which takes
 * protection off; and protects or unprotects it. */
gboolean uffd_register (int uffd, const TrackedMemory *memory, guint64 mode, GError **error);
gboolean uffd_unregister (int uffd, const TrackedMemory *memory, GError **error);
gboolean uffd_protect (int uffd, const TrackedMemory *memory, gboolean on, GError **error);
