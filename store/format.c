/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "format.h"

#include "store-private.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#include <sodium.h>
#include <string.h>

#define FORMAT_MAGIC "vmckpt-store"
#define FORMAT_VERSION 1
#define FORMAT_MAX_BYTES 65536
#define ID_BYTES 16

void
store_format_clear (StoreFormat *format)
{
  g_clear_pointer (&format->id, g_free);
  sodium_memzero (&format->key, sizeof format->key);
}

GBytes *
store_format_create (void)
{
  guint8 id[ID_BYTES];
  HashKey key;
  g_autoptr (JsonObject) object = json_object_new();

  randombytes_buf (id, sizeof id);
  randombytes_buf (key.bytes, sizeof key.bytes);
  g_autofree char *id_hex = bytes_to_hex (id, sizeof id);
  g_autofree char *key_hex = bytes_to_hex (key.bytes, sizeof key.bytes);
  json_object_set_string_member (object, "id", id_hex);
  json_object_set_string_member (object, "hash_key", key_hex);
  json_object_set_int_member (object, "page_size", PAGE_SIZE_BYTES);
  json_object_set_int_member (object, "created_us", g_get_real_time());
  g_autofree char *json = json_to_line (object);
  char *text =
      g_strdup_printf ("%s %d %d\n%s\n", FORMAT_MAGIC, FORMAT_VERSION, FORMAT_VERSION, json);
  return g_bytes_new_take (text, strlen (text));
}

gboolean
format_line_check (GBytes *text, const char *magic, guint newest, const char **body,
                   gsize *body_len, GError **error)
{
  gsize len;
  const char *data = g_bytes_get_data (text, &len);
  const char *end = len > 0 ? memchr (data, '\n', MIN (len, 64)) : NULL;
  g_autofree char *line = end != NULL ? g_strndup (data, end - data) : g_strdup ("");
  g_auto (GStrv) word = g_strsplit (line, " ", 4);
  guint64 version, compatible;

  if (g_strv_length (word) != 3 || !g_str_equal (word[0], magic) ||
      !g_ascii_string_to_unsigned (word[1], 10, 1, G_MAXUINT16, &version, NULL) ||
      !g_ascii_string_to_unsigned (word[2], 10, 1, version, &compatible, NULL)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "its first line is not '%s …'", magic);
    return FALSE;
  }
  if (compatible > newest) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_VERSION,
                 "it has version %" G_GUINT64_FORMAT
                 ", which needs a program that knows version %" G_GUINT64_FORMAT
                 "; this one knows %u",
                 version, compatible, newest);
    return FALSE;
  }
  *body = end + 1;
  *body_len = len - (end + 1 - data);
  return TRUE;
}

/* A member "requires" lists what a program must know to touch the store; this one knows none. */
static gboolean
check_requirements (JsonObject *object, GError **error)
{
  if (!json_object_has_member (object, "requires") &&
      !json_object_has_member (object, "encryption"))
    return TRUE;
  g_autofree char *what = g_strdup ("encryption");
  if (json_object_has_member (object, "requires")) {
    JsonArray *list = json_get_array (object, "requires", NULL);
    if (list != NULL && json_array_get_length (list) == 0)
      return TRUE;
    JsonNode *first = list != NULL ? json_array_get_element (list, 0) : NULL;
    g_free (what);
    what = first != NULL && JSON_NODE_HOLDS_VALUE (first) &&
                   json_node_get_value_type (first) == G_TYPE_STRING
               ? g_strescape (json_node_get_string (first), NULL)
               : g_strdup ("something unknown");
  }
  g_set_error (error, STORE_ERROR, STORE_ERROR_VERSION,
               "the store requires '%.64s', which this program does not know", what);
  return FALSE;
}

gboolean
store_format_parse (GBytes *bytes, StoreFormat *format, GError **error)
{
  const char *body;
  gsize len;
  guint64 page_size;
  guint8 id[ID_BYTES];
  g_autoptr (GError) cause = NULL;

  if (!format_line_check (bytes, FORMAT_MAGIC, FORMAT_VERSION, &body, &len, &cause)) {
    if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
      cause->code = STORE_ERROR_NOT_A_STORE;
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  g_autoptr (JsonObject) object =
      json_parse_bounded (body, len, FORMAT_MAX_BYTES, STORE_JSON_MAX_DEPTH, &cause);
  if (object != NULL && !check_requirements (object, error))
    return FALSE;
  const char *id_hex = object != NULL ? json_get_string (object, "id", &cause) : NULL;
  const char *key_hex = id_hex != NULL ? json_get_string (object, "hash_key", &cause) : NULL;
  if (key_hex == NULL || !json_get_uint64 (object, "page_size", &page_size, &cause) ||
      page_size != PAGE_SIZE_BYTES || !bytes_from_hex (id_hex, id, sizeof id) ||
      !bytes_from_hex (key_hex, format->key.bytes, sizeof format->key.bytes)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "it cannot be understood: %s",
                 cause != NULL ? cause->message : "a member has an impossible value");
    return FALSE;
  }
  format->id = g_strdup (id_hex);
  return TRUE;
}
