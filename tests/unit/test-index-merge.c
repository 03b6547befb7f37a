/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Merging index tables: nothing is lost, nothing is there twice, nothing grows without bound. */
#include "index-make.h"
#include "index-merge.h"
#include "watched-backend.h"

#include <vmckpt/store/store.h>

static const HashKey key = { { 9 } };

typedef struct {
  WatchedBackend *watched;
  Backend *backend;
  BlockCache *cache;
  IndexMedium medium;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer unused)
{
  fixture->watched = watched_backend_new (backend_memory_new(), "index/");
  fixture->backend = &fixture->watched->backend;
  fixture->cache = block_cache_new (64 * CACHE_BLOCK_BYTES);
  fixture->medium = (IndexMedium){ fixture->backend, fixture->cache, &key };
}

static void
tear_down (Fixture *fixture, gconstpointer unused)
{
  block_cache_free (fixture->cache);
  backend_free (fixture->backend);
}

static IndexTable *
open_table (Fixture *fixture, const char *object)
{
  g_autoptr (GError) error = NULL;
  guint64 size;

  fixture->backend->ops->stat (fixture->backend, object, &size, &error);
  g_assert_no_error (error);
  IndexTable *table = index_table_open (&fixture->medium, object, size, &error);
  g_assert_no_error (error);
  return table;
}

static IndexTable *
put_table (Fixture *fixture, guint64 from, guint count)
{
  g_autoptr (IndexContents) contents = made_contents (&key, from, count);
  g_autoptr (GError) error = NULL;
  ChunkName hash;
  g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, &key, &hash);
  g_autofree char *object = object_name ("index", &hash);
  gboolean existed;

  fixture->backend->ops->put_if_absent (fixture->backend, object, bytes, &existed, &error);
  g_assert_no_error (error);
  return open_table (fixture, object);
}

static IndexTable *
merge (Fixture *fixture, GPtrArray *tables, GHashTable *skip)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *object = NULL;
  guint64 size;
  ChunkName hash;

  g_assert_true (index_merge_tables (&fixture->medium, tables, skip, &object, &size, NULL, &error));
  g_assert_no_error (error);
  if (object == NULL)
    return NULL;
  IndexTable *merged = open_table (fixture, object);
  g_assert_cmpuint (index_table_size (merged), ==, size);
  g_assert_true (object_name_parse (object, "index", &hash));
  g_assert_true (index_table_verify (merged, &hash));
  return merged;
}

/* TRUE if chunk @i is found, at its place. */
static gboolean
has (IndexTable *table, guint64 i)
{
  ChunkName name = made_name (&key, i), found;
  ChunkName pack = made_name (&key, MADE_PACKS_FROM + i / MADE_PER_PACK * MADE_PER_PACK);
  gint64 at = index_table_find (table, &name);
  ChunkLocation location;

  g_assert_cmpint (index_table_failure (table), ==, INDEX_GOOD);
  if (at < 0)
    return FALSE;
  g_assert_true (index_table_entry (table, at, &found, &location, NULL));
  g_assert_true (chunk_name_equal (&found, &name));
  g_assert_true (chunk_name_equal (&location.pack, &pack));
  g_assert_cmpuint (location.pack_size, ==, 8000000 + i / MADE_PER_PACK * MADE_PER_PACK);
  g_assert_cmpuint (location.frame.offset, ==, 16 + i % MADE_PER_PACK / 16 * 1600);
  g_assert_cmpuint (location.offset, ==, i % 16 * 4096);
  return TRUE;
}

static void
test_all (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GPtrArray) tables = g_ptr_array_new_with_free_func ((GDestroyNotify)index_table_unref);

  g_ptr_array_add (tables, put_table (fixture, 0, 16000));
  g_ptr_array_add (tables, put_table (fixture, 48000, 100));
  g_ptr_array_add (tables, put_table (fixture, 16000, 32000));
  g_autoptr (IndexTable) merged = merge (fixture, tables, NULL);
  g_assert_cmpuint (index_table_entries (merged), ==, 48100);
  for (guint i = 0; i < 48200; i++)
    g_assert_true (has (merged, i) == (i < 48100));
  /* A stream, not an object in memory; read in pieces. */
  g_assert_cmpuint (fixture->watched->stream_bytes, ==, index_table_size (merged));
  g_assert_cmpuint (fixture->watched->largest_get, <=, 256 * 1024);
}

/* A pack that two tables name is taken once; what is the same is the same table. */
static void
test_twice (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GPtrArray) tables = g_ptr_array_new_with_free_func ((GDestroyNotify)index_table_unref);

  g_ptr_array_add (tables, put_table (fixture, 0, 8000));
  g_autoptr (IndexTable) same = merge (fixture, tables, NULL);
  g_assert_cmpstr (index_table_object (same), ==, index_table_object (tables->pdata[0]));
  g_ptr_array_add (tables, put_table (fixture, 3200, 8000));
  g_autoptr (IndexTable) merged = merge (fixture, tables, NULL);
  g_assert_cmpuint (index_table_packs (merged), ==, 7);
  g_assert_cmpuint (index_table_frames (merged), ==, 700);
  g_assert_cmpuint (index_table_entries (merged), ==, 11200);
  for (guint i = 0; i < 11200; i++)
    g_assert_true (has (merged, i));
}

/* Without some packs exactly the others are left; without all of them, nothing. */
static void
test_skip (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GPtrArray) tables = g_ptr_array_new_with_free_func ((GDestroyNotify)index_table_unref);
  g_autoptr (GHashTable) skip = g_hash_table_new (chunk_name_hash, chunk_name_equal);
  ChunkName gone = made_name (&key, MADE_PACKS_FROM + 1600);

  g_ptr_array_add (tables, put_table (fixture, 0, 5000));
  g_hash_table_add (skip, &gone);
  g_autoptr (IndexTable) rest = merge (fixture, tables, skip);
  g_assert_cmpuint (index_table_packs (rest), ==, 3);
  g_assert_cmpuint (index_table_entries (rest), ==, 3400);
  for (guint i = 0; i < 5000; i++)
    g_assert_true (has (rest, i) == (i < 1600 || i >= 3200));
  g_ptr_array_set_size (tables, 0);
  g_ptr_array_add (tables, put_table (fixture, 1600, 1600));
  g_assert_null (merge (fixture, tables, skip));
}

/* A table that cannot be read is an error, and nothing is put. */
static void
test_failing (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GPtrArray) tables = g_ptr_array_new_with_free_func ((GDestroyNotify)index_table_unref);
  g_autoptr (GError) error = NULL;
  g_autofree char *object = NULL;
  guint64 size;

  g_ptr_array_add (tables, put_table (fixture, 0, 8000));
  g_ptr_array_add (tables, put_table (fixture, 8000, 8000));
  fixture->watched->fail_prefix = index_table_object (tables->pdata[1]);
  fixture->watched->fail_from = index_table_size (tables->pdata[1]) - 1;
  fixture->watched->fail_code = G_IO_ERROR_FAILED;
  g_assert_false (
      index_merge_tables (&fixture->medium, tables, NULL, &object, &size, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_null (object);
  g_assert_cmpint (index_table_failure (tables->pdata[1]), ==, INDEX_BROKEN);
  g_assert_cmpint (index_table_failure (tables->pdata[0]), ==, INDEX_GOOD);
  g_assert_cmpuint (fixture->watched->puts, ==, 2);
  g_assert_cmpuint (fixture->watched->stream_bytes, ==, 0);
}

/* A thousand transactions of the same size: an entry is written again a number of times that grows
 * as the logarithm, and so does the number of tables. */
static void
test_choose (Fixture *fixture, gconstpointer unused)
{
  const guint transactions = 1024, entries = 16;
  g_autoptr (GPtrArray) tables = g_ptr_array_new_with_free_func ((GDestroyNotify)index_table_unref);
  guint64 rewritten = 0;
  guint most = 0;

  for (guint i = 0; i < transactions; i++) {
    g_ptr_array_add (tables, put_table (fixture, (guint64)i * MADE_PER_PACK, entries));
    for (;;) {
      g_autoptr (GPtrArray) chosen = index_merge_choose (tables);
      if (chosen == NULL)
        break;
      IndexTable *merged = merge (fixture, chosen, NULL);
      rewritten += index_table_entries (merged);
      for (guint j = 0; j < chosen->len; j++)
        g_ptr_array_remove (tables, chosen->pdata[j]);
      g_ptr_array_add (tables, merged);
    }
    most = MAX (most, tables->len);
  }
  g_assert_cmpuint (most, <=, 3 + 10);
  g_assert_cmpuint (rewritten, <=, (guint64)10 * transactions * entries);
  g_assert_cmpuint (rewritten, >, transactions * entries);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/store/index-merge/all", Fixture, NULL, set_up, test_all, tear_down);
  g_test_add ("/store/index-merge/twice", Fixture, NULL, set_up, test_twice, tear_down);
  g_test_add ("/store/index-merge/skip", Fixture, NULL, set_up, test_skip, tear_down);
  g_test_add ("/store/index-merge/failing", Fixture, NULL, set_up, test_failing, tear_down);
  g_test_add ("/store/index-merge/choose", Fixture, NULL, set_up, test_choose, tear_down);
  return g_test_run();
}
