/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of a sealed object: sizes, blocks, and that a block opens in its own place alone. */
#include "seal.h"

#include <vmckpt/store/store.h>

#include <string.h>

/* Every size of content has its own stored size, and no other stored size is one. */
static void
test_sizes (void)
{
  guint64 content, next = 0;

  for (guint64 stored = 0; stored < SEAL_HEADER_BYTES + 4 * SEAL_STORED_BLOCK_BYTES; stored++) {
    gboolean is_one = stored == seal_stored_size (next);
    g_assert_cmpint (seal_content_size (stored, &content), ==, is_one);
    if (is_one) {
      g_assert_cmpuint (content, ==, next);
      next++;
    }
  }
  g_assert_cmpuint (next, >, 3 * SEAL_BLOCK_BYTES);
  g_assert_cmpuint (seal_stored_size (0), ==, 48 + 16);
  g_assert_cmpuint (seal_stored_size (1), ==, 48 + 17);
  g_assert_cmpuint (seal_stored_size (4096), ==, 48 + 4112);
  g_assert_cmpuint (seal_stored_size (4097), ==, 48 + 4112 + 17);
  g_assert_cmpuint (seal_stored_size (G_GUINT64_CONSTANT (1) << 40), ==,
                    48 + (G_GUINT64_CONSTANT (1) << 28) * 4112);
}

static void
test_header (void)
{
  g_autoptr (GError) error = NULL;
  SealHeader one, two;

  seal_header_new (&one);
  seal_header_new (&two);
  g_assert_true (seal_header_check (&one, &error));
  g_assert_cmpint (memcmp (one.bytes + 16, two.bytes + 16, 32), !=, 0);
  two.bytes[0] ^= 1;
  g_assert_false (seal_header_check (&two, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_clear_error (&error);
  one.bytes[10] = 2; /* compatible since */
  g_assert_false (seal_header_check (&one, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_VERSION);
}

static void
test_places (void)
{
  static const SealKey master = { { 1, 2, 3 } }, other_master = { { 1, 2, 4 } };
  const SealEnd end = { "packs/one", 8191 }, renamed = { "packs/two", 8191 },
                longer = { "packs/one", 8192 };
  guint8 content[4095], stored[4095 + SEAL_TAG_BYTES], out[4095];
  SealHeader header, other_header;
  ObjectKey key, other_key, foreign_key;

  memset (content, 'c', sizeof content);
  seal_header_new (&header);
  other_header = header;
  other_header.bytes[12] ^= 1; /* a byte that has no meaning */
  object_key_derive (&master, &header, &key);
  object_key_derive (&master, &other_header, &other_key);
  object_key_derive (&other_master, &header, &foreign_key);
  seal_block (&key, 1, content, sizeof content, &end, stored);
  g_assert_true (seal_block_open (&key, 1, stored, sizeof stored, &end, out));
  g_assert_cmpmem (out, sizeof out, content, sizeof content);
  g_assert_false (seal_block_open (&key, 0, stored, sizeof stored, &end, out));
  g_assert_false (seal_block_open (&key, 1, stored, sizeof stored, NULL, out));
  g_assert_false (seal_block_open (&key, 1, stored, sizeof stored, &renamed, out));
  g_assert_false (seal_block_open (&key, 1, stored, sizeof stored, &longer, out));
  g_assert_false (seal_block_open (&other_key, 1, stored, sizeof stored, &end, out));
  g_assert_false (seal_block_open (&foreign_key, 1, stored, sizeof stored, &end, out));
  g_assert_false (seal_block_open (&key, 1, stored, sizeof stored - 1, &end, out));
  g_assert_false (seal_block_open (&key, 1, stored, 15, &end, out));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/seal/sizes", test_sizes);
  g_test_add_func ("/store/seal/header", test_header);
  g_test_add_func ("/store/seal/places", test_places);
  return g_test_run();
}
