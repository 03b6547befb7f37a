/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The index as a whole: a table that fails or goes away in the middle of it all. */
#include "index-make.h"
#include "index.h"
#include "store-fixture.h"
#include "store-private.h"
#include "watched-backend.h"

static const HashKey key = { { 9 } };

/* Publishes a table of made-up chunks. */
static char *
publish (Index *index, guint64 from, guint count)
{
  g_autoptr (IndexContents) contents = made_contents (&key, from, count);
  g_autoptr (GError) error = NULL;
  char *object = NULL;

  index_publish (index, contents, NULL, &object, &error);
  g_assert_no_error (error);
  return object;
}

static gboolean
finds (IndexView *view, guint64 i)
{
  ChunkName name = made_name (&key, i);
  ChunkLocation location;

  return index_view_find (view, &name, NULL, FALSE, &location);
}

static gboolean
yes (gpointer user_data)
{
  return TRUE;
}

/* Somebody merges the tables of a view that is in use: it says so, and the next one finds all. */
static void
test_replaced (void)
{
  g_autoptr (Backend) backend = backend_memory_new();
  g_autoptr (Index) index = index_new (backend, &key);
  g_autoptr (Index) other = index_new (backend, &key);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < 4; i++)
    g_free (publish (index, i * 16000, 16000));
  g_autoptr (IndexView) view = index_reload (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (view->tables->len, ==, 4);
  g_autoptr (IndexView) others = index_reload (other, &error);
  g_assert_true (index_merge (other, others, yes, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (index_view_failed (view));
  g_assert_false (finds (view, 40001));
  g_assert_true (index_view_failed (view));
  g_autoptr (IndexView) after = index_reload (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (after->tables->len, ==, 1);
  g_assert_true (finds (after, 40001));
  g_assert_false (index_view_failed (after));
}

/* A medium that fails in the middle of one table: that one is damaged, the others are used, and
 * nobody tries it again until the index is recovered. */
static void
test_unreadable (void)
{
  WatchedBackend *watched = watched_backend_new (backend_memory_new(), "index/");
  g_autoptr (Backend) backend = &watched->backend;
  g_autoptr (Index) index = index_new (backend, &key);
  g_autofree char *bad = publish (index, 0, 40000);
  g_autofree char *good = publish (index, 48000, 16000);
  g_autoptr (GError) error = NULL;

  g_autoptr (IndexView) view = index_reload (index, &error);
  g_assert_no_error (error);
  watched->fail_prefix = bad;
  watched->fail_from = 100000;
  watched->fail_code = G_IO_ERROR_FAILED;
  for (guint i = 0; i < 40000; i++)
    finds (view, i);
  g_assert_true (index_view_failed (view));
  g_assert_true (finds (view, 50000));
  for (int attempt = 0; attempt < 2; attempt++) {
    g_autoptr (IndexView) after = index_reload (index, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (after->tables->len, ==, 1);
    g_assert_cmpuint (after->damaged->len, ==, 1);
    g_assert_cmpstr (after->damaged->pdata[0], ==, bad);
    g_assert_true (finds (after, 50000));
    g_assert_false (index_view_failed (after));
  }
  watched->fail_prefix = NULL;
  g_autoptr (IndexView) mended = index_recover (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (mended->damaged->len, ==, 0);
  g_assert_true (finds (mended, 39999));
}

/* A table that was right when it was opened, and is not when it would be merged: nothing that is
 * wrong in it gets a new, right hash; it stays, as a damaged one. */
static void
test_merge_damaged (void)
{
  g_autoptr (Backend) backend = backend_memory_new();
  g_autoptr (Index) index = index_new (backend, &key);
  g_autoptr (GPtrArray) objects = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  guint64 size = 0;

  for (guint i = 0; i < 4; i++)
    g_ptr_array_add (objects, publish (index, i * 16000, 16000));
  g_autoptr (IndexView) view = index_reload (index, &error);
  g_assert_no_error (error);
  g_assert_true (backend->ops->stat (backend, objects->pdata[2], &size, &error));
  /* The last byte of a name: they are still in order. */
  fixture_spoil (backend, objects->pdata[2], size, size - 44 * 8000 + 31);
  g_assert_false (index_merge (index, view, yes, NULL, NULL, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_clear_error (&error);
  g_assert_cmpuint (fixture_count_objects (backend, "index/"), ==, 4);
  g_autoptr (IndexView) after = index_reload (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (after->damaged->len, ==, 1);
  g_assert_cmpstr (after->damaged->pdata[0], ==, objects->pdata[2]);
}

#define PAGES 6000

/* Reading a checkpoint goes on by way of the packs when a table cannot be read any more; so does
 * writing, and gc replaces the table. */
static void
test_through_damage (void)
{
  WatchedBackend *watched = watched_backend_new (backend_memory_new(), "index/");
  g_autoptr (Store) store = fixture_store_new (&watched->backend);
  g_autofree guint64 *seeds = g_new (guint64, PAGES);
  g_autoptr (GPtrArray) findings = NULL;
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i + 1;
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  watched->fail_prefix = "index/";
  watched->fail_from = 70000;
  watched->fail_code = G_IO_ERROR_FAILED;
  fixture_assert_checkpoint (store, one->id, seeds, PAGES);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, seeds, PAGES, NULL, NULL);
  fixture_assert_checkpoint (store, two->id, seeds, PAGES);
  g_assert_true (store_check (store, FALSE, &findings, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (findings->len, >, 0);
  g_assert_true (g_str_has_prefix (((StoreFinding *)findings->pdata[0])->object, "index/"));
  watched->fail_prefix = NULL;
  fixture_assert_checkpoint (store, one->id, seeds, PAGES);
}

/* A view that was listed earlier does not take the place of one that was listed later. */
static void
test_older_view (void)
{
  g_autoptr (Backend) backend = backend_memory_new();
  g_autoptr (Index) index = index_new (backend, &key);
  g_autoptr (GError) error = NULL;
  g_autoptr (IndexView) first = index_reload (index, &error);
  g_autoptr (IndexView) second = index_reload (index, &error);

  g_assert_cmpuint (first->serial, <, second->serial);
  g_autoptr (IndexView) known = index_view (index, &error);
  g_assert_true (known == second);
}

/* Lookups in tables far greater than the cache: what is kept stays within its bound, and each reads
 * a few blocks only. */
static void
test_bounded (void)
{
  const guint tables = 3, entries = 400000;
  WatchedBackend *watched = watched_backend_new (backend_memory_new(), "index/");
  g_autoptr (Backend) backend = &watched->backend;
  g_autoptr (Index) index = index_new (backend, &key);
  g_autoptr (GError) error = NULL;
  BlockCacheStats stats;

  for (guint i = 0; i < tables; i++)
    g_free (publish (index, (guint64)i * entries, entries));
  g_autoptr (IndexView) view = index_reload (index, &error);
  g_assert_no_error (error);
  watched->gets = watched->get_bytes = watched->largest_get = 0;
  for (guint i = 0; i < 20000; i++) {
    g_assert_false (finds (view, 5000000 + i));
    g_assert_true (finds (view, (guint64)i * 59));
  }
  index_cache_stats (index, &stats);
  g_assert_cmpuint (stats.max_bytes, ==, INDEX_CACHE_BYTES);
  g_assert_cmpuint (stats.kept_bytes, <=, stats.max_bytes);
  g_assert_cmpuint (stats.kept_bytes, >, stats.max_bytes / 2);
  /* A bucket, its fan-out, the frame and the pack: at most five blocks per table and lookup. */
  g_assert_cmpuint (watched->gets, <=, 40000 * tables * 5);
  g_assert_cmpuint (watched->largest_get, <=, 3 * CACHE_BLOCK_BYTES);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/index/replaced", test_replaced);
  g_test_add_func ("/store/index/unreadable", test_unreadable);
  g_test_add_func ("/store/index/merge-damaged", test_merge_damaged);
  g_test_add_func ("/store/index/through-damage", test_through_damage);
  g_test_add_func ("/store/index/older-view", test_older_view);
  g_test_add_func ("/store/index/bounded", test_bounded);
  return g_test_run();
}
