/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The RAM blocks of one capture on their way into the store: a page map for each. */
#pragma once

#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/store/writer.h>

typedef struct _RamBlocks RamBlocks;

/**
 * ram_blocks_open:
 * @blocks: as the stream declares them; copied
 * @parent: (nullable): each map is based on the parent's map of the block of that name
 */
RamBlocks *ram_blocks_open (StoreWriter *writer, const StreamBlock *blocks, guint count,
                            const Manifest *parent, GError **error);
void ram_blocks_free (RamBlocks *blocks);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (RamBlocks, ram_blocks_free)

/* Bytes of all blocks together. */
guint64 ram_blocks_bytes (const RamBlocks *blocks);

/* Takes a page (STREAM_ITEM_PAGE). */
gboolean ram_blocks_put (RamBlocks *blocks, const StreamItem *item, GError **error);

/**
 * ram_blocks_adopt:
 * @map: (transfer full): gets the block's pages otherwise than from the stream
 *
 * Block @name, @length bytes long, is complete with @map. FALSE with RAM_ERROR_IMPOSSIBLE if no
 * such block was declared, or pages of it came in the stream.
 */
gboolean ram_blocks_adopt (RamBlocks *blocks, const char *name, guint64 length, PageMapWriter *map,
                           GError **error);

/* Every page of every block must have come: one that did not would silently be the parent's.
 * RAM_ERROR_IMPOSSIBLE names the block. */
gboolean ram_blocks_check_complete (const RamBlocks *blocks, GError **error);

/* Finishes the maps and adds a part "ram" for each block to @manifest, in the stream's order.
 * @stats: (inout): added up */
gboolean ram_blocks_finish (RamBlocks *blocks, Manifest *manifest, PageMapStats *stats,
                            GError **error);
