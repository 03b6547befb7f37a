/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

#include "pack.h"

#include <vmckpt/store/store.h>

/* Pages that are half noise take 0.1 % less at level 3 than at -1 and 1, at a third and half of
 * their speeds; code and text 7 % less than at 1, which takes 10 % less than -1. So one frame of a
 * few tries the next level, and what gains less than a part of it is not for the next ones. */
#define TRIAL_EVERY 16
/* The probe looks at pieces from all over a page. */
#define SAMPLE_PIECE 64

void
frame_encoder_init (FrameEncoder *encoder)
{
  *encoder = (FrameEncoder){ .zstd = ZSTD_createCCtx(), .level = 1 };
}

void
frame_encoder_clear (FrameEncoder *encoder)
{
  ZSTD_freeCCtx (encoder->zstd);
  g_free (encoder->packed);
}

/* Counts the bytes of @pieces pieces, and sums the squares of how often each occurs. Of noise, that
 * is the least: n + n (n - 1) / 256 for n bytes; more than six deviations (sqrt (2 n² / 256)) above
 * it is something else. */
static gboolean
sample_is_noise (const guint8 *page, guint pieces)
{
  const guint n = pieces * SAMPLE_PIECE;
  guint8 counts[256] = { 0 };
  guint sum = 0;

  for (guint piece = 0; piece < pieces; piece++) {
    const guint8 *at = page + (gsize)piece * (PAGE_SIZE_BYTES / pieces);
    for (guint i = 0; i < SAMPLE_PIECE; i++)
      counts[at[i]] += counts[at[i]] < G_MAXUINT8;
  }
  for (guint i = 0; i < 256; i++)
    sum += (guint)counts[i] * counts[i];
  return sum <= n + n * (n - 1) / 256 + 6 * n / 11;
}

gboolean
frame_page_is_noise (const guint8 *page)
{
  /* Most pages are something else, and a little shows it. */
  return sample_is_noise (page, 4) && sample_is_noise (page, 16);
}

/* Bytes that it takes at @level, or @len if that is not less; they are in encoder->packed. */
static gsize
compress (FrameEncoder *encoder, const guint8 *raw, gsize len, int level)
{
  gsize n =
      ZSTD_compressCCtx (encoder->zstd, encoder->packed, encoder->packed_size, raw, len, level);
  return ZSTD_isError (n) ? len : MIN (n, len);
}

/* Compresses with each level that pays beyond the one before; the last that did is for the next
 * frames. Returns the bytes that the last one tried takes. */
static gsize
try_levels (FrameEncoder *encoder, const guint8 *raw, gsize len)
{
  /* What a level must gain beyond the one before: a part of so much. */
  static const struct {
    int level;
    guint gain;
  } ladder[] = { { -1, 0 }, { 1, 128 }, { 3, 32 } };
  gsize n = compress (encoder, raw, len, ladder[0].level);

  encoder->level = ladder[0].level;
  for (guint i = 1; i < G_N_ELEMENTS (ladder); i++) {
    gsize before = n;
    n = compress (encoder, raw, len, ladder[i].level);
    if (n + before / ladder[i].gain >= before)
      break;
    encoder->level = ladder[i].level;
  }
  return n;
}

GBytes *
frame_encode (FrameEncoder *encoder, const guint8 *raw, gsize len, FrameCodec *codec)
{
  gsize n;

  if (encoder->packed_size < ZSTD_compressBound (len)) {
    encoder->packed_size = ZSTD_compressBound (len);
    g_free (encoder->packed);
    encoder->packed = g_malloc (encoder->packed_size);
  }
  if (encoder->untried > 0) {
    encoder->untried--;
    n = compress (encoder, raw, len, encoder->level);
  } else {
    n = try_levels (encoder, raw, len);
    encoder->untried = TRIAL_EVERY - 1;
  }
  *codec = n < len ? FRAME_ZSTD : FRAME_RAW;
  return g_bytes_new_static (n < len ? encoder->packed : raw, n);
}

GBytes *
frame_decode (GBytes *stored, const FrameInfo *info, GError **error)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (stored, &len);

  if (info->raw_len <= FRAME_MAX_BYTES && len == info->stored_len) {
    if (info->codec == FRAME_RAW && len == info->raw_len)
      return g_bytes_ref (stored);
    if (info->codec == FRAME_ZSTD) {
      g_autofree guint8 *raw = g_malloc (MAX (info->raw_len, 1));
      if (ZSTD_decompress (raw, info->raw_len, data, len) == info->raw_len)
        return g_bytes_new_take (g_steal_pointer (&raw), info->raw_len);
    }
  }
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "the frame at offset %u does not decompress to what it should hold", info->offset);
  return NULL;
}

gboolean
frame_info_sane (const FrameInfo *info, guint64 end)
{
  return info->offset >= PACK_HEADER_BYTES && (guint64)info->offset + info->stored_len <= end &&
         info->raw_len > 0 && info->raw_len <= FRAME_MAX_BYTES &&
         info->stored_len <= info->raw_len && info->codec < FRAME_CODEC_COUNT &&
         (info->codec != FRAME_RAW || info->stored_len == info->raw_len) &&
         (info->codec != FRAME_DELTA || info->raw_len == info->chunks * PAGE_SIZE_BYTES) &&
         info->chunks > 0 && info->chunks <= FRAME_MAX_CHUNKS;
}
