/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The format is what docs/store-format.md says: a reader that was written from that page alone
 * (tests/tools/store-reader.py) reads the same bytes out of a store as were put in.
 */
#include "store-fixture.h"

#include <vmckpt/store/key.h>

#define PAGES 70000 /* two levels of tree */

static char *
reader_path (void)
{
  return g_test_build_filename (G_TEST_DIST, "..", "tools", "store-reader.py", NULL);
}

/* Runs the reader; returns what it prints. */
static GBytes *
run_reader (const char *store, const char *a, const char *b, const char *c, const char *d,
            gboolean *good)
{
  g_autofree char *reader = reader_path();
  g_autoptr (GError) error = NULL;
  g_autoptr (GSubprocess) process = g_subprocess_new (
      G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, "/usr/bin/python3", reader, store, a, b, c, d, NULL);
  GBytes *output = NULL;

  g_assert_no_error (error);
  g_subprocess_communicate (process, NULL, NULL, &output, NULL, &error);
  g_assert_no_error (error);
  *good = g_subprocess_get_successful (process);
  return output;
}

/* The reader's idea of a checkpoint's RAM is the right one. */
static void
assert_reads (const char *path, const Manifest *manifest, const guint64 *seeds)
{
  gboolean good;
  g_autoptr (GBytes) output = run_reader (path, "cat", manifest->id, "ram", "pc.ram", &good);
  gsize len;
  const guint8 *data = g_bytes_get_data (output, &len);
  guint8 page[PAGE_SIZE_BYTES];

  g_assert_true (good);
  g_assert_cmpuint (len, ==, (gsize)PAGES * PAGE_SIZE_BYTES);
  for (guint64 i = 0; i < PAGES; i++) {
    fixture_page (seeds[i], page);
    g_assert_cmpmem (data + i * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES, page, PAGE_SIZE_BYTES);
  }
}

static void
test_reads (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  g_autofree guint64 *seeds = g_new0 (guint64, PAGES);
  g_autoptr (Manifest) first = NULL;
  gboolean good;

  /* Few pages that are not zeros: the reader starts a process for each frame. */
  for (guint i = 0; i < 2000; i++)
    seeds[i * 31 % PAGES] = 1 + i;
  first = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  assert_reads (path, first, seeds);
  g_autofree guint64 *former = g_memdup2 (seeds, PAGES * sizeof *seeds);
  for (guint i = 0; i < 2500; i++) /* more than a run's node holds */
    seeds[i * 17 % PAGES] = i % 50 == 0 ? 7000 + i : i % 3;
  g_autoptr (Manifest) second = fixture_checkpoint (store, 2, seeds, PAGES, first, former);
  assert_reads (path, second, seeds);
  g_autoptr (GBytes) list = run_reader (path, "list", NULL, NULL, NULL, &good);
  g_autofree char *text = g_strndup (g_bytes_get_data (list, NULL), g_bytes_get_size (list));
  g_autofree char *expected =
      g_strdup_printf ("%s g1 ram:pc.ram:%u\n%s g1 ram:pc.ram:%u\n", first->id,
                       PAGES * PAGE_SIZE_BYTES, second->id, PAGES * PAGE_SIZE_BYTES);
  g_assert_true (good);
  g_assert_cmpstr (text, ==, expected);
}

/* Changes a line of every third page of @memory and writes these pages on top of @parent. */
static Manifest *
change_lines (Store *store, guint8 *memory, guint pages, const Manifest *parent, guint64 how)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  const PageMap *base = &manifest_find_part (parent, "ram", NULL)->map;
  g_autoptr (PageMapWriter) map_writer = page_map_writer_new (writer, base->length, base, &error);
  StoreWriterStats stats;
  PageMap map;

  g_assert_no_error (error);
  store_writer_set_delta (writer, STORE_DELTA_ALWAYS);
  for (guint64 i = 0; i < pages; i += 3) {
    guint8 *page = memory + i * PAGE_SIZE_BYTES;
    for (guint j = 0; j < (how == 0 ? 8 : 64); j++)
      page[i * 64 % PAGE_SIZE_BYTES + j] = (i + 1) * (how + j + 77) >> 3;
    page_map_writer_put (map_writer, i, page, &error);
  }
  page_map_writer_finish (map_writer, &map, NULL, &error);
  g_assert_no_error (error);
  Manifest *manifest = fixture_commit (writer, "g1", 2 + how, &map);
  store_writer_stats (writer, &stats);
  g_assert_cmpuint (stats.delta_pages, ==, (pages + 2) / 3);
  return manifest;
}

/* Pages that are stored as changes to others, with lines of both kinds. */
static void
test_deltas (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  const guint pages = 600;
  g_autofree guint64 *seeds = g_new (guint64, pages);
  g_autofree guint8 *memory = g_malloc (pages * PAGE_SIZE_BYTES);
  gboolean good;

  for (guint i = 0; i < pages; i++) {
    seeds[i] = 1 + i;
    fixture_page (seeds[i], memory + (gsize)i * PAGE_SIZE_BYTES);
  }
  g_autoptr (Manifest) first = fixture_checkpoint (store, 1, seeds, pages, NULL, NULL);
  for (guint64 how = 0; how < 2; how++) {
    g_autoptr (Manifest) next = change_lines (store, memory, pages, first, how);
    g_autoptr (GBytes) output = run_reader (path, "cat", next->id, "ram", "pc.ram", &good);
    g_assert_true (good);
    g_assert_cmpmem (g_bytes_get_data (output, NULL), g_bytes_get_size (output), memory,
                     pages * PAGE_SIZE_BYTES);
  }
  g_autoptr (GBytes) checked = run_reader (path, "check", NULL, NULL, NULL, &good);
  g_assert_true (good);
}

static gboolean
flip_pack (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  g_autofree char *path = g_build_filename (user_data, name, NULL);
  g_autofree char *contents = NULL;
  gsize len;

  g_assert_true (g_file_get_contents (path, &contents, &len, NULL));
  contents[len / 3] ^= 1;
  g_assert_true (g_file_set_contents (path, contents, len, NULL));
  return TRUE;
}

/* It can fail, too. */
static void
test_refuses (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  static const guint64 seeds[] = { 1, 2, 3 };
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, 3, NULL, NULL);
  gboolean good;

  g_autoptr (GBytes) before = run_reader (path, "check", NULL, NULL, NULL, &good);
  g_assert_true (good);
  backend->ops->list (backend, "packs/", flip_pack, path, NULL);
  g_autoptr (GBytes) after = run_reader (path, "check", NULL, NULL, NULL, &good);
  g_assert_false (good);
}

/* An encrypted one, with a key file and with a password; another key opens nothing. */
static void
test_encrypted (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (FixtureDirectory) keys = fixture_directory_new();
  g_autofree char *key_path = g_build_filename (keys, "key", NULL);
  g_autofree char *password_path = g_build_filename (keys, "password", NULL);
  g_autofree char *wrong_path = g_build_filename (keys, "wrong", NULL);
  g_autoptr (GError) error = NULL;
  gboolean good;

  g_file_set_contents (key_path, "0123456789abcdef0123456789abcdef+", -1, &error);
  g_file_set_contents (password_path, "hunter2\n", -1, &error);
  g_file_set_contents (wrong_path, "0123456789abcdef0123456789abcdef-", -1, &error);
  g_assert_no_error (error);
  g_autoptr (KeyMaterial) file = key_material_read_file (key_path, &error);
  g_autoptr (KeyMaterial) password = key_material_read_password (password_path, &error);
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  g_assert_true (store_init_encrypted (backend, file, NULL, &error));
  g_autoptr (Store) store = store_open_with_key (g_steal_pointer (&backend), file, NULL, &error);
  g_assert_no_error (error);
  g_autofree char *id = store_key_add (store, password, "word", &error);
  g_assert_no_error (error);
  g_autofree guint64 *seeds = g_new0 (guint64, 1000);
  for (guint i = 0; i < 1000; i++)
    seeds[i] = i % 5 == 0 ? 0 : i;
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, 1000, NULL, NULL);
  g_autoptr (GBytes) list = run_reader ("--key-file", key_path, path, "list", NULL, &good);
  g_assert_true (good);
  g_assert_nonnull (g_strstr_len (g_bytes_get_data (list, NULL), (gssize)g_bytes_get_size (list),
                                  "g1 ram:pc.ram:4096000"));
  g_autoptr (GBytes) checked =
      run_reader ("--password-file", password_path, path, "check", NULL, &good);
  g_assert_true (good);
  g_autoptr (GBytes) refused = run_reader ("--key-file", wrong_path, path, "check", NULL, &good);
  g_assert_false (good);
  g_autoptr (GBytes) no_key = run_reader (path, "check", NULL, NULL, NULL, &good);
  g_assert_false (good);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/reader/reads", test_reads);
  g_test_add_func ("/store/reader/deltas", test_deltas);
  g_test_add_func ("/store/reader/refuses", test_refuses);
  g_test_add_func ("/store/reader/encrypted", test_encrypted);
  return g_test_run();
}
