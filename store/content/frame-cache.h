/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frames that were decompressed last, bounded in bytes. Thread-safe. */
#pragma once

#include "index-table.h"

typedef struct _FrameCache FrameCache;

FrameCache *frame_cache_new (gsize max_bytes);
void frame_cache_free (FrameCache *cache);

/* (transfer full) (nullable) */
GBytes *frame_cache_get (FrameCache *cache, const ChunkLocation *location);

/* Forgets all frames: what is read next comes from the medium. */
void frame_cache_clear (FrameCache *cache);

/* Keeps @frame, in place of what was kept for @location. */
void frame_cache_put (FrameCache *cache, const ChunkLocation *location, GBytes *frame);
