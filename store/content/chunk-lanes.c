/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vectors are GCC's, and the same code makes both widths (chunk-lanes-body.h). Where the
 * processor or the compiler's target has neither, libsodium does it. Words are loaded as they are
 * in memory, so this is for little-endian machines, which x86 is.
 */
#include "chunk-lanes.h"

#include <string.h>

#define BLOCK_BYTES 128
/* BLAKE2b's parameter block: 32 bytes of output, 32 of key, fan-out and depth 1. */
#define PARAMETERS (CHUNK_NAME_BYTES | 32 << 8 | 1 << 16 | 1 << 24)

#ifdef __x86_64__

static const guint64 initial[8] = {
  0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
  0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
};

#define N_LANES 4
#define LANES_TARGET "avx2"
#define LANES_NAME(x) x##_avx2
#include "chunk-lanes-body.h"

#define N_LANES 8
#define LANES_TARGET "avx512f"
#define LANES_NAME(x) x##_avx512
#include "chunk-lanes-body.h"

static guint
lanes_width (Lanes lanes)
{
  return lanes == LANES_AVX512 ? 8 : lanes == LANES_AVX2 ? 4 : 1;
}

/* One group; with fewer pages than lanes the last one is done several times. */
static void
name_group (Lanes lanes, const HashKey *key, const guint8 *const *pages, guint count,
            ChunkName *names)
{
  const guint8 *lane_pages[8];
  ChunkName *lane_names[8];

  for (guint i = 0; i < lanes_width (lanes); i++) {
    lane_pages[i] = pages[MIN (i, count - 1)];
    lane_names[i] = &names[MIN (i, count - 1)];
  }
  if (lanes == LANES_AVX512)
    name_pages_avx512 (key, lane_pages, lane_names);
  else
    name_pages_avx2 (key, lane_pages, lane_names);
}

Lanes
chunk_lanes_best (void)
{
  if (__builtin_cpu_supports ("avx512f"))
    return LANES_AVX512;
  return __builtin_cpu_supports ("avx2") ? LANES_AVX2 : LANES_NONE;
}

#else

Lanes
chunk_lanes_best (void)
{
  return LANES_NONE;
}

#endif

void
chunk_names_with_lanes (Lanes lanes, const HashKey *key, const guint8 *const *pages, guint count,
                        ChunkName *names)
{
  guint done = 0;

#ifdef __x86_64__
  /* A group takes about as long as two or three pages one by one. */
  for (guint left = count; lanes != LANES_NONE && left > 2; left = count - done) {
    guint n = MIN (left, lanes_width (lanes));
    name_group (lanes, key, pages + done, n, names + done);
    done += n;
  }
#endif
  for (; done < count; done++)
    chunk_name_of (key, pages[done], PAGE_SIZE_BYTES, &names[done]);
}

void
chunk_names_of_pages (const HashKey *key, const guint8 *const *pages, guint count, ChunkName *names)
{
  chunk_names_with_lanes (chunk_lanes_best(), key, pages, count, names);
}
