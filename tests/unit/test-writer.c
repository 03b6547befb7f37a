/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Transactions: what is committed is there and right, what is not leaves nothing. */
#include "store-fixture.h"

#include "store-private.h"
#include "watched-backend.h"
#include "writer-private.h"

#define PAGES 3000

static guint64 *
seeds_new (guint64 first)
{
  guint64 *seeds = g_new (guint64, PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i % 7 == 0 ? 0 : first + i;
  return seeds;
}

/* A full checkpoint and one on top of it read back as they were written. */
static void
test_round_trip (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *first = seeds_new (1000);
  g_autofree guint64 *second = g_memdup2 (first, PAGES * sizeof *first);

  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
  second[5] = 77;
  second[6] = 0;
  second[7] = 78;
  second[2999] = 79;
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, second, PAGES, one, first);
  fixture_assert_checkpoint (store, one->id, first, PAGES);
  fixture_assert_checkpoint (store, two->id, second, PAGES);
}

/* The four fates of a page are told apart. */
static void
test_stats (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autofree guint64 *changed = g_memdup2 (seeds, PAGES * sizeof *seeds);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  const PageMap *base = &manifest_find_part (one, "ram", NULL)->map;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMapStats stats;
  StoreWriterStats totals;

  g_assert_no_error (error);
  changed[1] = seeds[2]; /* known */
  changed[3] = 5000000;  /* fresh */
  changed[4] = 5000000;  /* the same again: known */
  changed[8] = 0;        /* zero */
  fixture_write_map (writer, changed, PAGES, base, NULL, &stats);
  g_assert_cmpuint (stats.put, ==, PAGES);
  g_assert_cmpuint (stats.fresh, ==, 1);
  g_assert_cmpuint (stats.known, ==, 2);
  g_assert_cmpuint (stats.zero, ==, (PAGES + 6) / 7 + 1);
  g_assert_cmpuint (stats.unchanged, ==, PAGES - stats.zero - 3);
  store_writer_flush (writer, NULL, &error);
  g_assert_no_error (error);
  store_writer_stats (writer, &totals);
  g_assert_cmpuint (totals.new_bytes, ==, PAGE_SIZE_BYTES);
  g_assert_cmpuint (totals.stored_bytes, >, PAGE_SIZE_BYTES / 2);
}

typedef struct {
  Store *store;
  const char *const *id;
  guint calls;
} Told;

static void
on_commit (gpointer user_data)
{
  Told *told = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) there = store_manifest_load (told->store, *told->id, &error);

  g_assert_no_error (error);
  told->calls++;
}

/* Whoever waits for a checkpoint is told once, when it is there; of one that fails nobody is. */
static void
test_told_of_commit (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);
  g_autoptr (GCancellable) cancelled = g_cancellable_new();
  Told told = { store, (const char *const *)&manifest->id, 0 };

  g_assert_no_error (error);
  PageMap map = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  store_writer_on_commit (writer, on_commit, &told);
  g_cancellable_cancel (cancelled);
  g_assert_false (store_writer_commit (writer, manifest, cancelled, NULL));
  g_assert_cmpuint (told.calls, ==, 0);
  g_assert_true (store_writer_commit (writer, manifest, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (told.calls, ==, 1);
}

/* A transaction that is dropped leaves nothing behind. */
static void
test_abort (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (GError) error = NULL;
  StoreWriter *writer = store_writer_begin (store, &error);

  g_assert_no_error (error);
  fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 1);
  store_writer_free (writer);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, 1);
}

/* Odd sizes of plain data survive. */
static void
test_put_data (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  static const gsize sizes[] = { 0, 1, 4095, 4096, 4097, 300000 };
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMap maps[G_N_ELEMENTS (sizes)];
  g_autofree guint8 *data = g_malloc (300000);

  for (guint i = 0; i < 300000; i++)
    data[i] = i * i >> 3;
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    g_assert_true (store_writer_put_data (writer, data, sizes[i], &maps[i], &error));
  g_assert_true (store_writer_flush (writer, NULL, &error));
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autoptr (GBytes) bytes = store_read_data (store, &maps[i], 300000, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), data, sizes[i]);
  }
  g_assert_null (store_read_data (store, &maps[5], 299999, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
}

/* Pages put again, in any order, also back to what the base has. */
static void
test_put_again (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  const PageMap *base = &manifest_find_part (one, "ram", NULL)->map;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (PageMapWriter) pages = page_map_writer_new (writer, base->length, base, &error);
  guint8 page[PAGE_SIZE_BYTES];
  PageMap map;

  g_assert_no_error (error);
  for (guint round = 0; round < 3; round++) {
    for (guint i = PAGES; i-- > 2000;) {
      fixture_page (round < 2 ? 90000 + round * PAGES + i : i % 2 ? seeds[i] : i, page);
      g_assert_true (page_map_writer_put (pages, i, page, &error));
    }
  }
  g_assert_true (page_map_writer_put (pages, 0, NULL, &error));
  g_assert_true (page_map_writer_finish (pages, &map, NULL, &error));
  for (guint i = 2000; i < PAGES; i++)
    seeds[i] = i % 2 ? seeds[i] : i;
  g_autoptr (Manifest) two = fixture_commit (writer, "g1", 2, &map);
  fixture_assert_checkpoint (store, two->id, seeds, PAGES);
  g_assert_false (page_map_writer_put (pages, PAGES, page, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

#define MANY 40000
#define MANY_LEAVES ((MANY + 255) / 256)

/* A transaction far beyond what it may remember: it publishes and folds on the way. In ascending
 * order nearly every leaf is written once. */
static void
test_bounded (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = g_new (guint64, MANY);
  g_autoptr (GRand) random = g_rand_new_with_seed (3);
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  const guint changes = 5120;
  guint8 page[PAGE_SIZE_BYTES];
  StoreWriterStats stats;
  PageMapStats counts;
  PageMap map;

  g_assert_no_error (error);
  store_writer_set_bounds (writer, (WriterBounds){ 4000, changes });
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, (guint64)MANY * PAGE_SIZE_BYTES, NULL, &error);
  for (guint i = 0; i < MANY; i++) {
    seeds[i] = 1 + i;
    fixture_page (seeds[i], page);
    g_assert_true (page_map_writer_put (pages, i, page, &error));
    g_assert_cmpuint (pipeline_unsealed (store_writer_pipeline (writer)), <=, 4000 + 16 * 256);
  }
  store_writer_stats (writer, &stats);
  /* The leaf in which a fold ends is written again, and the node above it. */
  guint folds = MANY / changes;
  g_assert_cmpuint (stats.metadata_bytes, >=, MANY_LEAVES / 2 * 8200);
  g_assert_cmpuint (stats.metadata_bytes, <=, (MANY_LEAVES + 3 * (folds + 1)) * 8200);
  g_assert_cmpuint (fixture_count_objects (store->backend, "index/"), >, 1);
  for (guint i = 0; i < 12000; i++) {
    guint at = g_rand_int_range (random, 0, MANY);
    seeds[at] = g_rand_int_range (random, 1, 60000);
    fixture_page (seeds[at], page);
    g_assert_true (page_map_writer_put (pages, at, page, &error));
  }
  g_assert_true (page_map_writer_finish (pages, &map, &counts, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (counts.put, ==, MANY + 12000);
  g_autoptr (Manifest) one = fixture_commit (writer, "g1", 1, &map);
  fixture_assert_checkpoint (store, one->id, seeds, MANY);
}

/* One that gives up after it has published: what nobody knows of goes at once, the rest with gc. */
static void
test_bounded_abort (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  StoreWriter *writer = store_writer_begin (store, &error);
  guint8 page[PAGE_SIZE_BYTES];
  StoreGcReport report;

  store_writer_set_bounds (writer, (WriterBounds){ 1000, 100000 });
  PageMapWriter *pages = page_map_writer_new (writer, 20000 * PAGE_SIZE_BYTES, NULL, &error);
  for (guint i = 0; i < 20000; i++) {
    fixture_page (1 + i, page);
    g_assert_true (page_map_writer_put (pages, i, page, &error));
  }
  page_map_writer_free (pages);
  store_writer_free (writer);
  g_autoptr (IndexView) view = index_reload (store->index, &error);
  guint indexed = 0;
  for (guint i = 0; i < view->tables->len; i++)
    indexed += index_table_packs (view->tables->pdata[i]);
  g_assert_cmpuint (indexed, >, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), ==, indexed);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
  g_assert_true (store_gc (store, FALSE, &report, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "index/"), ==, 0);
}

/* What a checkpoint is made of is read once, however many are built on others. */
static void
test_bases_known (void)
{
  WatchedBackend *watched = watched_backend_new (backend_memory_new(), "manifests/");
  g_autoptr (Store) store = fixture_store_new (&watched->backend);
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) last = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);

  for (guint i = 2; i < 10; i++) {
    g_autofree guint64 *former = g_memdup2 (seeds, PAGES * sizeof *seeds);
    seeds[i] = 100000 + i;
    watched->gets = 0;
    Manifest *next = fixture_checkpoint (store, i, seeds, PAGES, last, former);
    g_assert_cmpuint (watched->gets, ==, 1); /* of what is new */
    manifest_free (g_steal_pointer (&last));
    last = next;
  }
  /* One that is gone is not built on, though it is known. */
  g_assert_true (store_manifest_remove (store, last->id, &error));
  g_autoptr (GHashTable) roots = store_manifest_roots (store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_hash_table_size (roots), ==, 8);
  g_assert_false (g_hash_table_contains (roots, &manifest_find_part (last, "ram", NULL)->map.root));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/writer/told-of-commit", test_told_of_commit);
  g_test_add_func ("/store/writer/round-trip", test_round_trip);
  g_test_add_func ("/store/writer/stats", test_stats);
  g_test_add_func ("/store/writer/abort", test_abort);
  g_test_add_func ("/store/writer/put-data", test_put_data);
  g_test_add_func ("/store/writer/put-again", test_put_again);
  g_test_add_func ("/store/writer/bases-known", test_bases_known);
  g_test_add_func ("/store/writer/bounded", test_bounded);
  g_test_add_func ("/store/writer/bounded-abort", test_bounded_abort);
  return g_test_run();
}
