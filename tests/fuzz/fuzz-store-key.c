/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A key object, with a right hash line appended: its bounds hold, whatever it says. */
#include "key-object.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const HashKey no_key;
  g_autoptr (GByteArray) text = g_byte_array_new();
  g_autoptr (MasterKey) master = secret_new (MASTER_KEY_BYTES);
  ChunkName hash;

  chunk_name_of (&no_key, data, size, &hash);
  g_autofree char *hex = chunk_name_to_hex (&hash);
  g_byte_array_append (text, data, (guint)size);
  g_byte_array_append (text, (const guint8 *)hex, 64);
  g_byte_array_append (text, (const guint8 *)"\n", 1);
  g_autoptr (GBytes) bytes = g_bytes_new (text->data, text->len);
  g_autoptr (KeyObject) object = key_object_read (bytes, NULL);
  if (object != NULL && object->kind == KEY_PASSWORD) {
    g_assert_cmpuint (object->cost.ops, <=, KDF_MAX_OPS);
    g_assert_cmpuint (object->cost.memory, <=, KDF_MAX_MEMORY);
  }
  if (object != NULL && object->kind == KEY_FILE) {
    g_autoptr (KeyMaterial) material =
        key_material_new_file ("0123456789abcdef0123456789abcdef", 32, NULL);
    g_assert_null (key_object_open (object, material, NULL));
  }
  g_assert_false (master_key_check_text (master, "keys/k", bytes, NULL));
  return 0;
}
