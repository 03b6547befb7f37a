/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* keys/UUID: what opens it, what does not, and what is refused before any work is done for it. */
#include "key-object.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define STORE_ID "0123456789abcdef0123456789abcdef"
#define NAME "keys/k"

static const HashKey no_key;
/* As cheap as it may be: what is tested is not the cost. */
static const KdfCost cheap = { 1, 8192 };

static KeyMaterial *
password (const char *text)
{
  return key_material_new_password (text, strlen (text), NULL);
}

static KeyMaterial *
key_file (char fill)
{
  char content[32];

  memset (content, fill, sizeof content);
  return key_material_new_file (content, sizeof content, NULL);
}

static GBytes *
write_key (const MasterKey *master, const KeyMaterial *material)
{
  g_autoptr (GError) error = NULL;
  GBytes *bytes = key_object_write (NAME, STORE_ID, master, material, "office", &cheap, &error);

  g_assert_no_error (error);
  return bytes;
}

/* Takes all but the master key. */
static void
try_open (const MasterKey *master, KeyMaterial *right, KeyMaterial *wrong, KeyMaterial *other)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = write_key (master, right);
  g_autoptr (KeyObject) object = key_object_read (bytes, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (object->store_id, ==, STORE_ID);
  g_assert_cmpstr (object->label, ==, "office");
  g_assert_cmpint (object->kind, ==, right->kind);
  g_autoptr (MasterKey) opened = key_object_open (object, right, &error);
  g_assert_no_error (error);
  g_assert_true (secret_equal (opened, master));
  g_assert_true (master_key_check_text (master, NAME, bytes, &error));
  g_assert_null (key_object_open (object, wrong, &error));
  g_assert_no_error (error);
  g_assert_null (key_object_open (object, other, &error));
  g_assert_no_error (error);
  /* Another name is another object. */
  g_assert_false (master_key_check_text (master, "keys/other", bytes, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  key_material_free (right);
  key_material_free (wrong);
  key_material_free (other);
}

/* The same master key never looks the same. */
static void
test_random (void)
{
  g_autoptr (MasterKey) master = master_key_new_random();
  g_autoptr (MasterKey) second = master_key_new_random();
  g_autoptr (KeyMaterial) material = key_file ('k');
  g_autoptr (GBytes) one = write_key (master, material);
  g_autoptr (GBytes) two = write_key (master, material);
  g_autoptr (KeyObject) a = key_object_read (one, NULL);
  g_autoptr (KeyObject) b = key_object_read (two, NULL);

  g_assert_false (secret_equal (master, second));
  g_assert_cmpint (memcmp (a->wrapped, b->wrapped, sizeof a->wrapped), !=, 0);
  g_assert_cmpint (memcmp (a->salt, b->salt, sizeof a->salt), !=, 0);
}

/* Any byte of the object changed, with the hash that everybody can make put right: it opens
 * nothing, or what it says is found to be forged. */
static void
test_forged (void)
{
  g_autoptr (MasterKey) master = master_key_new_random();
  g_autoptr (KeyMaterial) material = key_file ('k');
  g_autoptr (GBytes) bytes = write_key (master, material);
  gsize len = g_bytes_get_size (bytes) - 65;

  for (gsize i = 0; i < len; i++) {
    g_autoptr (GByteArray) text = g_byte_array_new();
    ChunkName hash;
    g_byte_array_append (text, g_bytes_get_data (bytes, NULL), len);
    text->data[i] ^= 1;
    chunk_name_of (&no_key, text->data, text->len, &hash);
    g_autofree char *hex = chunk_name_to_hex (&hash);
    g_byte_array_append (text, (const guint8 *)hex, 64);
    g_byte_array_append (text, (const guint8 *)"\n", 1);
    g_autoptr (GBytes) forged = g_bytes_new (text->data, text->len);
    g_autoptr (KeyObject) object = key_object_read (forged, NULL);
    g_autoptr (MasterKey) opened = object != NULL ? key_object_open (object, material, NULL) : NULL;
    g_assert_true (opened == NULL || secret_equal (opened, master));
    g_assert_false (master_key_check_text (master, NAME, forged, NULL));
  }
}

/* An object like a good one, with one member replaced by this JSON. */
static GBytes *
with_member (const char *member, const char *value)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_autofree char *replaced = g_strdup_printf ("{\"x\":%s}", value);
  g_autoptr (JsonObject) from = json_parse_bounded (replaced, strlen (replaced), 65536, 8, NULL);
  static const char *const members[][2] = {
    { "store", STORE_ID },
    { "kind", "password" },
    { "kdf", "argon2id13" },
    { "salt", "00112233445566778899aabbccddeeff" },
    { "nonce", "00112233445566778899aabbccddeeff0011223344556677" },
    { "wrapped", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
                 "00112233445566778899aabbccddeeff" },
  };
  g_autoptr (MasterKey) master = master_key_new_random();

  for (guint i = 0; i < G_N_ELEMENTS (members); i++)
    json_object_set_string_member (object, members[i][0], members[i][1]);
  json_object_set_int_member (object, "ops", 4);
  json_object_set_int_member (object, "memory_bytes", 134217728);
  if (member != NULL)
    json_object_set_member (object, member, json_node_copy (json_object_get_member (from, "x")));
  return master_key_write_text (master, NAME, "vmckpt-key", object);
}

static void
test_bounds (void)
{
  g_autofree char *label = g_strnfill (65, 'x');
  g_autofree char *quoted = g_strdup_printf ("\"%s\"", label);
  const char *const bad[][2] = {
    { "ops", "11" },
    { "ops", "0" },
    { "ops", "-1" },
    { "memory_bytes", "1073741825" },
    { "memory_bytes", "0" },
    { "memory_bytes", "1e30" },
    { "memory_bytes", "null" },
    { "kdf", "\"scrypt\"" },
    { "kdf", "\"blake2b\"" },
    { "kind", "\"token\"" },
    { "kind", "7" },
    { "salt", "\"00\"" },
    { "nonce", "\"zz\"" },
    { "wrapped", "[]" },
    { "store", "\"short\"" },
    { "label", quoted },
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) good = with_member (NULL, "0");
  g_autoptr (KeyObject) object = key_object_read (good, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (object->cost.ops, ==, 4);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GBytes) bytes = with_member (bad[i][0], bad[i][1]);
    g_autoptr (KeyObject) read = key_object_read (bytes, &error);
    g_test_message ("%s = %s", bad[i][0], bad[i][1]);
    g_assert_null (read);
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
    g_clear_error (&error);
  }
}

static void
test_kinds (void)
{
  g_autoptr (MasterKey) master = master_key_new_random();

  try_open (master, password ("right"), password ("right "), key_file ('r'));
  try_open (master, key_file ('r'), key_file ('w'), password ("right"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/key-object/kinds", test_kinds);
  g_test_add_func ("/store/key-object/random", test_random);
  g_test_add_func ("/store/key-object/forged", test_forged);
  g_test_add_func ("/store/key-object/bounds", test_bounds);
  return g_test_run();
}
