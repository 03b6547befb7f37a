/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packs: objects of a few MiB that hold frames, and a footer that says what is in them, so that the
 * index can be rebuilt from packs alone.
 */
#pragma once

#include <vmckpt/store/backend.h>

#include "chunk.h"
#include "frame.h"

#define PACK_TARGET_BYTES (8 * 1024 * 1024)
#define PACK_HEADER_BYTES 16
#define PACK_TRAILER_BYTES 56
/* What a reader accepts. */
#define PACK_MAX_BYTES (64 * 1024 * 1024)
#define PACK_MAX_CHUNKS 65536
/* What a writer puts into one: keeps the footer of a pack of very compressible pages small. */
#define PACK_TARGET_CHUNKS 32768

typedef enum { PACK_DATA = 0, PACK_METADATA = 1, PACK_KIND_COUNT } PackKind;

typedef struct {
  ChunkName name;
  guint32 offset; /* in its decompressed frame */
  guint32 len;
} PackChunk;

/* ---- Writing ---- */

typedef struct _PackBuilder PackBuilder;

PackBuilder *pack_builder_new (PackKind kind);
void pack_builder_free (PackBuilder *builder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PackBuilder, pack_builder_free)

/* Appends a frame; @info: (inout): its offset is set, all else is the caller's to fill in. */
void pack_builder_add (PackBuilder *builder, GBytes *stored, FrameInfo *info,
                       const PackChunk *chunks);

gboolean pack_builder_is_full (const PackBuilder *builder);

/* Completes the pack and empties the builder. @name: (out): the hash that names it. */
GBytes *pack_builder_finish (PackBuilder *builder, const HashKey *key, ChunkName *name);

/* ---- Reading ---- */

typedef struct {
  PackKind kind;
  guint64 pack_size; /* of the whole object */
  guint n_frames, n_chunks;
  FrameInfo *frames;
  PackChunk *chunks; /* frame by frame */
} PackFooter;

void pack_footer_free (PackFooter *footer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PackFooter, pack_footer_free)

/**
 * pack_footer_parse:
 * @data: the footer alone
 * @frames_end: where it begins in its pack
 *
 * Returns: NULL with @error (STORE_ERROR_DAMAGED) if anything about it is impossible.
 */
PackFooter *pack_footer_parse (const guint8 *data, gsize len, guint64 frames_end, GError **error);

/* Reads and verifies header, trailer and footer of the pack called @name. STORE_ERROR_DAMAGED,
 * STORE_ERROR_VERSION, or the backend's error. */
PackFooter *pack_footer_load (Backend *backend, const HashKey *key, const ChunkName *name,
                              GError **error);
