/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cache of blocks: what is read is right, is asked for once, and stays within bounds. */
#include "block-cache.h"
#include "watched-backend.h"

#define OBJECT_BYTES (100 * CACHE_BLOCK_BYTES + 17)

typedef struct {
  WatchedBackend *watched;
  Backend *backend;
  guint8 *content;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (5);
  g_autoptr (GError) error = NULL;
  gboolean existed;

  fixture->watched = watched_backend_new (backend_memory_new(), "index/");
  fixture->backend = &fixture->watched->backend;
  fixture->content = g_malloc (OBJECT_BYTES);
  for (guint i = 0; i < OBJECT_BYTES; i++)
    fixture->content[i] = g_rand_int (random);
  g_autoptr (GBytes) bytes = g_bytes_new (fixture->content, OBJECT_BYTES);
  fixture->backend->ops->put_if_absent (fixture->backend, "index/o", bytes, &existed, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *fixture, gconstpointer unused)
{
  backend_free (fixture->backend);
  g_free (fixture->content);
}

static void
assert_reads (Fixture *fixture, BlockCache *cache, guint64 number, guint ahead, guint64 offset,
              gsize len)
{
  g_autofree guint8 *data = g_malloc (len + 1);
  g_autoptr (GError) error = NULL;

  g_assert_true (block_cache_read (cache, fixture->backend, "index/o", number, OBJECT_BYTES, ahead,
                                   offset, data, len, &error));
  g_assert_no_error (error);
  g_assert_cmpmem (data, len, fixture->content + offset, len);
}

/* Any range, in any order, is what is there; never more is kept than the bound. */
static void
test_ranges (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (BlockCache) cache = block_cache_new (16 * CACHE_BLOCK_BYTES);
  g_autoptr (GRand) random = g_rand_new_with_seed (6);
  guint64 number = block_cache_number (cache);
  BlockCacheStats stats;

  for (guint i = 0; i < 5000; i++) {
    guint64 offset = g_rand_int_range (random, 0, OBJECT_BYTES);
    gsize len = g_rand_int_range (random, 0, MIN (OBJECT_BYTES - offset, 20000) + 1);
    assert_reads (fixture, cache, number, 1 + i % 2 * 3, offset, len);
    block_cache_stats (cache, &stats);
    g_assert_cmpuint (stats.kept_bytes, <=, stats.max_bytes);
  }
  g_assert_cmpuint (stats.max_bytes, ==, 16 * CACHE_BLOCK_BYTES);
  assert_reads (fixture, cache, number, 1, OBJECT_BYTES - 1, 1);
}

/* A block is read once; reading ahead takes its neighbours along; two objects are not mixed up. */
static void
test_kept (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (BlockCache) cache = block_cache_new (1024 * CACHE_BLOCK_BYTES);
  guint64 one = block_cache_number (cache), other = block_cache_number (cache);

  assert_reads (fixture, cache, one, 1, 100, 8);
  assert_reads (fixture, cache, one, 1, 3000, 1000);
  g_assert_cmpuint (fixture->watched->gets, ==, 1);
  g_assert_cmpuint (fixture->watched->get_bytes, ==, CACHE_BLOCK_BYTES);
  assert_reads (fixture, cache, one, 16, 20 * CACHE_BLOCK_BYTES, 8);
  g_assert_cmpuint (fixture->watched->gets, ==, 2);
  for (guint i = 16; i < 32; i++)
    assert_reads (fixture, cache, one, 16, i * CACHE_BLOCK_BYTES + 5, 8);
  g_assert_cmpuint (fixture->watched->gets, ==, 2);
  assert_reads (fixture, cache, other, 1, 100, 8);
  g_assert_cmpuint (fixture->watched->gets, ==, 3);
}

/* What was used last stays. */
static void
test_oldest_goes (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (BlockCache) cache = block_cache_new (8 * CACHE_BLOCK_BYTES);
  guint64 number = block_cache_number (cache);

  for (guint i = 0; i < 50; i++) {
    assert_reads (fixture, cache, number, 1, 0, 8);
    assert_reads (fixture, cache, number, 1, (i + 1) * CACHE_BLOCK_BYTES, 8);
  }
  g_assert_cmpuint (fixture->watched->gets, ==, 51);
}

static void
test_error (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (BlockCache) cache = block_cache_new (8 * CACHE_BLOCK_BYTES);
  guint64 number = block_cache_number (cache);
  g_autoptr (GError) error = NULL;
  guint8 data[8];

  fixture->watched->fail_prefix = "index/";
  fixture->watched->fail_code = G_IO_ERROR_FAILED;
  g_assert_false (block_cache_read (cache, fixture->backend, "index/o", number, OBJECT_BYTES, 1, 0,
                                    data, 8, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  fixture->watched->fail_prefix = NULL;
  assert_reads (fixture, cache, number, 1, 0, 8);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/store/block-cache/ranges", Fixture, NULL, set_up, test_ranges, tear_down);
  g_test_add ("/store/block-cache/kept", Fixture, NULL, set_up, test_kept, tear_down);
  g_test_add ("/store/block-cache/oldest-goes", Fixture, NULL, set_up, test_oldest_goes, tear_down);
  g_test_add ("/store/block-cache/error", Fixture, NULL, set_up, test_error, tear_down);
  return g_test_run();
}
