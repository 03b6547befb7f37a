/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Page maps against a plain array: random maps, random lengths, many generations. */
#include "store-fixture.h"

#include "map-names.h"
#include "store-private.h"

/* What a map should hold. */
typedef struct {
  guint64 *seeds;
  guint64 pages;
} Model;

static void
model_clear (Model *model)
{
  g_clear_pointer (&model->seeds, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Model, model_clear)

static void
model_resize (Model *model, guint64 pages)
{
  model->seeds = g_renew (guint64, model->seeds, pages + 1);
  for (guint64 i = model->pages; i < pages; i++)
    model->seeds[i] = 0;
  model->pages = pages;
}

/* Changes @count pages at random places, or in one stretch; a few become zeros. */
static void
model_change (Model *model, guint count, gboolean stretch)
{
  guint64 at = g_test_rand_int_range (0, MAX (model->pages, 1));

  for (guint i = 0; i < count && model->pages > 0; i++) {
    guint64 page =
        stretch ? (at + i) % model->pages : (guint64)g_test_rand_int_range (0, model->pages);
    model->seeds[page] =
        g_test_rand_int_range (0, 8) == 0 ? 0 : 1 + g_test_rand_int_range (0, 5000);
  }
}

typedef struct {
  const Model *a, *b;
  guint64 next, seen;
} ExpectedDiff;

static guint64
seed_at (const Model *model, guint64 page)
{
  return page < model->pages ? model->seeds[page] : 0;
}

static gboolean
note_diff (guint64 page, const ChunkName *a, const ChunkName *b, gpointer user_data)
{
  ExpectedDiff *expected = user_data;

  for (; expected->next < page; expected->next++)
    g_assert_cmpuint (seed_at (expected->a, expected->next), ==,
                      seed_at (expected->b, expected->next));
  g_assert_cmpuint (seed_at (expected->a, page), !=, seed_at (expected->b, page));
  g_assert_true (chunk_name_is_zero (a) == (seed_at (expected->a, page) == 0));
  g_assert_true (chunk_name_is_zero (b) == (seed_at (expected->b, page) == 0));
  expected->next = page + 1;
  expected->seen++;
  return TRUE;
}

/* page_map_diff() names exactly the pages that differ. */
static void
assert_diff (Store *store, const PageMap *map_a, const PageMap *map_b, const Model *a,
             const Model *b)
{
  g_autoptr (GError) error = NULL;
  ExpectedDiff expected = { a, b, 0, 0 };
  guint64 differ = 0;

  g_assert_true (page_map_diff (store, map_a, map_b, note_diff, &expected, &error));
  g_assert_no_error (error);
  for (guint64 i = 0; i < MAX (a->pages, b->pages); i++)
    differ += seed_at (a, i) != seed_at (b, i);
  g_assert_cmpuint (expected.seen, ==, differ);
}

/* Generations of a map, each on top of the one before, with changing lengths. */
static void
test_generations (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  static const guint lengths[] = { 0, 1, 255, 256, 257, 700, 66000, 65536, 65537, 512, 3000 };
  g_auto (Model) model = { 0 };
  g_autoptr (Manifest) parent = NULL;

  for (guint generation = 0; generation < 60; generation++) {
    g_auto (Model)
        former = { g_memdup2 (model.seeds, model.pages * sizeof (guint64)), model.pages };
    gboolean same_length = generation % 6 != 0;
    if (!same_length)
      model_resize (&model, lengths[generation / 6 % G_N_ELEMENTS (lengths)]);
    model_change (&model, g_test_rand_int_range (0, 400), g_test_rand_bit());
    /* Pages beyond the former length are all put; zeros need not be. */
    Manifest *next = fixture_checkpoint (store, generation, model.seeds, model.pages, parent,
                                         parent != NULL && same_length ? former.seeds : NULL);
    const PageMap *map = &manifest_find_part (next, "ram", NULL)->map;
    fixture_assert_map (store, map, model.seeds, model.pages);
    if (parent != NULL)
      assert_diff (store, &manifest_find_part (parent, "ram", NULL)->map, map, &former, &model);
    manifest_free (parent);
    parent = next;
  }
}

/* Runs of pages anywhere, and the stretches that have data, with and without overrides. */
static void
test_read_run (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_auto (Model) model = { 0 };
  g_autoptr (Manifest) parent = NULL;
  g_autofree guint8 *data = g_malloc (PAGE_MAP_RUN_MAX * PAGE_SIZE_BYTES);
  gboolean zero[PAGE_MAP_RUN_MAX];
  guint64 bits[1] = { 0 };

  model_resize (&model, 20 * PAGE_MAP_STRETCH + 3);
  for (guint generation = 0; generation < 4; generation++) {
    g_autoptr (GError) error = NULL;
    model_change (&model, 300, TRUE);
    Manifest *next = fixture_checkpoint (store, generation, model.seeds, model.pages, parent, NULL);
    manifest_free (parent);
    parent = next;
    g_autoptr (PageMapReader) reader =
        page_map_reader_new (store, &manifest_find_part (next, "ram", NULL)->map, &error);
    g_assert_no_error (error);
    for (guint i = 0; i < 50; i++) {
      guint64 first = g_test_rand_int_range (0, model.pages);
      guint most = g_test_rand_int_range (1, PAGE_MAP_RUN_MAX + 1);
      guint count = MIN (most, model.pages - first);
      g_assert_true (page_map_reader_read_run (reader, first, count, data, zero, &error));
      for (guint j = 0; j < count; j++) {
        guint8 wanted[PAGE_SIZE_BYTES];
        fixture_page (model.seeds[first + j], wanted);
        g_assert_cmpmem (data + (gsize)j * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES, wanted,
                         PAGE_SIZE_BYTES);
        g_assert_cmpint (zero[j], ==, model.seeds[first + j] == 0);
      }
    }
    g_assert_false (page_map_reader_read_run (reader, model.pages - 1, 2, data, zero, &error));
    g_clear_error (&error);
    g_assert_true (page_map_reader_find_data (reader, bits, &error));
    for (guint64 page = 0; page < model.pages; page++)
      if (model.seeds[page] != 0)
        g_assert_true (bits[0] >> page / PAGE_MAP_STRETCH & 1);
    g_assert_cmpuint (bits[0] >> 21, ==, 0);
  }
}

/* Single pages, out of order, through the runs. */
static void
test_random_reads (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_auto (Model) model = { 0 };
  g_autoptr (Manifest) parent = NULL;
  g_autoptr (GError) error = NULL;

  model_resize (&model, 5000);
  model_change (&model, 9000, FALSE);
  for (guint i = 0; i < 10; i++) {
    g_autofree guint64 *former = g_memdup2 (model.seeds, model.pages * sizeof (guint64));
    model_change (&model, 50, FALSE);
    Manifest *next =
        fixture_checkpoint (store, i, model.seeds, 5000, parent, parent != NULL ? former : NULL);
    manifest_free (parent);
    parent = next;
  }
  const PageMap *map = &manifest_find_part (parent, "ram", NULL)->map;
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 3000; i++) {
    guint64 page = g_test_rand_int_range (0, 5000);
    guint8 data[PAGE_SIZE_BYTES], wanted[PAGE_SIZE_BYTES];
    g_assert_true (page_map_reader_read (reader, page, data, &error));
    fixture_page (model.seeds[page], wanted);
    g_assert_cmpmem (data, sizeof data, wanted, sizeof wanted);
  }
  ChunkName name;
  g_assert_false (page_map_reader_name (reader, 5000, &name, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

/* Searching the runs gives the same names as having sorted them. */
static void
test_many_overrides (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_auto (Model) model = { 0 };
  g_autoptr (Manifest) parent = NULL;
  g_autoptr (GError) error = NULL;

  model_resize (&model, 70000);
  model_change (&model, 20000, TRUE);
  for (guint i = 0; i < 4; i++) {
    g_autofree guint64 *former = g_memdup2 (model.seeds, model.pages * sizeof (guint64));
    model_change (&model, i == 2 ? 5000 : 300, FALSE); /* also runs of two levels */
    Manifest *next =
        fixture_checkpoint (store, i, model.seeds, 70000, parent, parent != NULL ? former : NULL);
    manifest_free (parent);
    parent = next;
  }
  const PageMap *map = &manifest_find_part (parent, "ram", NULL)->map;
  g_autoptr (MapNames) sorted = map_names_new (store, map, &error);
  g_autoptr (MapNames) searched = map_names_new (store, map, &error);
  g_assert_cmpuint (map_names_root (sorted)->n_runs, ==, 3);
  map_names_limit_overrides (searched, 0);
  for (guint64 leaf = 0; leaf < 70000 / NODE_FANOUT; leaf++) {
    const ChunkName *one = map_names_leaf (sorted, leaf, &error);
    const ChunkName *other = map_names_leaf (searched, leaf, &error);
    g_assert_cmpmem (one, NODE_FANOUT * sizeof *one, other, NODE_FANOUT * sizeof *other);
  }
}

/* A map of zeros costs nothing and has no name. */
static void
test_zeros (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = g_new0 (guint64, 1000);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, 1000, NULL, NULL);

  g_assert_true (chunk_name_is_zero (&manifest_find_part (one, "ram", NULL)->map.root));
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), ==, 0);
  fixture_assert_checkpoint (store, one->id, seeds, 1000);
}

/* The same content gives the same name of the whole map when it is written from nothing. */
static void
test_deterministic (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_auto (Model) model = { 0 };

  model_resize (&model, 3000);
  model_change (&model, 3000, FALSE);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, model.seeds, 3000, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, model.seeds, 3000, NULL, NULL);
  g_assert_true (chunk_name_equal (&((ManifestPart *)one->parts->pdata[0])->map.root,
                                   &((ManifestPart *)two->parts->pdata[0])->map.root));
}

/* Writes @count pages of a guest of @pages at random places; returns the bytes of metadata. */
static guint64
write_incremental (Store *store, guint64 pages, guint count, guint64 *serial, Manifest **parent)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  const PageMap *base = *parent != NULL ? &manifest_find_part (*parent, "ram", NULL)->map : NULL;
  g_autoptr (PageMapWriter) map_writer =
      page_map_writer_new (writer, pages * PAGE_SIZE_BYTES, base, &error);
  StoreWriterStats stats;
  guint8 page[PAGE_SIZE_BYTES] = { 0 };
  PageMap map;

  g_assert_no_error (error);
  for (guint i = 0; i < count; i++) {
    guint64 at = base != NULL ? (guint64)g_test_rand_int_range (0, pages) : i;
    ++*serial;
    memcpy (page, serial, sizeof *serial); /* all else is zeros: quick to compress */
    g_assert_true (page_map_writer_put (map_writer, at, page, &error));
  }
  g_assert_true (page_map_writer_finish (map_writer, &map, NULL, &error));
  Manifest *next = fixture_commit (writer, "g1", *serial, &map);
  store_writer_stats (writer, &stats);
  manifest_free (*parent);
  *parent = next;
  return stats.metadata_bytes;
}

/* 5,000 pages at random places of 1.5 GiB, again and again: at most 64 bytes of metadata per page.
 * The quick run does the same at a quarter of the size. */
static void
test_metadata_bounded (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  const guint64 pages = g_test_quick() ? 98304 : 393216;
  const guint count = g_test_quick() ? 1250 : 5000;
  guint rounds = 220; /* two folds and a bit */
  g_autoptr (Manifest) parent = NULL;
  guint64 serial = 0, sum = 0, most = 0, folds = 0;

  guint64 full = write_incremental (store, pages, pages, &serial, &parent);
  for (guint i = 0; i < rounds; i++) {
    guint64 bytes = write_incremental (store, pages, count, &serial, &parent);
    sum += bytes;
    most = MAX (most, bytes);
    folds += bytes > 64 * count;
  }
  g_test_message ("full map: %" G_GUINT64_FORMAT " bytes; %u incrementals of %u pages: %.2f bytes "
                  "of metadata per page, %" G_GUINT64_FORMAT " folds, at most %" G_GUINT64_FORMAT
                  " bytes at once",
                  full, rounds, count, (double)sum / rounds / count, folds, most);
  g_assert_cmpuint (folds, >, 0);
  g_assert_cmpuint (sum, <=, (guint64)64 * count * rounds);
}

/* A stretch of memory rewritten again and again does not pile up runs. */
static void
test_dense_folds (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_auto (Model) model = { 0 };
  g_autoptr (Manifest) parent = NULL;
  g_autoptr (GError) error = NULL;

  model_resize (&model, 20000);
  model_change (&model, 20000, TRUE);
  for (guint i = 0; i < 10; i++) {
    g_autofree guint64 *former = g_memdup2 (model.seeds, model.pages * sizeof (guint64));
    for (guint j = 0; j < 4096; j++)
      model.seeds[j] = 1000000 * (i + 1) + j;
    Manifest *next =
        fixture_checkpoint (store, i, model.seeds, 20000, parent, parent != NULL ? former : NULL);
    manifest_free (parent);
    parent = next;
    g_autoptr (MapNames) names =
        map_names_new (store, &manifest_find_part (parent, "ram", NULL)->map, &error);
    g_assert_cmpuint (map_names_root (names)->n_runs, <=, 1);
  }
  fixture_assert_checkpoint (store, parent->id, model.seeds, 20000);
}

/* What is made durable on the way is neither lost nor written again, however often the pages are
 * put, and what is left for the end is what was put since. */
static void
test_flushed_on_the_way (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  const guint64 pages = 3000;
  g_auto (Model) model = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (PageMapWriter) map_writer =
      page_map_writer_new (writer, pages * PAGE_SIZE_BYTES, NULL, &error);
  StoreWriterStats before, after;
  guint8 data[PAGE_SIZE_BYTES];
  PageMap map;

  g_assert_no_error (error);
  model_resize (&model, pages);
  for (guint round = 0; round < 4; round++) {
    g_assert_true (page_map_writer_flush (map_writer, &error)); /* of nothing, too */
    for (guint64 i = 0; i < pages; i += 1 + round * 7) {
      model.seeds[i] = i % 11 == 0 ? 0 : 100000 * (round + 1) + i;
      fixture_page (model.seeds[i], data);
      g_assert_true (page_map_writer_put (map_writer, i, data, &error));
    }
  }
  g_assert_true (page_map_writer_flush (map_writer, &error));
  store_writer_stats (writer, &before);
  fixture_page (model.seeds[5] = 7, data);
  g_assert_true (page_map_writer_put (map_writer, 5, data, &error));
  g_assert_true (page_map_writer_finish (map_writer, &map, NULL, &error));
  g_autoptr (Manifest) manifest = fixture_commit (writer, "g1", 1, &map);
  store_writer_stats (writer, &after);
  g_assert_cmpuint (after.new_bytes - before.new_bytes, ==, PAGE_SIZE_BYTES);
  fixture_assert_checkpoint (store, manifest->id, model.seeds, pages);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/page-map/generations", test_generations);
  g_test_add_func ("/store/page-map/random-reads", test_random_reads);
  g_test_add_func ("/store/page-map/read-run", test_read_run);
  g_test_add_func ("/store/page-map/many-overrides", test_many_overrides);
  g_test_add_func ("/store/page-map/zeros", test_zeros);
  g_test_add_func ("/store/page-map/deterministic", test_deterministic);
  g_test_add_func ("/store/page-map/metadata-bounded", test_metadata_bounded);
  g_test_add_func ("/store/page-map/dense-folds", test_dense_folds);
  g_test_add_func ("/store/page-map/flushed-on-the-way", test_flushed_on_the_way);
  return g_test_run();
}
