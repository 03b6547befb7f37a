/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/bytes.h>

#include <math.h>
#include <string.h>

const guint8 *
byte_reader_take (ByteReader *reader, gsize n)
{
  if (reader->failed || n > reader->len - reader->pos) {
    reader->failed = TRUE;
    return NULL;
  }
  const guint8 *at = reader->data + reader->pos;
  reader->pos += n;
  return at;
}

gsize
byte_reader_left (const ByteReader *reader)
{
  return reader->failed ? 0 : reader->len - reader->pos;
}

guint8
byte_reader_u8 (ByteReader *reader)
{
  const guint8 *at = byte_reader_take (reader, 1);
  return at != NULL ? *at : 0;
}

/* Each width and order: the bounded read, and the append that mirrors it. */
#define DEFINE_INTEGER(name, type, from, to)                                                       \
  type byte_reader_##name (ByteReader *reader)                                                     \
  {                                                                                                \
    type value;                                                                                    \
    const guint8 *at = byte_reader_take (reader, sizeof value);                                    \
    if (at == NULL)                                                                                \
      return 0;                                                                                    \
    memcpy (&value, at, sizeof value);                                                             \
    return from (value);                                                                           \
  }                                                                                                \
  void bytes_add_##name (GByteArray *array, type value)                                            \
  {                                                                                                \
    type stored = to (value);                                                                      \
    g_byte_array_append (array, (const guint8 *)&stored, sizeof stored);                           \
  }

DEFINE_INTEGER (le16, guint16, GUINT16_FROM_LE, GUINT16_TO_LE)
DEFINE_INTEGER (le32, guint32, GUINT32_FROM_LE, GUINT32_TO_LE)
DEFINE_INTEGER (le64, guint64, GUINT64_FROM_LE, GUINT64_TO_LE)
DEFINE_INTEGER (be16, guint16, GUINT16_FROM_BE, GUINT16_TO_BE)
DEFINE_INTEGER (be32, guint32, GUINT32_FROM_BE, GUINT32_TO_BE)
DEFINE_INTEGER (be64, guint64, GUINT64_FROM_BE, GUINT64_TO_BE)

void
bytes_add_u8 (GByteArray *array, guint8 value)
{
  g_byte_array_append (array, &value, 1);
}

gboolean
bytes_all_zero (const void *data, gsize len)
{
  const guint8 *bytes = data;

  if (len == 0)
    return TRUE;
  /* Every byte equals its predecessor and the first is zero: memcmp does the walk, vectorised. */
  return bytes[0] == 0 && memcmp (bytes, bytes + 1, len - 1) == 0;
}

char *
bytes_to_hex (const guint8 *data, gsize len)
{
  static const char digits[] = "0123456789abcdef";
  char *hex = g_malloc (2 * len + 1);

  for (gsize i = 0; i < len; i++) {
    hex[2 * i] = digits[data[i] >> 4];
    hex[2 * i + 1] = digits[data[i] & 15];
  }
  hex[2 * len] = 0;
  return hex;
}

gboolean
bytes_from_hex (const char *hex, guint8 *data, gsize len)
{
  if (strlen (hex) != 2 * len)
    return FALSE;
  for (gsize i = 0; i < 2 * len; i++)
    if (!g_ascii_isxdigit (hex[i]) || g_ascii_isupper (hex[i]))
      return FALSE;
  for (gsize i = 0; i < len; i++)
    data[i] = g_ascii_xdigit_value (hex[2 * i]) << 4 | g_ascii_xdigit_value (hex[2 * i + 1]);
  return TRUE;
}

gboolean
bytes_parse_size (const char *text, guint64 *size, GError **error)
{
  static const char units[] = "KMGTP";
  char *end = NULL;
  double value = g_ascii_isdigit (*text) ? g_ascii_strtod (text, &end) : -1;
  double scale = 1;

  if (end != NULL && *end != 0) {
    const char *unit = strchr (units, g_ascii_toupper (*end));
    if (unit != NULL) {
      scale = pow (1024, unit - units + 1);
      end++;
      if (g_ascii_strcasecmp (end, "b") == 0 || g_ascii_strcasecmp (end, "ib") == 0)
        end += strlen (end);
    }
  }
  if (end == NULL || *end != 0 || value < 0 || !(value * scale < 9.2e18)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                 "'%s' is not a size: write for example 512M or 2G", text);
    return FALSE;
  }
  *size = (guint64)(value * scale);
  return TRUE;
}
