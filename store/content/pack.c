/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   header   "vmckpack" version compatible-since kind
 *   frames   back to back
 *   footer   nonce, counts, a record per frame, a record per chunk
 *   trailer  where the footer is, its hash (which is the pack's name), "vmckpend"
 */
#include "pack.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>

#include <sodium.h>
#include <string.h>

#define PACK_MAGIC "vmckpack"
#define PACK_END_MAGIC "vmckpend"
#define PACK_VERSION 2
/* Without frames of deltas a pack is one of version 1, which older programs read. */
#define PACK_VERSION_PLAIN 1
#define HEADER_VERSION_AT 8
#define FOOTER_NONCE_BYTES 16
#define FOOTER_HEAD_BYTES (FOOTER_NONCE_BYTES + 8 + 8)
#define FRAME_RECORD_BYTES 16
#define CHUNK_RECORD_BYTES 36

struct _PackBuilder {
  PackKind kind;
  GByteArray *bytes; /* header and frames */
  GByteArray *frame_records;
  GByteArray *chunk_records;
  guint n_frames, n_chunks;
};

static void
start_pack (PackBuilder *builder)
{
  builder->bytes = g_byte_array_sized_new (PACK_TARGET_BYTES + PACK_TARGET_BYTES / 8);
  builder->frame_records = g_byte_array_new();
  builder->chunk_records = g_byte_array_new();
  builder->n_frames = builder->n_chunks = 0;
  g_byte_array_append (builder->bytes, (const guint8 *)PACK_MAGIC, 8);
  bytes_add_le16 (builder->bytes, PACK_VERSION_PLAIN);
  bytes_add_le16 (builder->bytes, PACK_VERSION_PLAIN);
  bytes_add_le32 (builder->bytes, builder->kind);
}

PackBuilder *
pack_builder_new (PackKind kind)
{
  PackBuilder *builder = g_new0 (PackBuilder, 1);
  builder->kind = kind;
  start_pack (builder);
  return builder;
}

void
pack_builder_free (PackBuilder *builder)
{
  if (builder == NULL)
    return;
  g_byte_array_unref (builder->bytes);
  g_byte_array_unref (builder->frame_records);
  g_byte_array_unref (builder->chunk_records);
  g_free (builder);
}

/* Programs that do not know deltas must refuse the pack, not take it for damaged. */
static void
require_deltas (PackBuilder *builder)
{
  guint8 *version = builder->bytes->data + HEADER_VERSION_AT;

  version[0] = version[2] = PACK_VERSION;
}

void
pack_builder_add (PackBuilder *builder, GBytes *stored, FrameInfo *info, const PackChunk *chunks)
{
  if (info->codec == FRAME_DELTA)
    require_deltas (builder);
  info->offset = builder->bytes->len;
  g_byte_array_append (builder->bytes, g_bytes_get_data (stored, NULL), g_bytes_get_size (stored));
  bytes_add_le32 (builder->frame_records, info->offset);
  bytes_add_le32 (builder->frame_records, info->stored_len);
  bytes_add_le32 (builder->frame_records, info->raw_len);
  bytes_add_le16 (builder->frame_records, info->chunks);
  bytes_add_le16 (builder->frame_records, info->codec);
  for (guint i = 0; i < info->chunks; i++) {
    g_byte_array_append (builder->chunk_records, chunks[i].name.bytes, CHUNK_NAME_BYTES);
    bytes_add_le32 (builder->chunk_records, chunks[i].len);
  }
  builder->n_frames++;
  builder->n_chunks += info->chunks;
}

gboolean
pack_builder_is_full (const PackBuilder *builder)
{
  return builder->bytes->len >= PACK_TARGET_BYTES || builder->n_chunks >= PACK_TARGET_CHUNKS;
}

GBytes *
pack_builder_finish (PackBuilder *builder, const HashKey *key, ChunkName *name)
{
  g_autoptr (GByteArray) pack = g_steal_pointer (&builder->bytes);
  g_autoptr (GByteArray) frames = g_steal_pointer (&builder->frame_records);
  g_autoptr (GByteArray) chunks = g_steal_pointer (&builder->chunk_records);
  guint64 footer_offset = pack->len;
  guint8 nonce[FOOTER_NONCE_BYTES];

  /* The nonce makes every pack's name unlike any other's, so that no writer ever finds "its" pack
   * already there: the one that is there may be about to be deleted (docs/store-format.md). */
  randombytes_buf (nonce, sizeof nonce);
  g_byte_array_append (pack, nonce, sizeof nonce);
  bytes_add_le32 (pack, builder->n_frames);
  bytes_add_le32 (pack, builder->n_chunks);
  bytes_add_le64 (pack, 0);
  g_byte_array_append (pack, frames->data, frames->len);
  g_byte_array_append (pack, chunks->data, chunks->len);

  guint32 footer_len = pack->len - footer_offset;
  chunk_name_of (key, pack->data + footer_offset, footer_len, name);
  bytes_add_le64 (pack, footer_offset);
  bytes_add_le32 (pack, footer_len);
  bytes_add_le32 (pack, 0);
  g_byte_array_append (pack, name->bytes, CHUNK_NAME_BYTES);
  g_byte_array_append (pack, (const guint8 *)PACK_END_MAGIC, 8);
  start_pack (builder);
  return g_byte_array_free_to_bytes (g_steal_pointer (&pack));
}

void
pack_footer_free (PackFooter *footer)
{
  g_free (footer->frames);
  g_free (footer->chunks);
  g_free (footer);
}

static gboolean
set_damaged (GError **error, const char *problem)
{
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, problem);
  return FALSE;
}

/* Reads the frame records; they must be in order, inside the pack and sane. */
static gboolean
parse_frames (ByteReader *reader, PackFooter *footer, guint64 frames_end)
{
  guint64 at = PACK_HEADER_BYTES, chunks = 0;

  for (guint i = 0; i < footer->n_frames; i++) {
    FrameInfo *frame = &footer->frames[i];
    frame->offset = byte_reader_le32 (reader);
    frame->stored_len = byte_reader_le32 (reader);
    frame->raw_len = byte_reader_le32 (reader);
    frame->chunks = byte_reader_le16 (reader);
    guint16 codec = byte_reader_le16 (reader);
    frame->codec = MIN (codec, 255);
    if (frame->offset != at || !frame_info_sane (frame, frames_end))
      return FALSE;
    at += frame->stored_len;
    chunks += frame->chunks;
  }
  return at == frames_end && chunks == footer->n_chunks;
}

/* Reads the chunk records; the chunks of a frame must fill it exactly. */
static gboolean
parse_chunks (ByteReader *reader, PackFooter *footer)
{
  PackChunk *chunk = footer->chunks;

  for (guint i = 0; i < footer->n_frames; i++) {
    guint32 offset = 0;
    for (guint j = 0; j < footer->frames[i].chunks; j++, chunk++) {
      const guint8 *name = byte_reader_take (reader, CHUNK_NAME_BYTES);
      if (name == NULL)
        return FALSE;
      memcpy (&chunk->name, name, CHUNK_NAME_BYTES);
      chunk->offset = offset;
      chunk->len = byte_reader_le32 (reader);
      if (chunk->len == 0 || chunk->len > CHUNK_MAX_BYTES ||
          chunk->len > footer->frames[i].raw_len - offset ||
          (footer->frames[i].codec == FRAME_DELTA && chunk->len != PAGE_SIZE_BYTES))
        return FALSE;
      offset += chunk->len;
    }
    if (offset != footer->frames[i].raw_len)
      return FALSE;
  }
  return TRUE;
}

PackFooter *
pack_footer_parse (const guint8 *data, gsize len, guint64 frames_end, GError **error)
{
  ByteReader reader = BYTE_READER (data, len);
  g_autoptr (PackFooter) footer = g_new0 (PackFooter, 1);

  byte_reader_take (&reader, FOOTER_NONCE_BYTES);
  footer->n_frames = byte_reader_le32 (&reader);
  footer->n_chunks = byte_reader_le32 (&reader);
  byte_reader_take (&reader, 8);
  if (reader.failed || footer->n_chunks > PACK_MAX_CHUNKS || footer->n_frames > footer->n_chunks ||
      byte_reader_left (&reader) != (gsize)footer->n_frames * FRAME_RECORD_BYTES +
                                        (gsize)footer->n_chunks * CHUNK_RECORD_BYTES) {
    set_damaged (error, "the pack's footer does not hold what its counts say");
    return NULL;
  }
  footer->frames = g_new0 (FrameInfo, footer->n_frames + 1);
  footer->chunks = g_new0 (PackChunk, footer->n_chunks + 1);
  if (!parse_frames (&reader, footer, frames_end) || !parse_chunks (&reader, footer)) {
    set_damaged (error, "the pack's footer describes frames that cannot be");
    return NULL;
  }
  return g_steal_pointer (&footer);
}

/* Checks the first bytes; @kind, @compatible: (out). */
static gboolean
check_header (GBytes *bytes, PackKind *kind, guint16 *compatible, GError **error)
{
  ByteReader reader = BYTE_READER (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  const guint8 *magic = byte_reader_take (&reader, 8);

  if (magic == NULL || memcmp (magic, PACK_MAGIC, 8) != 0)
    return set_damaged (error, "is not a pack: its first bytes are wrong");
  guint16 version = byte_reader_le16 (&reader);
  *compatible = byte_reader_le16 (&reader);
  guint32 stored_kind = byte_reader_le32 (&reader);
  if (*compatible > PACK_VERSION) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_VERSION,
                 "has version %u, which needs a program that knows version %u", version,
                 *compatible);
    return FALSE;
  }
  if (reader.failed || version < *compatible || stored_kind >= PACK_KIND_COUNT)
    return set_damaged (error, "is not a pack: its header is wrong");
  *kind = stored_kind;
  return TRUE;
}

/* Reads the trailer's fields and checks them against the pack's size and name. */
static gboolean
check_trailer (GBytes *bytes, guint64 size, const ChunkName *name, guint64 *offset, guint32 *len,
               GError **error)
{
  ByteReader reader = BYTE_READER (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));

  *offset = byte_reader_le64 (&reader);
  *len = byte_reader_le32 (&reader);
  guint32 reserved = byte_reader_le32 (&reader);
  const guint8 *hash = byte_reader_take (&reader, CHUNK_NAME_BYTES);
  const guint8 *magic = byte_reader_take (&reader, 8);
  if (magic == NULL || memcmp (magic, PACK_END_MAGIC, 8) != 0)
    return set_damaged (error, "is cut short: its trailer is not there");
  if (*offset < PACK_HEADER_BYTES || *len < FOOTER_HEAD_BYTES || *offset > size || reserved != 0 ||
      *offset + *len + PACK_TRAILER_BYTES != size)
    return set_damaged (error, "is damaged: its trailer is wrong");
  if (memcmp (hash, name->bytes, CHUNK_NAME_BYTES) != 0)
    return set_damaged (error, "is damaged: its trailer does not match its name");
  return TRUE;
}

static gboolean
has_deltas (const PackFooter *footer)
{
  for (guint i = 0; i < footer->n_frames; i++)
    if (footer->frames[i].codec == FRAME_DELTA)
      return TRUE;
  return FALSE;
}

PackFooter *
pack_footer_load (Backend *backend, const HashKey *key, const ChunkName *name, GError **error)
{
  g_autofree char *object = object_name ("packs", name);
  ERROR_PREFIX (error, "%s", object);
  guint64 size, offset;
  guint32 len;
  guint16 compatible;
  PackKind kind;
  ChunkName actual;

  if (!backend->ops->stat (backend, object, &size, error))
    return NULL;
  if (size < PACK_HEADER_BYTES + FOOTER_HEAD_BYTES + PACK_TRAILER_BYTES || size > PACK_MAX_BYTES) {
    set_damaged (error, "is damaged: its size is wrong");
    return NULL;
  }
  g_autoptr (GBytes) header = backend->ops->get (backend, object, 0, PACK_HEADER_BYTES, error);
  if (header == NULL || !check_header (header, &kind, &compatible, error))
    return NULL;
  g_autoptr (GBytes) trailer =
      backend->ops->get (backend, object, size - PACK_TRAILER_BYTES, PACK_TRAILER_BYTES, error);
  if (trailer == NULL || !check_trailer (trailer, size, name, &offset, &len, error))
    return NULL;
  g_autoptr (GBytes) bytes = backend->ops->get (backend, object, offset, len, error);
  if (bytes == NULL)
    return NULL;
  chunk_name_of (key, g_bytes_get_data (bytes, NULL), len, &actual);
  if (!chunk_name_equal (&actual, name)) {
    set_damaged (error, "is damaged: its footer does not match its name");
    return NULL;
  }
  g_autoptr (PackFooter) footer =
      pack_footer_parse (g_bytes_get_data (bytes, NULL), len, offset, error);
  if (footer == NULL)
    return NULL;
  if (has_deltas (footer) && (compatible < PACK_VERSION || kind != PACK_DATA)) {
    set_damaged (error, "is damaged: its header does not go with its frames");
    return NULL;
  }
  footer->kind = kind;
  footer->pack_size = size;
  return g_steal_pointer (&footer);
}
