/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of any bytes, in pieces of any size. */
#include "file-list.h"

#include <string.h>

static const char found[] = "etc\0etc/passwd\0a name\nwith a line\0etc/x y\0deep/er/\xff";

static GPtrArray *
names_in (FileList *list, const char *directory)
{
  GPtrArray *names = g_hash_table_lookup (list->directories, directory);

  g_assert_nonnull (names);
  return names;
}

/* However the stream is cut, the same files are in the same directories. */
static void
test_pieces (void)
{
  for (gsize piece = 1; piece <= sizeof found; piece++) {
    g_autoptr (FileList) list = file_list_new();
    for (gsize at = 0; at < sizeof found; at += piece)
      g_assert_true (
          file_list_add (list, (const guint8 *)found + at, MIN (piece, sizeof found - at)));
    g_assert_cmpuint (list->names, ==, 5);
    g_assert_cmpuint (list->order->len, ==, 3);
    g_assert_cmpuint (names_in (list, "")->len, ==, 2);
    g_assert_cmpstr (names_in (list, "")->pdata[1], ==, "a name\nwith a line");
    g_assert_cmpstr (names_in (list, "etc")->pdata[1], ==, "x y");
    g_assert_cmpstr (names_in (list, "deep/er")->pdata[0], ==, "\xff");
  }
}

static void
test_too_many (void)
{
  g_autoptr (FileList) list = file_list_new();
  gboolean more = TRUE;

  list->names = FILE_LIST_NAMES_MAX;
  more = file_list_add (list, (const guint8 *)"x", 2);
  g_assert_false (more);
}

#define HASH "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

static void
test_sums (void)
{
  g_autoptr (GHashTable) sums = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);

  g_assert_true (file_list_add_sum (sums, HASH "  ./etc/hello"));
  g_assert_cmpstr (g_hash_table_lookup (sums, "etc/hello"), ==, HASH);
  g_assert_true (file_list_add_sum (sums, "\\" HASH "  ./a\\nb\\\\c"));
  g_assert_cmpstr (g_hash_table_lookup (sums, "a\nb\\c"), ==, HASH);
  /* Without the mark a backslash is one. */
  g_assert_true (file_list_add_sum (sums, HASH "  ./a\\nb"));
  g_assert_cmpstr (g_hash_table_lookup (sums, "a\\nb"), ==, HASH);
  g_assert_false (file_list_add_sum (sums, "\\" HASH "  ./a\\xb"));
  g_assert_false (file_list_add_sum (sums, "\\" HASH "  ./a\\"));
  g_assert_false (file_list_add_sum (sums, HASH));
  g_assert_false (file_list_add_sum (sums, HASH "  "));
  g_assert_false (file_list_add_sum (sums, "short  ./x"));
  g_assert_false (file_list_add_sum (sums, ""));
  g_assert_cmpuint (g_hash_table_size (sums), ==, 3);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/file-list/pieces", test_pieces);
  g_test_add_func ("/file-list/too-many", test_too_many);
  g_test_add_func ("/file-list/sums", test_sums);
  return g_test_run();
}
