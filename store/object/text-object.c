/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "text-object.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define FIRST_LINE_MAX 64
/* 64 digits and a newline. */
#define HASH_LINE_BYTES (2 * CHUNK_NAME_BYTES + 1)

static void
append_hash (GString *text, const HashKey *key)
{
  ChunkName hash;

  chunk_name_of (key, text->str, text->len, &hash);
  g_autofree char *hex = chunk_name_to_hex (&hash);
  g_string_append_printf (text, "%s\n", hex);
}

GBytes *
text_object_write (const char *magic, JsonObject *object, const HashKey *key)
{
  g_autofree char *json = json_to_line (object);
  g_autoptr (GString) text = g_string_new (NULL);

  g_string_printf (text, "%s %d %d\n%s\n", magic, TEXT_OBJECT_VERSION, TEXT_OBJECT_VERSION, json);
  if (key != NULL)
    append_hash (text, key);
  return g_string_free_to_bytes (g_steal_pointer (&text));
}

GBytes *
text_object_pad (GBytes *bytes, const HashKey *key)
{
  g_autoptr (GBytes) unpadded = bytes;
  gsize len, hash = key != NULL ? HASH_LINE_BYTES : 0, padded = TEXT_OBJECT_PAD_BYTES;
  const char *data = g_bytes_get_data (unpadded, &len);

  while (padded < len)
    padded *= 2;
  /* Without the newline of the JSON and what follows it. */
  g_autoptr (GString) text = g_string_sized_new (padded);
  g_string_append_len (text, data, len - hash - 1);
  g_string_append_printf (text, "%*s\n", (int)(padded - len), "");
  if (key != NULL)
    append_hash (text, key);
  return g_string_free_to_bytes (g_steal_pointer (&text));
}

/* Reads the first line; returns its length with the newline, or 0 with @error. */
static gsize
read_first_line (const char *data, gsize len, const char *magic, GError **error)
{
  const char *end = len > 0 ? memchr (data, '\n', MIN (len, FIRST_LINE_MAX)) : NULL;
  g_autofree char *line = end != NULL ? g_strndup (data, end - data) : g_strdup ("");
  g_auto (GStrv) word = g_strsplit (line, " ", 4);
  guint64 version, compatible;

  if (g_strv_length (word) != 3 || !g_str_equal (word[0], magic) ||
      !g_ascii_string_to_unsigned (word[1], 10, 1, G_MAXUINT16, &version, NULL) ||
      !g_ascii_string_to_unsigned (word[2], 10, 1, version, &compatible, NULL)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "its first line is not '%s …'", magic);
    return 0;
  }
  if (compatible > TEXT_OBJECT_VERSION) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_VERSION,
                 "it has version %" G_GUINT64_FORMAT
                 ", which needs a program that knows version %" G_GUINT64_FORMAT
                 "; this one knows %d",
                 version, compatible, TEXT_OBJECT_VERSION);
    return 0;
  }
  return end + 1 - data;
}

/* Checks the last line against all before it and takes it off @len. */
static gboolean
check_hash (const char *data, gsize *len, const HashKey *key)
{
  ChunkName hash;

  if (*len < HASH_LINE_BYTES)
    return FALSE;
  *len -= HASH_LINE_BYTES;
  chunk_name_of (key, data, *len, &hash);
  g_autofree char *hex = chunk_name_to_hex (&hash);
  return memcmp (data + *len, hex, HASH_LINE_BYTES - 1) == 0 &&
         data[*len + HASH_LINE_BYTES - 1] == '\n';
}

JsonObject *
text_object_read (GBytes *bytes, const char *magic, const HashKey *key, GError **error)
{
  gsize len;
  const char *data = g_bytes_get_data (bytes, &len);
  gsize first = read_first_line (data, len, magic, error);
  g_autoptr (GError) cause = NULL;

  if (first == 0)
    return NULL;
  if (key != NULL && (len > TEXT_OBJECT_MAX_BYTES || !check_hash (data, &len, key))) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                         "it does not hash to what its last line says");
    return NULL;
  }
  JsonObject *object = json_parse_bounded (data + first, MAX (len, first) - first,
                                           TEXT_OBJECT_MAX_BYTES, TEXT_OBJECT_MAX_DEPTH, &cause);
  if (object == NULL)
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, cause->message);
  return object;
}
