/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Index tables: every entry is found, nothing else is; damage is noticed or harmless. */
#include "store-fixture.h"

#include "index-table.h"
#include "name-set.h"
#include "watched-backend.h"

static const HashKey key = { { 9 } };

static ChunkName
name_of (guint64 i)
{
  ChunkName name;
  chunk_name_of (&key, &i, sizeof i, &name);
  return name;
}

/* A table of @count chunks, 16 to a frame, 100 frames to a pack. */
static IndexContents *
make (guint count)
{
  IndexContents *contents = index_contents_new();

  for (guint i = 0; i < count; i++) {
    if (i % 1600 == 0) {
      IndexPack pack = { name_of (1000000 + i), 8000000 + i, 1600, PACK_DATA };
      g_array_append_val (contents->packs, pack);
    }
    if (i % 16 == 0) {
      IndexFrame frame = { contents->packs->len - 1,
                           { 16 + i % 1600 * 100, 30000, 65536, 16, FRAME_ZSTD } };
      g_array_append_val (contents->frames, frame);
    }
    IndexEntry entry = { name_of (i), contents->frames->len - 1, i % 16 * 4096, 4096 };
    g_array_append_val (contents->entries, entry);
  }
  return contents;
}

static void
assert_has (IndexTable *table, guint i)
{
  ChunkName name = name_of (i), found, pack = name_of (1000000 + i / 1600 * 1600);
  gint64 at = index_table_find (table, &name);
  ChunkLocation location;
  guint number;

  g_assert_cmpint (at, >=, 0);
  g_assert_true (index_table_entry (table, at, &found, &location, &number));
  g_assert_true (chunk_name_equal (&found, &name));
  g_assert_true (chunk_name_equal (&location.pack, &pack));
  g_assert_cmpuint (number, ==, i / 1600);
  g_assert_cmpuint (location.frame.offset, ==, 16 + i % 1600 / 16 * 1600);
  g_assert_cmpuint (location.offset, ==, i % 16 * 4096);
  g_assert_cmpuint (location.pack_size, ==, 8000000 + i / 1600 * 1600);
}

static void
test_find (void)
{
  static const guint sizes[] = { 0, 1, 63, 65, 5000, 40000 };

  for (guint s = 0; s < G_N_ELEMENTS (sizes); s++) {
    g_autoptr (IndexContents) contents = make (sizes[s]);
    g_autoptr (GError) error = NULL;
    ChunkName hash;
    g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, &key, &hash);
    g_autoptr (IndexTable) table = index_table_new ("index/x", bytes, &key, &error);
    g_assert_no_error (error);
    g_assert_true (index_table_verify (table, &hash));
    g_assert_cmpuint (index_table_entries (table), ==, sizes[s]);
    for (guint i = 0; i < sizes[s]; i++)
      assert_has (table, i);
    for (guint i = 0; i < 100; i++) {
      ChunkName other = name_of (2000000 + i);
      g_assert_cmpint (index_table_find (table, &other), ==, -1);
    }
  }
}

/* Any byte wrong: refused at once, or noticed by verify; never a crash, never a lookup out of
 * bounds. */
static void
test_damage (void)
{
  g_autoptr (IndexContents) contents = make (200);
  ChunkName hash;
  g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, &key, &hash);
  gsize len;
  const guint8 *data = g_bytes_get_data (bytes, &len);

  for (gsize at = 0; at < len; at++) {
    g_autofree guint8 *copy = g_memdup2 (data, len);
    copy[at] ^= 0x80;
    g_autoptr (GBytes) flipped = g_bytes_new (copy, len);
    g_autoptr (GBytes) cut = g_bytes_new (data, at);
    g_assert_null (index_table_new ("index/x", cut, &key, NULL));
    g_autoptr (IndexTable) table = index_table_new ("index/x", flipped, &key, NULL);
    if (table == NULL)
      continue;
    g_assert_false (index_table_verify (table, &hash));
    for (guint i = 0; i < 200; i++) {
      ChunkName name = name_of (i);
      ChunkLocation location;
      gint64 place = index_table_find (table, &name);
      if (place >= 0)
        index_table_entry (table, place, &name, &location, NULL);
    }
  }
}

/* What cannot be read is no answer, and the table says why; nothing else is hurt. */
static void
test_failing (void)
{
  static const struct {
    int code;
    IndexFailure failure;
  } cases[] = { { G_IO_ERROR_FAILED, INDEX_BROKEN },
                { G_IO_ERROR_PARTIAL_INPUT, INDEX_BROKEN },
                { G_IO_ERROR_NOT_FOUND, INDEX_GONE },
                { G_IO_ERROR_TOO_MANY_OPEN_FILES, INDEX_GONE } };
  g_autoptr (IndexContents) contents = make (40000);
  ChunkName hash, name = name_of (7), last = name_of (39999);
  g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, &key, &hash);
  g_autofree char *object = object_name ("index", &hash);
  WatchedBackend *watched = watched_backend_new (backend_memory_new(), "index/");
  g_autoptr (Backend) backend = &watched->backend;
  g_autoptr (BlockCache) cache = block_cache_new (64 * CACHE_BLOCK_BYTES);
  IndexMedium medium = { backend, cache, &key };
  gsize size = g_bytes_get_size (bytes);
  g_autoptr (GError) error = NULL;
  gboolean existed;

  g_assert_true (backend->ops->put_if_absent (backend, object, bytes, &existed, &error));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    watched->fail_prefix = NULL;
    g_autoptr (IndexTable) table = index_table_open (&medium, object, size, &error);
    g_assert_no_error (error);
    assert_has (table, 7);
    watched->fail_prefix = "index/";
    watched->fail_code = cases[i].code;
    g_assert_cmpint (index_table_failure (table), ==, INDEX_GOOD);
    for (guint j = 0; j < 40000 && index_table_failure (table) == INDEX_GOOD; j++) {
      ChunkName some = name_of (j);
      index_table_find (table, &some); /* until one is not in the cache */
    }
    g_assert_cmpint (index_table_find (table, &last), ==, -1);
    g_assert_cmpint (index_table_find (table, &name), ==, -1);
    g_assert_cmpint (index_table_failure (table), ==, cases[i].failure);
    g_assert_false (index_table_check (table, &error));
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
    g_clear_error (&error);
    g_assert_null (index_table_open (&medium, object, size, &error));
    g_assert_cmpint (error->domain == STORE_ERROR, ==, cases[i].failure == INDEX_BROKEN);
    g_clear_error (&error);
  }
}

static void
test_name_set (void)
{
  g_autoptr (NameSet) set = name_set_new();

  for (guint i = 0; i < 20000; i++) {
    ChunkName name = name_of (i);
    g_assert_false (name_set_contains (set, &name));
    g_assert_true (name_set_add (set, &name));
    g_assert_false (name_set_add (set, &name));
  }
  g_assert_cmpuint (name_set_size (set), ==, 20000);
  for (guint i = 0; i < 40000; i++) {
    ChunkName name = name_of (i);
    g_assert_true (name_set_contains (set, &name) == (i < 20000));
  }
  name_set_clear (set);
  g_assert_cmpuint (name_set_size (set), ==, 0);
}

/* Names that crowd where nobody would look for them, and are there many times: no hash makes such.
 */
static void
test_uneven (void)
{
  for (guint copies = 1; copies <= 40; copies += 13) {
    g_autoptr (IndexContents) contents = make (0);
    IndexPack pack = { name_of (1), 8000000, 1600, PACK_DATA };
    IndexFrame frame = { 0, { 16, 30000, 65536, 16, FRAME_ZSTD } };
    g_autoptr (GError) error = NULL;
    ChunkName hash;

    g_array_append_val (contents->packs, pack);
    g_array_append_val (contents->frames, frame);
    for (guint i = 0; i < 600; i++) {
      IndexEntry entry = { name_of (0), 0, i % 16 * 4096, 4096 };
      memset (entry.name.bytes, i < 300 ? 0x01 : 0xfe, 30);
      entry.name.bytes[30] = i / copies / 256;
      entry.name.bytes[31] = i / copies % 256;
      g_array_append_val (contents->entries, entry);
    }
    g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, &key, &hash);
    g_autoptr (IndexTable) table = index_table_new ("index/x", bytes, &key, &error);
    g_assert_no_error (error);
    for (guint i = 0; i < 600; i++) {
      const ChunkName *name = &g_array_index (contents->entries, IndexEntry, i).name;
      guint first = i;
      while (first > 0 && chunk_name_equal (
                              &g_array_index (contents->entries, IndexEntry, first - 1).name, name))
        first--;
      g_assert_cmpint (index_table_find (table, name), ==, first);
    }
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/index-table/find", test_find);
  g_test_add_func ("/store/index-table/uneven", test_uneven);
  g_test_add_func ("/store/index-table/failing", test_failing);
  g_test_add_func ("/store/index-table/damage", test_damage);
  g_test_add_func ("/store/name-set", test_name_set);
  return g_test_run();
}
