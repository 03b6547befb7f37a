/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a writer may rely on: chunks of packs that are there, and deltas whose base is. */
#include "store-fixture.h"

#include "pack-set.h"
#include "stored-chunks.h"

/* A store with two checkpoints of one page: in full, and then as a delta. */
typedef struct {
  Store *store;
  ChunkName base, changed, unknown;
} Fixture;

static PageMap
write_page (StoreWriter *writer, const guint8 *page, const PageMap *base)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapWriter) pages = page_map_writer_new (writer, PAGE_SIZE_BYTES, base, &error);
  PageMap map;

  g_assert_true (page_map_writer_put (pages, 0, page, &error));
  g_assert_true (page_map_writer_finish (pages, &map, NULL, &error));
  return map;
}

static Manifest *
put_page (Store *store, const guint8 *page, const PageMap *base)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);

  g_assert_no_error (error);
  store_writer_set_delta (writer, STORE_DELTA_ALWAYS);
  PageMap map = write_page (writer, page, base);
  return fixture_commit (writer, "g1", 1, &map);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  guint8 page[PAGE_SIZE_BYTES];

  f->store = fixture_store_new (backend_memory_new());
  fixture_page (1, page);
  chunk_name_of (&f->store->key, page, sizeof page, &f->base);
  g_autoptr (Manifest) first = put_page (f->store, page, NULL);
  page[0] ^= 1;
  chunk_name_of (&f->store->key, page, sizeof page, &f->changed);
  g_autoptr (Manifest) second =
      put_page (f->store, page, &manifest_find_part (first, "ram", NULL)->map);
  page[0] ^= 2;
  chunk_name_of (&f->store->key, page, sizeof page, &f->unknown);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  store_unref (f->store);
}

static StoredChunks *
stored_new (const Fixture *f, GHashTable *skip)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (IndexView) view = index_reload (f->store->index, &error);

  g_assert_no_error (error);
  return stored_chunks_new (f->store, view, skip);
}

/* Where @name is, which has to be known. */
static ChunkLocation
locate (StoredChunks *stored, const ChunkName *name)
{
  ChunkLocation location;

  g_assert_true (stored_chunks_find (stored, name, FALSE, &location));
  return location;
}

static void
test_found (Fixture *f, gconstpointer data)
{
  g_autoptr (StoredChunks) stored = stored_new (f, NULL);
  ChunkLocation location;

  g_assert_cmpint (locate (stored, &f->base).frame.codec, !=, FRAME_DELTA);
  g_assert_cmpint (locate (stored, &f->changed).frame.codec, ==, FRAME_DELTA);
  g_assert_true (stored_chunks_find (stored, &f->base, TRUE, &location));
  g_assert_false (stored_chunks_find (stored, &f->changed, TRUE, &location));
  g_assert_false (stored_chunks_find (stored, &f->unknown, FALSE, &location));
}

static void
test_skipped (Fixture *f, gconstpointer data)
{
  g_autoptr (StoredChunks) all = stored_new (f, NULL);
  g_autoptr (GHashTable) skip = pack_set_new();
  ChunkLocation location = locate (all, &f->base);

  pack_set_add (skip, &location.pack);
  g_autoptr (StoredChunks) stored = stored_new (f, skip);
  g_assert_false (stored_chunks_find (stored, &f->base, FALSE, &location));
  /* Nor can what is a change to it be relied on. */
  g_assert_false (stored_chunks_find (stored, &f->changed, FALSE, &location));
}

/* The index does not know what is lost: the pack is not there, or cut short. */
static void
test_lost (Fixture *f, gconstpointer cut)
{
  g_autoptr (StoredChunks) before = stored_new (f, NULL);
  ChunkLocation location = locate (before, &f->base);
  g_autofree char *object = object_name ("packs", &location.pack);
  Backend *backend = f->store->backend;

  if (cut)
    fixture_spoil (backend, object, location.pack_size - 1, G_MAXSIZE);
  else
    g_assert_true (backend->ops->remove (backend, object, NULL));
  g_autoptr (StoredChunks) stored = stored_new (f, NULL);
  g_assert_false (stored_chunks_find (stored, &f->base, FALSE, &location));
  g_assert_false (stored_chunks_find (stored, &f->changed, FALSE, &location));
  /* Each pack is looked at once. */
  g_assert_true (stored_chunks_find (before, &f->base, FALSE, &location));
}

/* What was added to the store later is found with a view of it. */
static void
test_view (Fixture *f, gconstpointer data)
{
  g_autoptr (StoredChunks) stored = stored_new (f, NULL);
  g_autoptr (GError) error = NULL;
  guint8 page[PAGE_SIZE_BYTES];
  ChunkLocation location;

  fixture_page (1, page);
  page[0] ^= 3;
  g_autoptr (Manifest) third = put_page (f->store, page, NULL);
  g_assert_false (stored_chunks_find (stored, &f->unknown, FALSE, &location));
  g_autoptr (IndexView) view = index_reload (f->store->index, &error);
  g_assert_no_error (error);
  stored_chunks_use_view (stored, view);
  g_assert_true (stored_chunks_find (stored, &f->unknown, FALSE, &location));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, data, func)                                                                      \
  g_test_add ("/store/stored-chunks/" name, Fixture, data, set_up, func, tear_down)
  ADD ("found", NULL, test_found);
  ADD ("skipped", NULL, test_skipped);
  ADD ("gone", NULL, test_lost);
  ADD ("cut", "cut", test_lost);
  ADD ("view", NULL, test_view);
  return g_test_run();
}
