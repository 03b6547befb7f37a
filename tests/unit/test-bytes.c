/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/bytes.h>

#include <string.h>

static void
test_integers_round_trip (void)
{
  g_autoptr (GByteArray) array = g_byte_array_new();

  bytes_add_u8 (array, 0xfe);
  bytes_add_le16 (array, 0x1234);
  bytes_add_le32 (array, 0x89abcdef);
  bytes_add_le64 (array, G_GUINT64_CONSTANT (0xfedcba9876543210));
  bytes_add_be16 (array, 0x1234);
  bytes_add_be32 (array, 0x89abcdef);
  bytes_add_be64 (array, G_GUINT64_CONSTANT (0xfedcba9876543210));

  ByteReader reader = BYTE_READER (array->data, array->len);
  g_assert_cmphex (byte_reader_u8 (&reader), ==, 0xfe);
  g_assert_cmphex (byte_reader_le16 (&reader), ==, 0x1234);
  g_assert_cmphex (byte_reader_le32 (&reader), ==, 0x89abcdef);
  g_assert_cmphex (byte_reader_le64 (&reader), ==, G_GUINT64_CONSTANT (0xfedcba9876543210));
  g_assert_cmphex (byte_reader_be16 (&reader), ==, 0x1234);
  g_assert_cmphex (byte_reader_be32 (&reader), ==, 0x89abcdef);
  g_assert_cmpuint (byte_reader_left (&reader), ==, 8);
  g_assert_cmphex (byte_reader_be64 (&reader), ==, G_GUINT64_CONSTANT (0xfedcba9876543210));
  g_assert_false (reader.failed);
}

/* The order of the bytes, not only that both ways agree. */
static void
test_byte_order (void)
{
  static const guint8 data[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
  ByteReader reader = BYTE_READER (data, sizeof data);

  g_assert_cmphex (byte_reader_le16 (&reader), ==, 0x0201);
  g_assert_cmphex (byte_reader_be16 (&reader), ==, 0x0304);
  g_assert_cmphex (byte_reader_be32 (&reader), ==, 0x05060708);
}

static void
test_reader_never_runs_past_the_end (void)
{
  static const guint8 data[] = { 1, 2, 3 };
  ByteReader reader = BYTE_READER (data, sizeof data);

  g_assert_null (byte_reader_take (&reader, G_MAXSIZE));
  g_assert_true (reader.failed);

  reader = BYTE_READER (data, sizeof data);
  g_assert_cmphex (byte_reader_u8 (&reader), ==, 1);
  g_assert_cmphex (byte_reader_le32 (&reader), ==, 0);
  g_assert_true (reader.failed);
  /* What would still fit fails too: one check per structure is enough. */
  g_assert_cmphex (byte_reader_u8 (&reader), ==, 0);
  g_assert_null (byte_reader_take (&reader, 0));
  g_assert_cmpuint (byte_reader_left (&reader), ==, 0);
}

static void
test_take_borrows_in_place (void)
{
  static const guint8 data[] = { 1, 2, 3 };
  ByteReader reader = BYTE_READER (data, sizeof data);

  g_assert_true (byte_reader_take (&reader, 2) == data);
  g_assert_true (byte_reader_take (&reader, 1) == data + 2);
  g_assert_true (byte_reader_take (&reader, 0) == data + 3);
  g_assert_false (reader.failed);
}

static void
test_all_zero (void)
{
  guint8 page[4097] = { 0 };

  for (gsize at = 0; at < 4096; at += 7) {
    /* From an odd address: the caller promises no alignment. */
    g_assert_true (bytes_all_zero (page + 1, 4096));
    page[1 + at] = 1;
    g_assert_false (bytes_all_zero (page + 1, 4096));
    page[1 + at] = 0;
  }
  memset (page, 0xff, sizeof page);
  g_assert_false (bytes_all_zero (page, sizeof page));
  g_assert_true (bytes_all_zero (page, 0));
}

static void
test_hex (void)
{
  static const guint8 data[] = { 0x00, 0x9f, 0xa0, 0xff };
  g_autofree char *hex = bytes_to_hex (data, sizeof data);
  guint8 back[4];

  g_assert_cmpstr (hex, ==, "009fa0ff");
  g_assert_true (bytes_from_hex (hex, back, sizeof back));
  g_assert_cmpmem (back, sizeof back, data, sizeof data);
  /* One name has one spelling, or one object could have two files. */
  g_assert_false (bytes_from_hex ("009fa0fF", back, sizeof back));
  g_assert_false (bytes_from_hex ("009fa0f", back, sizeof back));
  g_assert_false (bytes_from_hex ("009fa0ff0", back, sizeof back));
  g_assert_false (bytes_from_hex ("009fa0fg", back, sizeof back));
  g_assert_false (bytes_from_hex ("009fa0\xc3\xa4", back, sizeof back));
}

static void
test_parse_size (void)
{
  static const struct {
    const char *text;
    guint64 size;
  } good[] = {
    { "0", 0 },
    { "512", 512 },
    { "64K", 64 << 10 },
    { "64kib", 64 << 10 },
    { "2G", G_GUINT64_CONSTANT (2) << 30 },
    { "2GB", G_GUINT64_CONSTANT (2) << 30 },
    { "1.5GiB", G_GUINT64_CONSTANT (3) << 29 },
    { "1P", G_GUINT64_CONSTANT (1) << 50 },
  };
  static const char *const bad[] = { "",   "G",  "-1", "1X",  "1 G", "1GG",      "1Gi",
                                     "1B", "+1", " 1", "inf", "nan", "9999999P", "1e30" };
  guint64 size;

  for (gsize i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_true (bytes_parse_size (good[i].text, &size, &error));
    g_assert_no_error (error);
    g_assert_cmpuint (size, ==, good[i].size);
  }
  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_test_message ("'%s'", bad[i]);
    g_assert_false (bytes_parse_size (bad[i], &size, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull (strstr (error->message, "is not a size"));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bytes/integers-round-trip", test_integers_round_trip);
  g_test_add_func ("/bytes/byte-order", test_byte_order);
  g_test_add_func ("/bytes/reader-never-runs-past-the-end", test_reader_never_runs_past_the_end);
  g_test_add_func ("/bytes/take-borrows-in-place", test_take_borrows_in_place);
  g_test_add_func ("/bytes/all-zero", test_all_zero);
  g_test_add_func ("/bytes/hex", test_hex);
  g_test_add_func ("/bytes/parse-size", test_parse_size);
  return g_test_run();
}
