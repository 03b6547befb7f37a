/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An index table: opened (with the hash of its head put right, or nothing would get past it), every
 * entry read and looked up, and all of it copied. */
#include "index-table.h"

#include "fuzz.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

static const HashKey key;

/* Writes the hash that the head should have, if its counts are possible. */
static void
mend_head (guint8 *data, gsize size)
{
  ByteReader reader = BYTE_READER (data, size);
  ChunkName hash = { { 0 } };

  byte_reader_take (&reader, 12);
  guint32 bits = byte_reader_le32 (&reader);
  guint64 packs = byte_reader_le32 (&reader);
  guint64 head = 64 + packs * 48 + ((G_GUINT64_CONSTANT (1) << MIN (bits, 22)) + 1) * 4;
  if (reader.failed || size < 64 || bits > 22 || head > size)
    return;
  memcpy (data + 32, hash.bytes, sizeof hash);
  chunk_name_of (&key, data, head, &hash);
  memcpy (data + 32, hash.bytes, sizeof hash);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  guint8 *copy = g_memdup2 (data, size);

  mend_head (copy, size);
  g_autoptr (GBytes) bytes = g_bytes_new_take (copy, size);
  g_autoptr (IndexTable) table = index_table_new ("index/fuzz", bytes, &key, NULL);
  if (table == NULL)
    return 0;
  for (guint i = 0; i < index_table_entries (table); i++) {
    ChunkLocation location;
    ChunkName name;
    if (index_table_entry (table, i, &name, &location, NULL))
      g_assert_true (frame_info_sane (&location.frame, location.pack_size));
    g_assert_cmpint (index_table_find (table, &name), <, index_table_entries (table));
  }
  g_autoptr (IndexContents) contents = index_contents_new();
  index_table_append_to (table, contents, NULL);
  return 0;
}
