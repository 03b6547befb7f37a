/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of many pages at once. BLAKE2b of one page is a chain of steps that wait for each other; of
 * several pages, each takes a lane of the processor's vectors, and they go side by side.
 */
#pragma once

#include "chunk.h"

/* Which vectors are used: none (libsodium, page by page), 4 lanes, 8 lanes. */
typedef enum { LANES_NONE, LANES_AVX2, LANES_AVX512, LANES_COUNT } Lanes;

/* The best that this processor has. */
Lanes chunk_lanes_best (void);

/**
 * chunk_names_of_pages:
 * @pages: (array length=count): each PAGE_SIZE_BYTES long
 * @names: (out caller-allocates) (array length=count): as chunk_name_of() names them
 *
 * Thread-safe.
 */
void chunk_names_of_pages (const HashKey *key, const guint8 *const *pages, guint count,
                           ChunkName *names);

/* The same with @lanes, which this processor must have: no more than chunk_lanes_best(). */
void chunk_names_with_lanes (Lanes lanes, const HashKey *key, const guint8 *const *pages,
                             guint count, ChunkName *names);
