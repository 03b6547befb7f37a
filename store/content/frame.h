/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: a few chunks, one after the other, compressed together. */
#pragma once

#include <gio/gio.h>
#include <zstd.h>

/* A frame of pages is closed when it holds this much: twice as much saves another 1 %, a quarter
 * takes 6 % more; and reading one page decompresses a fraction of a millisecond's worth. */
#define FRAME_TARGET_BYTES (256 * 1024)
/* One of what does not compress: nodes, which hold names and are read one by one, and noise. */
#define FRAME_DENSE_TARGET_BYTES (64 * 1024)
/* What a reader accepts: a target, and one more chunk of the greatest length. */
#define FRAME_MAX_BYTES (512 * 1024)
#define FRAME_MAX_CHUNKS 1024

typedef enum {
  FRAME_RAW = 0,
  FRAME_ZSTD = 1,
  FRAME_DELTA = 2, /* changes to chunks that are elsewhere (delta.h) */
  FRAME_CODEC_COUNT
} FrameCodec;

/* Where a frame is in its pack, and how it is stored. */
typedef struct {
  guint32 offset;     /* in the pack */
  guint32 stored_len; /* bytes there */
  guint32 raw_len;    /* bytes when decompressed */
  guint16 chunks;
  guint8 codec;
} FrameInfo;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ZSTD_CCtx, ZSTD_freeCCtx)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ZSTD_DCtx, ZSTD_freeDCtx)

/* Compresses frames; a thread's own. It finds out how hard to try: what is worth more effort now
 * and then stays so for a while, since neighbouring pages are alike. */
typedef struct {
  ZSTD_CCtx *zstd;
  int level;     /* of the frames until the next trial */
  guint untried; /* frames until then */
  guint8 *packed;
  gsize packed_size;
} FrameEncoder;

void frame_encoder_init (FrameEncoder *encoder);
void frame_encoder_clear (FrameEncoder *encoder);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FrameEncoder, frame_encoder_clear)

/**
 * frame_encode:
 * @codec: (out): FRAME_RAW when compression does not make it smaller
 *
 * Returns: (transfer full): the bytes to store, which are @raw's or the encoder's: good until it
 * encodes again.
 */
GBytes *frame_encode (FrameEncoder *encoder, const guint8 *raw, gsize len, FrameCodec *codec);

/* TRUE if a sample of a page looks like noise (no byte is much more frequent than another), so that
 * compressing it is a waste. Such pages get frames of their own: with others they would spoil both
 * speed and ratio. */
gboolean frame_page_is_noise (const guint8 *page);

/**
 * frame_decode:
 * @stored: the frame's bytes in the pack, exactly @info->stored_len
 *
 * Not for FRAME_DELTA: delta_frame_decode().
 *
 * Returns: (transfer full): exactly @info->raw_len bytes; NULL with @error (STORE_ERROR_DAMAGED).
 */
GBytes *frame_decode (GBytes *stored, const FrameInfo *info, GError **error);

/* FALSE if @info cannot be a frame of a pack whose frames end at @end. */
gboolean frame_info_sane (const FrameInfo *info, guint64 end);
