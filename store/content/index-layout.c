/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-layout.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

guint32
index_name_bucket (const ChunkName *name, guint bits)
{
  const guint8 *b = name->bytes;
  guint32 first = (guint32)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
  return bits == 0 ? 0 : first >> (32 - bits);
}

guint
index_fan_bits (guint64 n_entries)
{
  guint bits = 0;
  while (bits < FAN_BITS_MAX && (n_entries >> bits) > ENTRIES_PER_BUCKET)
    bits++;
  return bits;
}

void
index_add_head (GByteArray *out, gboolean deltas, guint fan_bits, guint32 packs, guint32 frames,
                guint32 entries)
{
  static const ChunkName blank;
  guint16 version = deltas ? INDEX_VERSION : INDEX_VERSION_PLAIN;

  g_byte_array_append (out, (const guint8 *)INDEX_MAGIC, 8);
  bytes_add_le16 (out, version);
  bytes_add_le16 (out, version);
  bytes_add_le32 (out, fan_bits);
  bytes_add_le32 (out, packs);
  bytes_add_le32 (out, frames);
  bytes_add_le32 (out, entries);
  bytes_add_le32 (out, 0);
  g_byte_array_append (out, blank.bytes, sizeof blank);
}

void
index_add_pack (GByteArray *out, const IndexPack *pack)
{
  g_byte_array_append (out, pack->name.bytes, CHUNK_NAME_BYTES);
  bytes_add_le64 (out, pack->size);
  bytes_add_le32 (out, pack->chunks);
  bytes_add_le32 (out, pack->kind);
}

void
index_add_frame (GByteArray *out, const IndexFrame *frame)
{
  bytes_add_le32 (out, frame->pack);
  bytes_add_le32 (out, frame->frame.offset);
  bytes_add_le32 (out, frame->frame.stored_len);
  bytes_add_le32 (out, frame->frame.raw_len);
  bytes_add_le16 (out, frame->frame.chunks);
  bytes_add_le16 (out, frame->frame.codec);
}

void
index_add_entry (GByteArray *out, const IndexEntry *entry)
{
  g_byte_array_append (out, entry->name.bytes, CHUNK_NAME_BYTES);
  bytes_add_le32 (out, entry->frame);
  bytes_add_le32 (out, entry->offset);
  bytes_add_le32 (out, entry->len);
}

void
index_parse_pack (const guint8 *record, IndexPack *pack)
{
  ByteReader reader = BYTE_READER (record, PACK_RECORD);

  memcpy (&pack->name, byte_reader_take (&reader, CHUNK_NAME_BYTES), CHUNK_NAME_BYTES);
  pack->size = byte_reader_le64 (&reader);
  pack->chunks = byte_reader_le32 (&reader);
  pack->kind = byte_reader_le32 (&reader);
}

void
index_parse_frame (const guint8 *record, IndexFrame *frame)
{
  ByteReader reader = BYTE_READER (record, FRAME_RECORD);

  frame->pack = byte_reader_le32 (&reader);
  frame->frame.offset = byte_reader_le32 (&reader);
  frame->frame.stored_len = byte_reader_le32 (&reader);
  frame->frame.raw_len = byte_reader_le32 (&reader);
  frame->frame.chunks = byte_reader_le16 (&reader);
  guint16 codec = byte_reader_le16 (&reader);
  frame->frame.codec = MIN (codec, 255);
}

void
index_parse_entry (const guint8 *record, IndexEntry *entry)
{
  ByteReader reader = BYTE_READER (record, ENTRY_RECORD);

  memcpy (&entry->name, byte_reader_take (&reader, CHUNK_NAME_BYTES), CHUNK_NAME_BYTES);
  entry->frame = byte_reader_le32 (&reader);
  entry->offset = byte_reader_le32 (&reader);
  entry->len = byte_reader_le32 (&reader);
}
