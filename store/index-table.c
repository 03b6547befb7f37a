/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   head      64 bytes: magic, version, counts, hash of head + packs + fan-out
 *   packs     48 bytes each
 *   fan-out   2^bits + 1 counts: entries before those whose name begins with these bits
 *   frames    20 bytes each
 *   entries   44 bytes each, sorted by name
 */
#include "index-table.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>

#include <string.h>

#define INDEX_MAGIC "vmckindx"
#define INDEX_VERSION 2
/* A table without frames of deltas is one of version 1, which older programs read. */
#define INDEX_VERSION_PLAIN 1
#define HEAD_BYTES 64
#define HEAD_HASH_AT 32
#define PACK_RECORD 48
#define FRAME_RECORD 20
#define ENTRY_RECORD 44
#define FAN_BITS_MAX 22
/* A bucket of so many entries is two or three cache lines' worth of binary search. */
#define ENTRIES_PER_BUCKET 64

struct _IndexTable {
  int refs; /* (atomic) */
  char *object;
  GBytes *bytes;
  guint32 n_packs, n_frames, n_entries;
  guint fan_bits;
  const guint8 *packs, *fan, *frames, *entries; /* in bytes */
};

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

/* The first @bits bits of a name. */
static guint32
name_bucket (const guint8 *name, guint bits)
{
  guint32 first = (guint32)name[0] << 24 | name[1] << 16 | name[2] << 8 | name[3];
  return bits == 0 ? 0 : first >> (32 - bits);
}

static guint
choose_fan_bits (guint n_entries)
{
  guint bits = 0;
  while (bits < FAN_BITS_MAX && (n_entries >> bits) > ENTRIES_PER_BUCKET)
    bits++;
  return bits;
}

static void
add_fan (GByteArray *out, const IndexContents *contents, guint bits)
{
  guint32 at = 0;

  for (guint64 bucket = 0; bucket <= (guint64)1 << bits; bucket++) {
    while (at < contents->entries->len &&
           name_bucket (g_array_index (contents->entries, IndexEntry, at).name.bytes, bits) <
               bucket)
      at++;
    bytes_add_le32 (out, at);
  }
}

static void
add_packs (GByteArray *out, const IndexContents *contents)
{
  for (guint i = 0; i < contents->packs->len; i++) {
    const IndexPack *pack = &g_array_index (contents->packs, IndexPack, i);
    g_byte_array_append (out, pack->name.bytes, CHUNK_NAME_BYTES);
    bytes_add_le64 (out, pack->size);
    bytes_add_le32 (out, pack->chunks);
    bytes_add_le32 (out, pack->kind);
  }
}

static void
add_frames_and_entries (GByteArray *out, const IndexContents *contents)
{
  for (guint i = 0; i < contents->frames->len; i++) {
    const IndexFrame *frame = &g_array_index (contents->frames, IndexFrame, i);
    bytes_add_le32 (out, frame->pack);
    bytes_add_le32 (out, frame->frame.offset);
    bytes_add_le32 (out, frame->frame.stored_len);
    bytes_add_le32 (out, frame->frame.raw_len);
    bytes_add_le16 (out, frame->frame.chunks);
    bytes_add_le16 (out, frame->frame.codec);
  }
  for (guint i = 0; i < contents->entries->len; i++) {
    const IndexEntry *entry = &g_array_index (contents->entries, IndexEntry, i);
    g_byte_array_append (out, entry->name.bytes, CHUNK_NAME_BYTES);
    bytes_add_le32 (out, entry->frame);
    bytes_add_le32 (out, entry->offset);
    bytes_add_le32 (out, entry->len);
  }
}

/* Programs that do not know deltas must refuse a table that lists some. */
static guint16
table_version (const IndexContents *contents)
{
  for (guint i = 0; i < contents->frames->len; i++)
    if (g_array_index (contents->frames, IndexFrame, i).frame.codec == FRAME_DELTA)
      return INDEX_VERSION;
  return INDEX_VERSION_PLAIN;
}

GBytes *
index_contents_to_bytes (IndexContents *contents, const HashKey *key, ChunkName *hash)
{
  static const ChunkName blank;
  guint bits = choose_fan_bits (contents->entries->len);
  GByteArray *out = g_byte_array_sized_new (
      HEAD_BYTES + contents->packs->len * PACK_RECORD + (sizeof (guint32) << bits) +
      contents->frames->len * FRAME_RECORD + contents->entries->len * ENTRY_RECORD + 64);
  ChunkName head_hash;

  g_array_sort (contents->entries, chunk_name_compare);
  g_byte_array_append (out, (const guint8 *)INDEX_MAGIC, 8);
  bytes_add_le16 (out, table_version (contents));
  bytes_add_le16 (out, table_version (contents));
  bytes_add_le32 (out, bits);
  bytes_add_le32 (out, contents->packs->len);
  bytes_add_le32 (out, contents->frames->len);
  bytes_add_le32 (out, contents->entries->len);
  bytes_add_le32 (out, 0);
  g_byte_array_append (out, blank.bytes, sizeof blank);
  add_packs (out, contents);
  add_fan (out, contents, bits);
  chunk_name_of (key, out->data, out->len, &head_hash);
  memcpy (out->data + HEAD_HASH_AT, head_hash.bytes, sizeof head_hash);
  add_frames_and_entries (out, contents);
  chunk_name_of (key, out->data, out->len, hash);
  return g_byte_array_free_to_bytes (out);
}

/* The head's hash covers head (with the hash's own place zero), packs and fan-out. */
static gboolean
head_hash_right (const guint8 *data, gsize len, const HashKey *key)
{
  g_autofree guint8 *copy = g_memdup2 (data, len);
  ChunkName hash;

  memset (copy + HEAD_HASH_AT, 0, CHUNK_NAME_BYTES);
  chunk_name_of (key, copy, len, &hash);
  return memcmp (hash.bytes, data + HEAD_HASH_AT, CHUNK_NAME_BYTES) == 0;
}

/* Fan-out values must rise to the number of entries. */
static gboolean
fan_sane (const IndexTable *table)
{
  ByteReader reader = BYTE_READER (table->fan, (((gsize)1 << table->fan_bits) + 1) * 4);
  guint32 before = 0, value = 0;

  for (guint64 i = 0; i <= (guint64)1 << table->fan_bits; i++) {
    value = byte_reader_le32 (&reader);
    if (value < before || (i == 0 && value != 0))
      return FALSE;
    before = value;
  }
  return value == table->n_entries;
}

static const char *
parse_table (IndexTable *table, const HashKey *key, guint16 *compatible)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (table->bytes, &len);
  ByteReader reader = BYTE_READER (data, len);
  const guint8 *magic = byte_reader_take (&reader, 8);

  *compatible = 0;
  if (magic == NULL || memcmp (magic, INDEX_MAGIC, 8) != 0)
    return "is not an index table: its first bytes are wrong";
  guint16 version = byte_reader_le16 (&reader);
  *compatible = byte_reader_le16 (&reader);
  if (*compatible > INDEX_VERSION)
    return "needs a newer program";
  table->fan_bits = byte_reader_le32 (&reader);
  table->n_packs = byte_reader_le32 (&reader);
  table->n_frames = byte_reader_le32 (&reader);
  table->n_entries = byte_reader_le32 (&reader);
  byte_reader_take (&reader, 4 + CHUNK_NAME_BYTES);
  if (reader.failed || version < *compatible || table->fan_bits > FAN_BITS_MAX)
    return "is damaged: its head is wrong";
  table->packs = byte_reader_take (&reader, (gsize)table->n_packs * PACK_RECORD);
  table->fan = byte_reader_take (&reader, (((gsize)1 << table->fan_bits) + 1) * 4);
  gsize head_len = reader.pos;
  table->frames = byte_reader_take (&reader, (gsize)table->n_frames * FRAME_RECORD);
  table->entries = byte_reader_take (&reader, (gsize)table->n_entries * ENTRY_RECORD);
  if (reader.failed || byte_reader_left (&reader) != 0)
    return "is damaged: its size is wrong";
  if (!head_hash_right (data, head_len, key) || !fan_sane (table))
    return "is damaged: its head does not match its hash";
  return NULL;
}

IndexTable *
index_table_new (const char *object, GBytes *bytes, const HashKey *key, GError **error)
{
  g_autoptr (IndexTable) table = g_new0 (IndexTable, 1);
  guint16 compatible;

  table->refs = 1;
  table->object = g_strdup (object);
  table->bytes = g_bytes_ref (bytes);
  const char *problem = parse_table (table, key, &compatible);
  if (problem == NULL)
    return g_steal_pointer (&table);
  g_set_error (error, STORE_ERROR,
               compatible > INDEX_VERSION ? STORE_ERROR_VERSION : STORE_ERROR_DAMAGED, "%s %s",
               object, problem);
  return NULL;
}

IndexTable *
index_table_ref (IndexTable *table)
{
  g_atomic_int_inc (&table->refs);
  return table;
}

void
index_table_unref (IndexTable *table)
{
  if (!g_atomic_int_dec_and_test (&table->refs))
    return;
  g_bytes_unref (table->bytes);
  g_free (table->object);
  g_free (table);
}

const char *
index_table_object (const IndexTable *table)
{
  return table->object;
}

gsize
index_table_size (const IndexTable *table)
{
  return g_bytes_get_size (table->bytes);
}

guint
index_table_packs (const IndexTable *table)
{
  return table->n_packs;
}

guint
index_table_entries (const IndexTable *table)
{
  return table->n_entries;
}

static guint32
read_le32 (const guint8 *at)
{
  guint32 value;
  memcpy (&value, at, sizeof value);
  return GUINT32_FROM_LE (value);
}

gint64
index_table_find (const IndexTable *table, const ChunkName *name)
{
  guint32 bucket = name_bucket (name->bytes, table->fan_bits);
  guint32 low = read_le32 (table->fan + (gsize)bucket * 4);
  guint32 high = read_le32 (table->fan + ((gsize)bucket + 1) * 4);

  gint64 found = -1;

  /* Goes on to the left of a hit: equal names (copies in several packs) are neighbours. */
  while (low < high) {
    guint32 middle = low + (high - low) / 2;
    int order = memcmp (table->entries + (gsize)middle * ENTRY_RECORD, name, CHUNK_NAME_BYTES);
    if (order == 0)
      found = middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return found;
}

void
index_table_pack (const IndexTable *table, guint i, IndexPack *pack)
{
  ByteReader reader = BYTE_READER (table->packs + (gsize)i * PACK_RECORD, PACK_RECORD);

  memcpy (&pack->name, byte_reader_take (&reader, CHUNK_NAME_BYTES), CHUNK_NAME_BYTES);
  pack->size = byte_reader_le64 (&reader);
  pack->chunks = byte_reader_le32 (&reader);
  pack->kind = byte_reader_le32 (&reader);
}

gboolean
index_table_has_pack (const IndexTable *table, const ChunkName *pack)
{
  for (guint i = 0; i < table->n_packs; i++)
    if (memcmp (table->packs + (gsize)i * PACK_RECORD, pack, CHUNK_NAME_BYTES) == 0)
      return TRUE;
  return FALSE;
}

/* Reads a frame's record; FALSE if it cannot be. */
static gboolean
read_frame (const IndexTable *table, guint32 i, IndexFrame *frame)
{
  if (i >= table->n_frames)
    return FALSE;
  ByteReader reader = BYTE_READER (table->frames + (gsize)i * FRAME_RECORD, FRAME_RECORD);
  frame->pack = byte_reader_le32 (&reader);
  frame->frame.offset = byte_reader_le32 (&reader);
  frame->frame.stored_len = byte_reader_le32 (&reader);
  frame->frame.raw_len = byte_reader_le32 (&reader);
  frame->frame.chunks = byte_reader_le16 (&reader);
  guint16 codec = byte_reader_le16 (&reader);
  frame->frame.codec = MIN (codec, 255);
  return frame->pack < table->n_packs;
}

gboolean
index_table_entry (const IndexTable *table, guint i, ChunkName *name, ChunkLocation *location,
                   guint *pack)
{
  ByteReader reader = BYTE_READER (table->entries + (gsize)i * ENTRY_RECORD, ENTRY_RECORD);
  IndexFrame frame = { 0 };
  IndexPack record;

  memcpy (name, byte_reader_take (&reader, CHUNK_NAME_BYTES), CHUNK_NAME_BYTES);
  if (!read_frame (table, byte_reader_le32 (&reader), &frame))
    return FALSE;
  index_table_pack (table, frame.pack, &record);
  location->offset = byte_reader_le32 (&reader);
  location->len = byte_reader_le32 (&reader);
  location->frame = frame.frame;
  location->pack = record.name;
  location->pack_size = record.size;
  if (pack != NULL)
    *pack = frame.pack;
  return frame_info_sane (&frame.frame, record.size) && location->len > 0 &&
         location->len <= CHUNK_MAX_BYTES && location->offset <= frame.frame.raw_len &&
         location->len <= frame.frame.raw_len - location->offset;
}

gboolean
index_table_append_to (const IndexTable *table, IndexContents *contents, GHashTable *skip)
{
  g_autofree gint64 *packs = g_new (gint64, table->n_packs + 1);
  g_autofree gint64 *frames = g_new (gint64, (gsize)table->n_frames + 1);

  for (guint i = 0; i < table->n_packs; i++) {
    IndexPack pack;
    index_table_pack (table, i, &pack);
    packs[i] = -1;
    if (skip != NULL && g_hash_table_contains (skip, &pack.name))
      continue;
    packs[i] = contents->packs->len;
    g_array_append_val (contents->packs, pack);
  }
  for (guint i = 0; i < table->n_frames; i++) {
    IndexFrame frame;
    if (!read_frame (table, i, &frame))
      return FALSE;
    frames[i] = -1;
    if (packs[frame.pack] < 0)
      continue;
    frame.pack = packs[frame.pack];
    frames[i] = contents->frames->len;
    g_array_append_val (contents->frames, frame);
  }
  for (guint i = 0; i < table->n_entries; i++) {
    ByteReader reader = BYTE_READER (table->entries + (gsize)i * ENTRY_RECORD, ENTRY_RECORD);
    IndexEntry entry;
    memcpy (&entry.name, byte_reader_take (&reader, CHUNK_NAME_BYTES), CHUNK_NAME_BYTES);
    guint32 frame = byte_reader_le32 (&reader);
    entry.offset = byte_reader_le32 (&reader);
    entry.len = byte_reader_le32 (&reader);
    if (frame >= table->n_frames)
      return FALSE;
    if (frames[frame] < 0)
      continue;
    entry.frame = frames[frame];
    g_array_append_val (contents->entries, entry);
  }
  return TRUE;
}

gboolean
index_table_verify (const IndexTable *table, const HashKey *key, const ChunkName *hash)
{
  ChunkName actual;
  gsize len;
  const guint8 *data = g_bytes_get_data (table->bytes, &len);

  chunk_name_of (key, data, len, &actual);
  return chunk_name_equal (&actual, hash);
}
