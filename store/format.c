/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "format.h"

#include "store-private.h"
#include "text-object.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#include <sodium.h>
#include <string.h>

#define FORMAT_MAGIC "vmckpt-store"
#define ID_BYTES 16

/* The key is in the object itself, so its own hash is made with one that everybody knows. */
static const HashKey no_key;

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
  return text_object_write (FORMAT_MAGIC, object, &no_key);
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
  gsize len;
  const char *text = g_bytes_get_data (bytes, &len);
  guint64 page_size;
  guint8 id[ID_BYTES];
  g_autoptr (GError) cause = NULL;

  if (len < strlen (FORMAT_MAGIC) || memcmp (text, FORMAT_MAGIC, strlen (FORMAT_MAGIC)) != 0) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_NOT_A_STORE, "it is not a store's");
    return FALSE;
  }
  g_autoptr (JsonObject) object = text_object_read (bytes, FORMAT_MAGIC, &no_key, error);
  if (object == NULL || !check_requirements (object, error))
    return FALSE;
  const char *id_hex = json_get_string (object, "id", &cause);
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
