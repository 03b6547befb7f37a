/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes of foreign origin: a cursor that cannot run past the end, and hexadecimal names. */
#pragma once

#include <gio/gio.h>

/*
 * A bounded cursor over borrowed bytes. A read beyond the end returns zeros, sets `failed`, and
 * every later read fails too, so a parser checks once per structure instead of once per field.
 */
typedef struct {
  const guint8 *data;
  gsize len;
  gsize pos;
  gboolean failed;
} ByteReader;

/* Starts a cursor; @data is borrowed and must outlive it. */
#define BYTE_READER(d, n) ((ByteReader){ .data = (const guint8 *)(d), .len = (n) })

/**
 * byte_reader_le16 … byte_reader_take:
 *
 * Read a fixed-width integer (le = little-endian, be = big-endian), or @n raw bytes in place
 * (borrowed; NULL on failure). On failure the value is 0 and @reader->failed is set.
 */
guint8 byte_reader_u8 (ByteReader *reader);
guint16 byte_reader_le16 (ByteReader *reader);
guint32 byte_reader_le32 (ByteReader *reader);
guint64 byte_reader_le64 (ByteReader *reader);
guint16 byte_reader_be16 (ByteReader *reader);
guint32 byte_reader_be32 (ByteReader *reader);
guint64 byte_reader_be64 (ByteReader *reader);
const guint8 *byte_reader_take (ByteReader *reader, gsize n);

/* Bytes not read yet; 0 after a failure. */
gsize byte_reader_left (const ByteReader *reader);

/* Append a fixed-width integer to @array (a byte array). */
void bytes_add_u8 (GByteArray *array, guint8 value);
void bytes_add_le16 (GByteArray *array, guint16 value);
void bytes_add_le32 (GByteArray *array, guint32 value);
void bytes_add_le64 (GByteArray *array, guint64 value);
void bytes_add_be16 (GByteArray *array, guint16 value);
void bytes_add_be32 (GByteArray *array, guint32 value);
void bytes_add_be64 (GByteArray *array, guint64 value);

/* TRUE if all @len bytes are zero. @data may have any alignment. */
gboolean bytes_all_zero (const void *data, gsize len);

/* Lower-case hexadecimal of @len bytes, newly allocated. */
char *bytes_to_hex (const guint8 *data, gsize len);

/**
 * bytes_from_hex:
 * @hex: exactly 2 × @len digits, lower case, then NUL
 * @data: (out caller-allocates): @len bytes
 *
 * Returns: FALSE if @hex is anything else; @data is then undefined.
 */
gboolean bytes_from_hex (const char *hex, guint8 *data, gsize len);

/**
 * bytes_parse_size:
 * @text: a size as people write it: "512", "64K", "2G", "1.5GiB" (powers of 1024)
 * @size: (out): the size in bytes
 *
 * Returns: FALSE with @error (G_IO_ERROR_INVALID_ARGUMENT) when @text is not a size or overflows.
 */
gboolean bytes_parse_size (const char *text, guint64 *size, GError **error);
