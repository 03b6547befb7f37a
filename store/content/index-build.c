/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables that are built in memory: of one transaction's packs, or of footers. */
#include "index-layout.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

IndexContents *
index_contents_new (void)
{
  IndexContents *contents = g_new0 (IndexContents, 1);
  contents->packs = g_array_new (FALSE, FALSE, sizeof (IndexPack));
  contents->frames = g_array_new (FALSE, FALSE, sizeof (IndexFrame));
  contents->entries = g_array_new (FALSE, FALSE, sizeof (IndexEntry));
  return contents;
}

void
index_contents_free (IndexContents *contents)
{
  g_array_unref (contents->packs);
  g_array_unref (contents->frames);
  g_array_unref (contents->entries);
  g_free (contents);
}

void
index_contents_add_footer (IndexContents *contents, const ChunkName *pack, const PackFooter *footer)
{
  IndexPack record = { *pack, footer->pack_size, footer->n_chunks, footer->kind };
  const PackChunk *chunk = footer->chunks;

  g_array_append_val (contents->packs, record);
  for (guint i = 0; i < footer->n_frames; i++) {
    IndexFrame frame = { contents->packs->len - 1, footer->frames[i] };
    g_array_append_val (contents->frames, frame);
    for (guint j = 0; j < frame.frame.chunks; j++, chunk++) {
      IndexEntry entry = { chunk->name, contents->frames->len - 1, chunk->offset, chunk->len };
      g_array_append_val (contents->entries, entry);
    }
  }
}

static void
add_fan (GByteArray *out, const IndexContents *contents, guint bits)
{
  guint32 at = 0;

  for (guint64 bucket = 0; bucket <= (guint64)1 << bits; bucket++) {
    while (at < contents->entries->len &&
           index_name_bucket (&g_array_index (contents->entries, IndexEntry, at).name, bits) <
               bucket)
      at++;
    bytes_add_le32 (out, at);
  }
}

static void
add_packs (GByteArray *out, const IndexContents *contents)
{
  for (guint i = 0; i < contents->packs->len; i++)
    index_add_pack (out, &g_array_index (contents->packs, IndexPack, i));
}

static void
add_frames_and_entries (GByteArray *out, const IndexContents *contents)
{
  for (guint i = 0; i < contents->frames->len; i++)
    index_add_frame (out, &g_array_index (contents->frames, IndexFrame, i));
  for (guint i = 0; i < contents->entries->len; i++)
    index_add_entry (out, &g_array_index (contents->entries, IndexEntry, i));
}

static gboolean
has_deltas (const IndexContents *contents)
{
  for (guint i = 0; i < contents->frames->len; i++)
    if (g_array_index (contents->frames, IndexFrame, i).frame.codec == FRAME_DELTA)
      return TRUE;
  return FALSE;
}

GBytes *
index_contents_to_bytes (IndexContents *contents, const HashKey *key, ChunkName *hash)
{
  guint bits = index_fan_bits (contents->entries->len);
  GByteArray *out = g_byte_array_sized_new (
      HEAD_BYTES + contents->packs->len * PACK_RECORD + (sizeof (guint32) << bits) +
      contents->frames->len * FRAME_RECORD + contents->entries->len * ENTRY_RECORD + 64);
  ChunkName head_hash;

  g_array_sort (contents->entries, chunk_name_compare);
  index_add_head (out, has_deltas (contents), bits, contents->packs->len, contents->frames->len,
                  contents->entries->len);
  add_packs (out, contents);
  add_fan (out, contents, bits);
  chunk_name_of (key, out->data, out->len, &head_hash);
  memcpy (out->data + HEAD_HASH_AT, head_hash.bytes, sizeof head_hash);
  add_frames_and_entries (out, contents);
  chunk_name_of (key, out->data, out->len, hash);
  return g_byte_array_free_to_bytes (out);
}
