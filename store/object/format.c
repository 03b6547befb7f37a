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
#define REQUIRES_ENCRYPTION "encryption"

/* The key is in the object itself, so its own hash is made with one that everybody knows. */
static const HashKey no_key;
static const char no_key_hex[] = "0000000000000000000000000000000000000000000000000000000000000000";

void
store_format_clear (StoreFormat *format)
{
  g_clear_pointer (&format->id, g_free);
  sodium_memzero (&format->key, sizeof format->key);
}

char *
store_format_new_id (void)
{
  guint8 id[ID_BYTES];

  randombytes_buf (id, sizeof id);
  return bytes_to_hex (id, sizeof id);
}

static JsonObject *
format_json (const char *id)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "id", id);
  json_object_set_int_member (object, "page_size", PAGE_SIZE_BYTES);
  json_object_set_int_member (object, "created_us", g_get_real_time());
  return object;
}

GBytes *
store_format_create (void)
{
  g_autofree char *id = store_format_new_id();
  g_autoptr (JsonObject) object = format_json (id);
  HashKey key;

  randombytes_buf (key.bytes, sizeof key.bytes);
  g_autofree char *key_hex = bytes_to_hex (key.bytes, sizeof key.bytes);
  json_object_set_string_member (object, "hash_key", key_hex);
  return text_object_write (FORMAT_MAGIC, object, &no_key);
}

GBytes *
store_format_create_encrypted (const char *id, const MasterKey *master)
{
  g_autoptr (JsonObject) object = format_json (id);
  JsonArray *requirements = json_array_new();

  json_array_add_string_element (requirements, REQUIRES_ENCRYPTION);
  json_object_set_array_member (object, "requires", requirements);
  return master_key_write_text (master, FORMAT_OBJECT, FORMAT_MAGIC, object);
}

static gboolean
set_unknown (const char *what, GError **error)
{
  g_autofree char *clean = g_strescape (what, NULL);

  g_set_error (error, STORE_ERROR, STORE_ERROR_VERSION,
               "the store requires '%.64s', which this program does not know", clean);
  return FALSE;
}

/* A member "requires" lists what a program must know to touch the store. */
static gboolean
check_requirements (JsonObject *object, StoreFormat *format, GError **error)
{
  if (json_object_has_member (object, "encryption"))
    return set_unknown ("encryption of another kind", error);
  if (!json_object_has_member (object, "requires"))
    return TRUE;
  JsonArray *list = json_get_array (object, "requires", NULL);
  if (list == NULL)
    return set_unknown ("something unknown", error);
  for (guint i = 0; i < json_array_get_length (list); i++) {
    const char *what = json_array_string_or_null (list, i);
    if (g_strcmp0 (what, REQUIRES_ENCRYPTION) != 0)
      return set_unknown (what != NULL ? what : "something unknown", error);
    format->encrypted = TRUE;
  }
  return TRUE;
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
  if (object == NULL || !check_requirements (object, format, error))
    return FALSE;
  const char *id_hex = json_get_string (object, "id", &cause);
  const char *key_hex = id_hex == NULL      ? NULL
                        : format->encrypted ? no_key_hex
                                            : json_get_string (object, "hash_key", &cause);
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
