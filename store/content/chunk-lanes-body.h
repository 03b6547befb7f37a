/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * BLAKE2b (RFC 7693) of N_LANES pages side by side; included by chunk-lanes.c once per kind of
 * vector, with N_LANES, LANES_TARGET (what the compiler may use) and LANES_NAME(x) defined.
 */
typedef guint64 LANES_NAME (Vector) __attribute__ ((vector_size (N_LANES * 8)));
#define Vector LANES_NAME (Vector)
#define LANES_INLINE static inline __attribute__ ((always_inline, target (LANES_TARGET)))

/* Both halves of a swap of neighbouring blocks of lanes in two rows. */
#define SWAP(a, b, low, high)                                                                      \
  do {                                                                                             \
    Vector swap_a = (a), swap_b = (b);                                                             \
    (a) = __builtin_shufflevector (swap_a, swap_b, low);                                           \
    (b) = __builtin_shufflevector (swap_a, swap_b, high);                                          \
  } while (0)

/* Which lanes, in the order of the result: those of the second row count on. */
#if N_LANES == 8
#define LOW4 0, 1, 2, 3, 8, 9, 10, 11
#define HIGH4 4, 5, 6, 7, 12, 13, 14, 15
#define LOW2 0, 1, 8, 9, 4, 5, 12, 13
#define HIGH2 2, 3, 10, 11, 6, 7, 14, 15
#define LOW1 0, 8, 2, 10, 4, 12, 6, 14
#define HIGH1 1, 9, 3, 11, 5, 13, 7, 15
#else
#define LOW2 0, 1, 4, 5
#define HIGH2 2, 3, 6, 7
#define LOW1 0, 4, 2, 6
#define HIGH1 1, 5, 3, 7
#endif

/* Rows of one page's words each become vectors of the pages' same word. */
LANES_INLINE void
LANES_NAME (transpose) (Vector *rows)
{
#if N_LANES == 8
#pragma GCC unroll 4
  for (guint i = 0; i < 4; i++)
    SWAP (rows[i], rows[i + 4], LOW4, HIGH4);
#endif
#pragma GCC unroll 8
  for (guint i = 0; i < N_LANES; i += 4) {
    SWAP (rows[i], rows[i + 2], LOW2, HIGH2);
    SWAP (rows[i + 1], rows[i + 3], LOW2, HIGH2);
    SWAP (rows[i], rows[i + 1], LOW1, HIGH1);
    SWAP (rows[i + 2], rows[i + 3], LOW1, HIGH1);
  }
}

/* The 16 words of the block at @at of every page. */
LANES_INLINE void
LANES_NAME (load) (const guint8 *const *pages, gsize at, Vector *words)
{
#pragma GCC unroll 4
  for (guint first = 0; first < 16; first += N_LANES) {
#pragma GCC unroll 8
    for (guint i = 0; i < N_LANES; i++)
      memcpy (&words[first + i], pages[i] + at + (gsize)first * 8, sizeof (Vector));
    LANES_NAME (transpose) (words + first);
  }
}

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (64 - (n))))
#define MIX(a, b, c, d, x, y)                                                                      \
  do {                                                                                             \
    v[a] += v[b] + words[x];                                                                       \
    v[d] = ROTATE (v[d] ^ v[a], 32);                                                               \
    v[c] += v[d];                                                                                  \
    v[b] = ROTATE (v[b] ^ v[c], 24);                                                               \
    v[a] += v[b] + words[y];                                                                       \
    v[d] = ROTATE (v[d] ^ v[a], 16);                                                               \
    v[c] += v[d];                                                                                  \
    v[b] = ROTATE (v[b] ^ v[c], 63);                                                               \
  } while (0)
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)                      \
  do {                                                                                             \
    MIX (0, 4, 8, 12, s0, s1);                                                                     \
    MIX (1, 5, 9, 13, s2, s3);                                                                     \
    MIX (2, 6, 10, 14, s4, s5);                                                                    \
    MIX (3, 7, 11, 15, s6, s7);                                                                    \
    MIX (0, 5, 10, 15, s8, s9);                                                                    \
    MIX (1, 6, 11, 12, sa, sb);                                                                    \
    MIX (2, 7, 8, 13, sc, sd);                                                                     \
    MIX (3, 4, 9, 14, se, sf);                                                                     \
  } while (0)

/* One block of every page; @count: bytes hashed with it, the key's block included. */
LANES_INLINE void
LANES_NAME (compress) (Vector state[8], const Vector words[16], guint64 count, gboolean last)
{
  Vector v[16];

#pragma GCC unroll 8
  for (guint i = 0; i < 8; i++) {
    v[i] = state[i];
    v[i + 8] = (Vector){ 0 } + initial[i];
  }
  v[12] ^= count;
  if (last)
    v[14] = ~v[14];
  ROUND (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  ROUND (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
  ROUND (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
  ROUND (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
  ROUND (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
  ROUND (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
  ROUND (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
  ROUND (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
  ROUND (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
  ROUND (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
  ROUND (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  ROUND (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
#pragma GCC unroll 8
  for (guint i = 0; i < 8; i++)
    state[i] ^= v[i] ^ v[i + 8];
}

/* Names N_LANES pages. */
__attribute__ ((target (LANES_TARGET))) static void
LANES_NAME (name_pages) (const HashKey *key, const guint8 *const *pages, ChunkName *const *names)
{
  Vector state[8], words[16] = { { 0 } };

  for (guint i = 0; i < 8; i++)
    state[i] = (Vector){ 0 } + initial[i];
  state[0] ^= PARAMETERS;
  for (guint i = 0; i < sizeof key->bytes / 8; i++) {
    guint64 word;
    memcpy (&word, key->bytes + (gsize)i * 8, sizeof word);
    words[i] += word;
  }
  LANES_NAME (compress) (state, words, BLOCK_BYTES, FALSE);
  for (gsize at = 0; at < PAGE_SIZE_BYTES; at += BLOCK_BYTES) {
    LANES_NAME (load) (pages, at, words);
    LANES_NAME (compress)
    (state, words, BLOCK_BYTES + at + BLOCK_BYTES, at + BLOCK_BYTES == PAGE_SIZE_BYTES);
  }
  for (guint lane = 0; lane < N_LANES; lane++) {
    for (guint i = 0; i < CHUNK_NAME_BYTES / 8; i++) {
      guint64 word = state[i][lane];
      memcpy (names[lane]->bytes + (gsize)i * 8, &word, sizeof word);
    }
  }
}

#undef ROUND
#undef MIX
#undef ROTATE
#undef SWAP
#undef LOW4
#undef HIGH4
#undef LOW2
#undef HIGH2
#undef LOW1
#undef HIGH1
#undef LANES_INLINE
#undef Vector
#undef LANES_NAME
#undef LANES_TARGET
#undef N_LANES
