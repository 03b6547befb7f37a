/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ram-blocks.h"

#include <vmckpt/ram/capture.h>

typedef struct {
  char *name;
  guint64 length; /* bytes */
  PageMapWriter *map;
  guint8 *seen;  /* a bit per page */
  guint64 count; /* pages seen, each counted once */
} RamBlock;

struct _RamBlocks {
  GPtrArray *list; /* of RamBlock, in the stream's order */
  guint64 bytes;
};

static void
ram_block_free (RamBlock *block)
{
  g_clear_pointer (&block->map, page_map_writer_free);
  g_free (block->name);
  g_free (block->seen);
  g_free (block);
}

void
ram_blocks_free (RamBlocks *blocks)
{
  if (blocks == NULL)
    return;
  g_ptr_array_unref (blocks->list);
  g_free (blocks);
}

RamBlocks *
ram_blocks_open (StoreWriter *writer, const StreamBlock *declared, guint count,
                 const Manifest *parent, GError **error)
{
  g_autoptr (RamBlocks) blocks = g_new0 (RamBlocks, 1);

  blocks->list = g_ptr_array_new_with_free_func ((GDestroyNotify)ram_block_free);
  for (guint i = 0; i < count; i++) {
    const ManifestPart *former =
        parent != NULL ? manifest_find_part (parent, "ram", declared[i].name) : NULL;
    RamBlock *block = g_new0 (RamBlock, 1);
    g_ptr_array_add (blocks->list, block);
    block->name = g_strdup (declared[i].name);
    block->length = declared[i].length;
    block->seen = g_malloc0 (block->length / STREAM_PAGE_SIZE / 8 + 1);
    block->map =
        page_map_writer_new (writer, block->length, former != NULL ? &former->map : NULL, error);
    if (block->map == NULL)
      return NULL;
    blocks->bytes += block->length;
  }
  return g_steal_pointer (&blocks);
}

guint64
ram_blocks_bytes (const RamBlocks *blocks)
{
  return blocks->bytes;
}

gboolean
ram_blocks_put (RamBlocks *blocks, const StreamItem *item, GError **error)
{
  RamBlock *block = g_ptr_array_index (blocks->list, item->block);
  guint64 page = item->offset / STREAM_PAGE_SIZE;
  guint8 bit = 1 << page % 8;

  block->count += (block->seen[page / 8] & bit) == 0;
  block->seen[page / 8] |= bit;
  return page_map_writer_put (block->map, page, item->data, error);
}

gboolean
ram_blocks_adopt (RamBlocks *blocks, const char *name, guint64 length, PageMapWriter *map,
                  GError **error)
{
  for (guint i = 0; i < blocks->list->len; i++) {
    RamBlock *block = g_ptr_array_index (blocks->list, i);
    if (!g_str_equal (block->name, name) || block->length != length || block->count > 0)
      continue;
    page_map_writer_free (block->map);
    block->map = map;
    block->count = length / STREAM_PAGE_SIZE;
    return TRUE;
  }
  page_map_writer_free (map);
  g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
               "QEMU has no RAM block %s whose pages are shared and stay out of the stream", name);
  return FALSE;
}

gboolean
ram_blocks_check_complete (const RamBlocks *blocks, GError **error)
{
  for (guint i = 0; i < blocks->list->len; i++) {
    const RamBlock *block = g_ptr_array_index (blocks->list, i);
    guint64 pages = block->length / STREAM_PAGE_SIZE;
    if (block->count == pages)
      continue;
    g_set_error (
        error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
        "QEMU sent %" G_GUINT64_FORMAT " of the %" G_GUINT64_FORMAT
        " pages of RAM block %s; memory that is unplugged, as virtio-mem has it, cannot be "
        "captured",
        block->count, pages, block->name);
    return FALSE;
  }
  return TRUE;
}

gboolean
ram_blocks_finish (RamBlocks *blocks, Manifest *manifest, PageMapStats *stats, GError **error)
{
  for (guint i = 0; i < blocks->list->len; i++) {
    RamBlock *block = g_ptr_array_index (blocks->list, i);
    PageMapStats one = { 0 };
    PageMap map;
    if (!page_map_writer_finish (block->map, &map, &one, error))
      return FALSE;
    manifest_add_part (manifest, "ram", block->name, &map);
    stats->put += one.put;
    stats->zero += one.zero;
    stats->unchanged += one.unchanged;
    stats->known += one.known;
    stats->fresh += one.fresh;
  }
  return TRUE;
}
