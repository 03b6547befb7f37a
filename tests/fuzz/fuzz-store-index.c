/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An index table: opened (with the hash of its head put right, or nothing would get past it), every
 * entry read and looked up, and all of it copied. */
#include "index-merge.h"

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

/* Merging reads all of it in order, and writes what can be read again. */
static void
fuzz_merge (IndexTable *table)
{
  g_autoptr (Backend) backend = backend_memory_new();
  g_autoptr (BlockCache) cache = block_cache_new (8 * CACHE_BLOCK_BYTES);
  g_autoptr (GPtrArray) tables = g_ptr_array_new();
  IndexMedium medium = { backend, cache, &key };
  g_autofree char *object = NULL;
  guint64 size;

  g_ptr_array_add (tables, table);
  g_ptr_array_add (tables, table);
  if (!index_merge_tables (&medium, tables, NULL, &object, &size, NULL, NULL) || object == NULL)
    return;
  g_autoptr (GError) error = NULL;
  g_autoptr (IndexTable) merged = index_table_open (&medium, object, size, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (index_table_entries (merged), <=, index_table_entries (table));
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
  fuzz_merge (table);
  return 0;
}
