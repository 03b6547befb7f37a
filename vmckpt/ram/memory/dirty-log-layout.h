/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dirty log's memory, a memfd that the daemon, the next daemon and the object that is preloaded
 * into QEMU map at the same time. Plain C: the preloaded object uses no GLib.
 *
 *   0      struct dirty_log_header
 *   4096   one bitmap per enum dirty_log_bitmap, each dirty_log_bitmap_bytes() long: a bit per page
 *          of RAM, the lowest of a 64-bit word first
 *
 * Bits are set and taken by atomic operations on whole words: several processes do it at once.
 * `state` is the only thing that says which bitmaps count for which checkpoint, so every step from
 * one checkpoint to the next is one store of it, and a process may be killed between any two.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define DIRTY_LOG_MAGIC UINT64_C (0x474f4c5954524944) /* "DIRTYLOG" */
#define DIRTY_LOG_VERSION 1
#define DIRTY_LOG_PAGE_BYTES 4096
#define DIRTY_LOG_HEADER_BYTES 4096

enum dirty_log_bitmap {
  DIRTY_LOG_SINCE_A, /* written since an instant; which of the two is current says `state` */
  DIRTY_LOG_SINCE_B,
  /* Changed in a way that page protection does not show, and not yet collected: by the preloaded
   * object. Discarded pages read as zeros and may be missing from the page tables. */
  DIRTY_LOG_DISCARDED,
  /* Written by the kernel, maybe through pages that it had pinned (direct I/O), and not yet
   * collected. */
  DIRTY_LOG_TRANSFERRED,
  /* Such a transfer was begun since the last instant, and may be going on as long as the guest
   * runs: these count as written at every collection, and are forgotten only at an instant. */
  DIRTY_LOG_BEGUN,
  /* Of a guest that is restored lazily: never to be filled from the checkpoint any more, since it
   * was, or since it was discarded after that instant. */
  DIRTY_LOG_PRESENT,
  DIRTY_LOG_BITMAPS,
};

/* A checkpoint: strings that end with NUL, both empty for none. */
struct dirty_log_checkpoint {
  char store[128];
  char id[128];
};

/* Bits of `state`. */
#define DIRTY_LOG_CURRENT_B UINT32_C (1) /* SINCE_B is current, else SINCE_A */
/* The one that is not current counts, too: an instant was taken, and its checkpoint is neither
 * committed nor given up. */
#define DIRTY_LOG_PENDING UINT32_C (2)
#define DIRTY_LOG_BASE_1 UINT32_C (4)   /* bases[1] is the base, else bases[0] */
#define DIRTY_LOG_HAS_BASE UINT32_C (8) /* there is a base */

struct dirty_log_header {
  uint64_t magic;
  uint32_t version;
  uint32_t page_bytes;
  uint64_t pages; /* of RAM */
  _Atomic uint32_t state;
  _Atomic uint32_t scanning; /* not 0: a scan has begun and its findings are not all in the log */
  _Atomic uint32_t mode;     /* enum TrackMode: how pages are tracked since they were protected */
  _Atomic uint32_t preload;  /* bits of DIRTY_LOG_PRELOAD_…: what the preloaded object sees to */
  _Atomic uint64_t features; /* of userfaultfd, agreed with the async descriptor; 0: not yet */
  _Atomic uint64_t features_sync; /* and with the other */
  struct dirty_log_checkpoint bases[2];
  struct dirty_log_checkpoint source; /* from which pages are filled lazily; see source_set */
  _Atomic uint32_t source_set;        /* not 0: `source` is valid, and pages may be missing */
  /* Not 0: pages may be being copied before they are written (copy-before-write.h); a discard is
   * to begin with a write that changes nothing, so that it waits, too. */
  _Atomic uint32_t copying;
};

#define DIRTY_LOG_PRELOAD_DISCARDS UINT32_C (1)  /* DISCARDED is kept */
#define DIRTY_LOG_PRELOAD_TRANSFERS UINT32_C (2) /* TRANSFERRED and BEGUN are kept */

_Static_assert(sizeof (struct dirty_log_header) <= DIRTY_LOG_HEADER_BYTES, "header in one page");

/* Length of one bitmap: whole pages, so that each can be cleared by itself. */
static inline uint64_t
dirty_log_bitmap_bytes (uint64_t pages)
{
  return (pages + 8 * DIRTY_LOG_HEADER_BYTES - 1) / (8 * DIRTY_LOG_HEADER_BYTES) *
         DIRTY_LOG_HEADER_BYTES;
}

/* Length of the whole file. */
static inline uint64_t
dirty_log_file_bytes (uint64_t pages)
{
  return DIRTY_LOG_HEADER_BYTES + DIRTY_LOG_BITMAPS * dirty_log_bitmap_bytes (pages);
}

/* The words of a bitmap in the mapped log of @pages. */
static inline _Atomic uint64_t *
dirty_log_words_at (struct dirty_log_header *log, enum dirty_log_bitmap which, uint64_t pages)
{
  return (_Atomic uint64_t *)((char *)log + DIRTY_LOG_HEADER_BYTES +
                              which * dirty_log_bitmap_bytes (pages));
}

/* The same for who trusts the header. */
static inline _Atomic uint64_t *
dirty_log_words (struct dirty_log_header *log, enum dirty_log_bitmap which)
{
  return dirty_log_words_at (log, which, log->pages);
}

/* Sets the bits of pages @first to @end (excluded). Any process, any thread; what the caller wrote
 * before is visible to whoever takes the bits. */
static inline void
dirty_log_set_words (_Atomic uint64_t *words, uint64_t first, uint64_t end)
{
  while (first < end) {
    uint64_t bits = 64 - first % 64 < end - first ? 64 - first % 64 : end - first;
    uint64_t mask = (bits == 64 ? ~UINT64_C (0) : (UINT64_C (1) << bits) - 1) << first % 64;
    atomic_fetch_or (&words[first / 64], mask);
    first += bits;
  }
}

/* The same for who trusts the header; cut to the number of pages. */
static inline void
dirty_log_set_bits (struct dirty_log_header *log, enum dirty_log_bitmap which, uint64_t first,
                    uint64_t end)
{
  dirty_log_set_words (dirty_log_words (log, which), first, end < log->pages ? end : log->pages);
}
