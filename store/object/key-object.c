/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "key-object.h"

#include "text-object.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#include <sodium.h>
#include <string.h>

#define MAGIC "vmckpt-key"
#define KDF_PASSWORD "argon2id13"
#define KDF_FILE "blake2b"
#define ID_DIGITS 32

static const HashKey no_key;

const KdfCost kdf_cost_default = { .ops = 4, .memory = 128 * 1024 * 1024 };

G_STATIC_ASSERT (sizeof ((KeyObject *)NULL)->salt == crypto_pwhash_SALTBYTES);
G_STATIC_ASSERT (sizeof ((KeyObject *)NULL)->nonce == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);

void
key_object_free (KeyObject *object)
{
  g_free (object->store_id);
  g_free (object->label);
  g_free (object);
}

/* The key that wraps; NULL with @error. */
static Secret *
derive_wrapping_key (const KeyObject *object, const KeyMaterial *material, GError **error)
{
  g_autoptr (Secret) key = secret_new (crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
  const Secret *secret = material->secret;

  if (material->kind == KEY_FILE) {
    crypto_generichash (key->bytes, key->len, object->salt, sizeof object->salt, secret->bytes,
                        secret->len);
    return g_steal_pointer (&key);
  }
  if (crypto_pwhash (key->bytes, key->len, (const char *)secret->bytes, secret->len, object->salt,
                     object->cost.ops, object->cost.memory, crypto_pwhash_ALG_ARGON2ID13) == 0)
    return g_steal_pointer (&key);
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED,
               "no memory to try a password: it needs %" G_GUINT64_FORMAT " MiB",
               object->cost.memory >> 20);
  return NULL;
}

/* The wrapped key belongs to this store and this kind of key. */
static char *
wrapped_for (const KeyObject *object)
{
  return g_strdup_printf (MAGIC " %s %s", object->store_id, key_kind_name (object->kind));
}

static gboolean
wrap (KeyObject *object, const MasterKey *master, const KeyMaterial *material, GError **error)
{
  g_autofree char *purpose = wrapped_for (object);
  g_autoptr (Secret) key = derive_wrapping_key (object, material, error);

  if (key == NULL)
    return FALSE;
  crypto_aead_xchacha20poly1305_ietf_encrypt (object->wrapped, NULL, master->bytes, master->len,
                                              (const guint8 *)purpose, strlen (purpose), NULL,
                                              object->nonce, key->bytes);
  return TRUE;
}

static void
set_hex (JsonObject *json, const char *member, const guint8 *data, gsize len)
{
  g_autofree char *hex = bytes_to_hex (data, len);
  json_object_set_string_member (json, member, hex);
}

static JsonObject *
to_json (const KeyObject *object)
{
  JsonObject *json = json_object_new();

  json_object_set_string_member (json, "store", object->store_id);
  json_object_set_string_member (json, "kind", key_kind_name (object->kind));
  if (object->label != NULL)
    json_object_set_string_member (json, "label", object->label);
  json_object_set_int_member (json, "created_us", object->created_us);
  json_object_set_string_member (json, "kdf",
                                 object->kind == KEY_PASSWORD ? KDF_PASSWORD : KDF_FILE);
  if (object->kind == KEY_PASSWORD) {
    json_object_set_int_member (json, "ops", object->cost.ops);
    json_object_set_int_member (json, "memory_bytes", object->cost.memory);
  }
  set_hex (json, "salt", object->salt, sizeof object->salt);
  set_hex (json, "nonce", object->nonce, sizeof object->nonce);
  set_hex (json, "wrapped", object->wrapped, sizeof object->wrapped);
  return json;
}

GBytes *
key_object_write (const char *name, const char *store_id, const MasterKey *master,
                  const KeyMaterial *material, const char *label, const KdfCost *cost,
                  GError **error)
{
  g_autoptr (KeyObject) object = g_new0 (KeyObject, 1);

  object->store_id = g_strdup (store_id);
  object->kind = material->kind;
  object->label = g_strdup (label);
  object->created_us = g_get_real_time();
  object->cost = *cost;
  randombytes_buf (object->salt, sizeof object->salt);
  randombytes_buf (object->nonce, sizeof object->nonce);
  if (!wrap (object, master, material, error))
    return NULL;
  g_autoptr (JsonObject) json = to_json (object);
  return master_key_write_text (master, name, MAGIC, json);
}

/* The cost is worked off before anything can be verified, so it is bounded first. */
static gboolean
read_kdf (JsonObject *json, KeyObject *object, GError **error)
{
  const char *kdf = json_get_string (json, "kdf", error);
  KdfCost *cost = &object->cost;

  if (kdf == NULL)
    return FALSE;
  if (!g_str_equal (kdf, object->kind == KEY_PASSWORD ? KDF_PASSWORD : KDF_FILE)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "its 'kdf' does not fit its kind");
    return FALSE;
  }
  if (object->kind == KEY_FILE)
    return TRUE;
  if (!json_get_uint64 (json, "ops", &cost->ops, error) ||
      !json_get_uint64 (json, "memory_bytes", &cost->memory, error))
    return FALSE;
  if (cost->ops >= crypto_pwhash_argon2id_OPSLIMIT_MIN && cost->ops <= KDF_MAX_OPS &&
      cost->memory >= crypto_pwhash_argon2id_MEMLIMIT_MIN && cost->memory <= KDF_MAX_MEMORY)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "it asks for %" G_GUINT64_FORMAT " passes over %" G_GUINT64_FORMAT
               " bytes, more than 10 over 1 GiB, or less than what is safe",
               cost->ops, cost->memory);
  return FALSE;
}

static gboolean
read_hex (JsonObject *json, const char *member, guint8 *data, gsize len, GError **error)
{
  const char *hex = json_get_string (json, member, error);

  if (hex == NULL || bytes_from_hex (hex, data, len))
    return hex != NULL;
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "its '%s' is not %zu digits", member,
               2 * len);
  return FALSE;
}

static gboolean
read_members (JsonObject *json, KeyObject *object, GError **error)
{
  const char *store = json_get_string (json, "store", error);
  const char *kind = store != NULL ? json_get_string (json, "kind", error) : NULL;
  const char *label = json_get_string_or (json, "label", NULL);
  guint64 created_us = json_get_uint64_or (json, "created_us", 0);

  if (kind == NULL)
    return FALSE;
  if (strlen (store) != ID_DIGITS || !key_kind_from_name (kind, &object->kind) ||
      (label != NULL && strlen (label) > KEY_LABEL_MAX) || created_us > G_MAXINT64) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "a member has an impossible value");
    return FALSE;
  }
  object->store_id = g_strdup (store);
  object->label = g_strdup (label);
  object->created_us = (gint64)created_us;
  return read_kdf (json, object, error) &&
         read_hex (json, "salt", object->salt, sizeof object->salt, error) &&
         read_hex (json, "nonce", object->nonce, sizeof object->nonce, error) &&
         read_hex (json, "wrapped", object->wrapped, sizeof object->wrapped, error);
}

KeyObject *
key_object_read (GBytes *bytes, GError **error)
{
  g_autoptr (KeyObject) object = g_new0 (KeyObject, 1);
  g_autoptr (GError) cause = NULL;

  if (g_bytes_get_size (bytes) > KEY_OBJECT_MAX_BYTES) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "it is longer than a key can be");
    return NULL;
  }
  g_autoptr (JsonObject) json = text_object_read (bytes, MAGIC, &no_key, error);
  if (json == NULL)
    return NULL;
  if (read_members (json, object, &cause))
    return g_steal_pointer (&object);
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "it cannot be understood: %s",
               cause->message);
  return NULL;
}

MasterKey *
key_object_open (const KeyObject *object, const KeyMaterial *material, GError **error)
{
  g_autofree char *purpose = wrapped_for (object);
  g_autoptr (MasterKey) master = secret_new (MASTER_KEY_BYTES);

  if (object->kind != material->kind)
    return NULL;
  g_autoptr (Secret) key = derive_wrapping_key (object, material, error);
  if (key == NULL || crypto_aead_xchacha20poly1305_ietf_decrypt (
                         master->bytes, NULL, NULL, object->wrapped, sizeof object->wrapped,
                         (const guint8 *)purpose, strlen (purpose), object->nonce, key->bytes) != 0)
    return NULL;
  return g_steal_pointer (&master);
}
