/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "master-key.h"

#include "text-object.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>

#include <sodium.h>
#include <string.h>

#define MAC_DIGITS ((gsize)2 * MAC_BYTES)
/* After the digits: the end of the JSON, and the line with the hash that everybody can make. */
#define MAC_TAIL "\"}\n"
#define HASH_LINE_BYTES (2 * CHUNK_NAME_BYTES + 1)

static const HashKey no_key;

static void
derive (const MasterKey *master, const char *purpose, guint8 *out)
{
  crypto_generichash (out, 32, (const guint8 *)purpose, strlen (purpose), master->bytes,
                      MASTER_KEY_BYTES);
}

MasterKey *
master_key_new_random (void)
{
  MasterKey *master = secret_new (MASTER_KEY_BYTES);

  randombytes_buf (master->bytes, master->len);
  return master;
}

Secret *
master_key_derive_hash_key (const MasterKey *master)
{
  Secret *key = secret_new (sizeof (HashKey));
  derive (master, "vmckpt names", key->bytes);
  return key;
}

Secret *
master_key_derive_seal_key (const MasterKey *master)
{
  Secret *key = secret_new (sizeof (SealKey));
  derive (master, "vmckpt objects", key->bytes);
  return key;
}

/* The MAC over @name, a newline and @len bytes of text, in hexadecimal. */
static char *
mac_of (const MasterKey *master, const char *name, const char *text, gsize len)
{
  g_autoptr (Secret) key = secret_new (MAC_BYTES);
  crypto_generichash_state state;
  guint8 mac[MAC_BYTES];

  derive (master, "vmckpt format", key->bytes);
  crypto_generichash_init (&state, key->bytes, key->len, sizeof mac);
  crypto_generichash_update (&state, (const guint8 *)name, strlen (name));
  crypto_generichash_update (&state, (const guint8 *)"\n", 1);
  crypto_generichash_update (&state, (const guint8 *)text, len);
  crypto_generichash_final (&state, mac, sizeof mac);
  return bytes_to_hex (mac, sizeof mac);
}

/* Where the MAC's digits begin in a text object that ends with one; 0 if it does not. */
static gsize
find_mac (GBytes *bytes)
{
  static const char head[] = "\"" MAC_MEMBER "\":\"";
  gsize len, tail = MAC_DIGITS + strlen (MAC_TAIL) + HASH_LINE_BYTES;
  const char *text = g_bytes_get_data (bytes, &len);

  if (len < tail + strlen (head) ||
      memcmp (text + len - tail - strlen (head), head, strlen (head)) != 0 ||
      memcmp (text + len - tail + MAC_DIGITS, MAC_TAIL, strlen (MAC_TAIL)) != 0)
    return 0;
  return len - tail;
}

GBytes *
master_key_write_text (const MasterKey *master, const char *name, const char *magic,
                       JsonObject *object)
{
  g_autofree char *zeros = g_strnfill (MAC_DIGITS, '0');

  json_object_set_string_member (object, MAC_MEMBER, zeros);
  g_autoptr (GBytes) without = text_object_write (magic, object, &no_key);
  g_autofree char *mac =
      mac_of (master, name, g_bytes_get_data (without, NULL), find_mac (without));
  json_object_set_string_member (object, MAC_MEMBER, mac);
  return text_object_write (magic, object, &no_key);
}

gboolean
master_key_check_text (const MasterKey *master, const char *name, GBytes *bytes, GError **error)
{
  const char *text = g_bytes_get_data (bytes, NULL);
  gsize at = find_mac (bytes);
  g_autofree char *mac = mac_of (master, name, text, at);

  if (at > 0 && sodium_memcmp (text + at, mac, MAC_DIGITS) == 0)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "%s was changed or exchanged by somebody who does not have the store's key", name);
  return FALSE;
}
