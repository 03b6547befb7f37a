/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Index tables of made-up chunks: 16 to a frame, 100 frames to a pack. */
#pragma once

#include "index-table.h"

static inline ChunkName
made_name (const HashKey *key, guint64 i)
{
  ChunkName name;
  chunk_name_of (key, &i, sizeof i, &name);
  return name;
}

#define MADE_PER_PACK 1600
#define MADE_PACKS_FROM G_GUINT64_CONSTANT (1000000000000)

/* Chunks @from to @from + @count - 1; @from is a multiple of MADE_PER_PACK. */
static inline IndexContents *
made_contents (const HashKey *key, guint64 from, guint count)
{
  IndexContents *contents = index_contents_new();

  for (guint64 i = from; i < from + count; i++) {
    if (i % MADE_PER_PACK == 0) {
      IndexPack pack = { made_name (key, MADE_PACKS_FROM + i), 8000000 + i, MADE_PER_PACK,
                         PACK_DATA };
      g_array_append_val (contents->packs, pack);
    }
    if (i % 16 == 0) {
      IndexFrame frame = { contents->packs->len - 1,
                           { 16 + i % MADE_PER_PACK * 100, 30000, 65536, 16, FRAME_ZSTD } };
      g_array_append_val (contents->frames, frame);
    }
    IndexEntry entry = { made_name (key, i), contents->frames->len - 1, i % 16 * 4096, 4096 };
    g_array_append_val (contents->entries, entry);
  }
  return contents;
}
