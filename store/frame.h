/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: a few chunks, one after the other, compressed together. */
#pragma once

#include <gio/gio.h>
#include <zstd.h>

/* A frame is closed when it holds this much, so that reading one page decompresses little. */
#define FRAME_TARGET_BYTES (64 * 1024)
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

/**
 * frame_encode:
 * @context: the thread's own compressor
 * @codec: (out): FRAME_RAW when compression does not make it smaller
 *
 * Returns: (transfer full): the bytes to store.
 */
GBytes *frame_encode (ZSTD_CCtx *context, const guint8 *raw, gsize len, FrameCodec *codec);

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
