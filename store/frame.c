/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

#include "pack.h"

#include <vmckpt/store/store.h>

/* Fast enough to keep up with hashing on the same core; more saves little on guests' memory. */
#define COMPRESSION_LEVEL 1

GBytes *
frame_encode (ZSTD_CCtx *context, const guint8 *raw, gsize len, FrameCodec *codec)
{
  gsize bound = ZSTD_compressBound (len);
  g_autofree guint8 *packed = g_malloc (bound);
  gsize n = ZSTD_compressCCtx (context, packed, bound, raw, len, COMPRESSION_LEVEL);

  *codec = ZSTD_isError (n) || n >= len ? FRAME_RAW : FRAME_ZSTD;
  if (*codec == FRAME_RAW)
    return g_bytes_new (raw, len);
  return g_bytes_new (packed, n);
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
