/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   hash     32 bytes: of all that follows
 *   head     8 bytes: length of the body unpacked, its codec, whether lines are XORed, zeros
 *   bases    32 bytes for each page
 *   body     for each page 8 bytes (which lines); then the lines, 64 bytes each
 *
 * The hash makes a damaged name of a base known for what it is before gc believes it.
 */
#include "delta.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>

#include <string.h>

#define HEAD_BYTES 8
#define BODY_MAX_BYTES (DELTA_FRAME_PAGES * (8 + PAGE_SIZE_BYTES))
#define COMPRESSION_LEVEL 3

struct _DeltaBuilder {
  guint count;
  GByteArray *bases;
  GByteArray *bitmaps;
  GByteArray *plain, *xored; /* the lines, in both ways */
};

/* A frame unpacked, as delta_frame_get() takes it: this, then bases, bitmaps and lines. */
typedef struct {
  guint32 count;
  guint32 xored;
} Unpacked;

guint64
delta_compare (const guint8 *base, const guint8 *page)
{
  guint64 changed = 0;

  for (guint i = 0; i < DELTA_LINES; i++)
    if (memcmp (base + i * DELTA_LINE_BYTES, page + i * DELTA_LINE_BYTES, DELTA_LINE_BYTES) != 0)
      changed |= (guint64)1 << i;
  return changed;
}

static guint
count_lines (guint64 changed)
{
  return __builtin_popcountll (changed);
}

DeltaBuilder *
delta_builder_new (void)
{
  DeltaBuilder *builder = g_new0 (DeltaBuilder, 1);

  builder->bases = g_byte_array_new();
  builder->bitmaps = g_byte_array_new();
  builder->plain = g_byte_array_new();
  builder->xored = g_byte_array_new();
  return builder;
}

void
delta_builder_free (DeltaBuilder *builder)
{
  if (builder == NULL)
    return;
  g_byte_array_unref (builder->bases);
  g_byte_array_unref (builder->bitmaps);
  g_byte_array_unref (builder->plain);
  g_byte_array_unref (builder->xored);
  g_free (builder);
}

guint
delta_builder_count (const DeltaBuilder *builder)
{
  return builder->count;
}

static void
xor_line (guint8 *to, const guint8 *a, const guint8 *b)
{
  for (guint i = 0; i < DELTA_LINE_BYTES; i++)
    to[i] = a[i] ^ b[i];
}

gboolean
delta_builder_add (DeltaBuilder *builder, const ChunkName *name, const guint8 *base,
                   const guint8 *page, guint max_lines)
{
  guint64 changed = delta_compare (base, page);

  if (count_lines (changed) > max_lines)
    return FALSE;
  g_assert (builder->count < DELTA_FRAME_PAGES);
  builder->count++;
  g_byte_array_append (builder->bases, name->bytes, CHUNK_NAME_BYTES);
  bytes_add_le64 (builder->bitmaps, changed);
  for (guint i = 0; i < DELTA_LINES; i++) {
    guint8 line[DELTA_LINE_BYTES];
    if (!(changed >> i & 1))
      continue;
    xor_line (line, base + i * DELTA_LINE_BYTES, page + i * DELTA_LINE_BYTES);
    g_byte_array_append (builder->xored, line, sizeof line);
    g_byte_array_append (builder->plain, page + i * DELTA_LINE_BYTES, DELTA_LINE_BYTES);
  }
  return TRUE;
}

/* Bitmaps and lines, compressed if that makes them smaller. */
static GBytes *
encode_body (ZSTD_CCtx *context, const GByteArray *bitmaps, const GByteArray *lines,
             FrameCodec *codec)
{
  gsize len = bitmaps->len + lines->len, bound = ZSTD_compressBound (len);
  g_autofree guint8 *body = g_malloc (len);
  g_autofree guint8 *packed = g_malloc (bound);

  memcpy (body, bitmaps->data, bitmaps->len);
  if (lines->len > 0)
    memcpy (body + bitmaps->len, lines->data, lines->len);
  gsize n = ZSTD_compressCCtx (context, packed, bound, body, len, COMPRESSION_LEVEL);
  *codec = ZSTD_isError (n) || n >= len ? FRAME_RAW : FRAME_ZSTD;
  if (*codec == FRAME_RAW)
    return g_bytes_new_take (g_steal_pointer (&body), len);
  return g_bytes_new_take (g_steal_pointer (&packed), n);
}

GBytes *
delta_builder_finish (DeltaBuilder *builder, ZSTD_CCtx *context, const HashKey *key)
{
  static const ChunkName blank;
  FrameCodec plain_codec, xored_codec;
  ChunkName hash;

  /* A counter that rose leaves zeros all around it when it is XORed; a line that was written anew
   * compresses better as it is. Which it is shows only when both were tried. */
  g_autoptr (GBytes) plain = encode_body (context, builder->bitmaps, builder->plain, &plain_codec);
  g_autoptr (GBytes) xored = encode_body (context, builder->bitmaps, builder->xored, &xored_codec);
  gboolean use_xored = g_bytes_get_size (xored) < g_bytes_get_size (plain);
  GBytes *body = use_xored ? xored : plain;
  GByteArray *out = g_byte_array_new();

  g_byte_array_append (out, blank.bytes, sizeof blank);
  bytes_add_le32 (out, builder->bitmaps->len + builder->plain->len);
  const guint8 tail[4] = { use_xored ? xored_codec : plain_codec, use_xored, 0, 0 };
  g_byte_array_append (out, tail, sizeof tail);
  g_byte_array_append (out, builder->bases->data, builder->bases->len);
  g_byte_array_append (out, g_bytes_get_data (body, NULL), g_bytes_get_size (body));
  chunk_name_of (key, out->data + sizeof hash, out->len - sizeof hash, &hash);
  memcpy (out->data, &hash, sizeof hash);
  return g_byte_array_free_to_bytes (out);
}

/* Unpacks the body to @to, which has room for @len bytes. */
static gboolean
decode_body (const guint8 *body, gsize stored, guint8 codec, guint8 *to, gsize len)
{
  if (codec == FRAME_RAW && stored == len) {
    memcpy (to, body, len);
    return TRUE;
  }
  return codec == FRAME_ZSTD && ZSTD_decompress (to, len, body, stored) == len;
}

/* TRUE if the bitmaps at the beginning of a body fit its length. */
static gboolean
body_sane (const guint8 *body, gsize len, guint count)
{
  ByteReader reader = BYTE_READER (body, len);
  gsize lines = 0;

  for (guint i = 0; i < count; i++)
    lines += count_lines (byte_reader_le64 (&reader));
  return !reader.failed && byte_reader_left (&reader) == lines * DELTA_LINE_BYTES;
}

/* The frame's parts, in the order in which they are stored. */
static GBytes *
parse_frame (ByteReader *reader, guint count)
{
  gsize bases_len = (gsize)count * CHUNK_NAME_BYTES;
  guint32 len = byte_reader_le32 (reader);
  const guint8 *tail = byte_reader_take (reader, 4);
  const guint8 *bases = byte_reader_take (reader, bases_len);
  gsize stored = byte_reader_left (reader);

  if (reader->failed || len > BODY_MAX_BYTES || tail[1] > 1)
    return NULL;
  const guint8 *body = byte_reader_take (reader, stored);
  const Unpacked head = { count, tail[1] };
  g_autofree guint8 *out = g_malloc (sizeof head + bases_len + len);
  memcpy (out, &head, sizeof head);
  memcpy (out + sizeof head, bases, bases_len);
  guint8 *unpacked = out + sizeof head + bases_len;
  if (!decode_body (body, stored, tail[0], unpacked, len) || !body_sane (unpacked, len, count))
    return NULL;
  return g_bytes_new_take (g_steal_pointer (&out), sizeof head + bases_len + len);
}

GBytes *
delta_frame_decode (GBytes *stored, const FrameInfo *info, const HashKey *key, GError **error)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (stored, &len);
  ByteReader reader = BYTE_READER (data, len);
  const guint8 *hash = byte_reader_take (&reader, CHUNK_NAME_BYTES);
  GBytes *frame = NULL;
  ChunkName actual;

  if (hash != NULL && info->codec == FRAME_DELTA && info->chunks <= DELTA_FRAME_PAGES &&
      len == info->stored_len) {
    chunk_name_of (key, data + CHUNK_NAME_BYTES, len - CHUNK_NAME_BYTES, &actual);
    if (memcmp (hash, &actual, sizeof actual) == 0)
      frame = parse_frame (&reader, info->chunks);
  }
  if (frame == NULL)
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                 "the frame of deltas at offset %u does not hold what it should", info->offset);
  return frame;
}

gboolean
delta_frame_get (GBytes *frame, guint i, Delta *delta)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (frame, &len);
  Unpacked head;

  if (len < sizeof head)
    return FALSE;
  memcpy (&head, data, sizeof head);
  if (i >= head.count)
    return FALSE;
  const guint8 *bases = data + sizeof head;
  gsize at = sizeof head + (gsize)head.count * CHUNK_NAME_BYTES;
  ByteReader bitmaps = BYTE_READER (data + at, len - at);
  const guint8 *lines = data + at + (gsize)head.count * sizeof (guint64);
  for (guint before = 0; before < i; before++)
    lines += (gsize)count_lines (byte_reader_le64 (&bitmaps)) * DELTA_LINE_BYTES;
  memcpy (&delta->base, bases + (gsize)i * CHUNK_NAME_BYTES, CHUNK_NAME_BYTES);
  delta->changed = byte_reader_le64 (&bitmaps);
  delta->xored = head.xored;
  delta->lines = lines;
  return TRUE;
}

void
delta_apply (const Delta *delta, guint8 *page)
{
  const guint8 *from = delta->lines;

  for (guint i = 0; i < DELTA_LINES; i++) {
    guint8 *to = page + i * DELTA_LINE_BYTES;
    if (!(delta->changed >> i & 1))
      continue;
    if (delta->xored)
      xor_line (to, to, from);
    else
      memcpy (to, from, DELTA_LINE_BYTES);
    from += DELTA_LINE_BYTES;
  }
}
