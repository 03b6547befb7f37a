/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which pack keeps what is needed: each chunk is kept once, by the pack that is to. */
#include "store-fixture.h"

#include "pack-set.h"
#include "pack-use.h"

#define PAGES 100

/* A checkpoint whose pages are in two packs, since two writers did not know of each other. */
static Store *
store_twice (void)
{
  Store *store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) one = store_writer_begin (store, &error);
  g_autoptr (StoreWriter) other = store_writer_begin (store, &error);
  guint64 seeds[PAGES];

  g_assert_no_error (error);
  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i + 1;
  PageMap first = fixture_write_map (one, seeds, PAGES, NULL, NULL, NULL);
  /* More than the other has, so that its packs are others. */
  PageMap second = fixture_write_map (other, seeds, PAGES / 2, NULL, NULL, NULL);
  g_autoptr (Manifest) kept = fixture_commit (one, "g1", 1, &first);
  g_autoptr (Manifest) also = fixture_commit (other, "g1", 2, &second);
  return store;
}

static GHashTable *
settle (Mark *mark, GHashTable *late, GHashTable *latest)
{
  g_autoptr (GError) error = NULL;
  GHashTable *uses = pack_use_settle (mark, late, latest, &error);

  g_assert_no_error (error);
  return uses;
}

/* The packs of pages, that with more of them first, and how many pages each keeps. */
static void
find_data_packs (GHashTable *uses, const PackUse *packs[2])
{
  GHashTableIter iter;
  gpointer value;

  packs[0] = packs[1] = NULL;
  g_hash_table_iter_init (&iter, uses);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    const PackUse *use = value;
    if (use->chunk_bytes == (guint64)use->chunks * PAGE_SIZE_BYTES)
      packs[use->chunks == PAGES ? 0 : 1] = use;
  }
  g_assert_nonnull (packs[0]);
  g_assert_nonnull (packs[1]);
}

static void
count_kept (const ChunkName *name, const ChunkLocation *location, gpointer user_data)
{
  (*(guint *)user_data)++;
}

static guint
kept_by (Mark *mark, const ChunkName *pack)
{
  g_autoptr (GHashTable) packs = pack_set_new();
  guint count = 0;

  pack_set_add (packs, pack);
  pack_use_foreach_kept (mark, packs, count_kept, &count);
  return count;
}

static void
assert_kept (Mark *mark, GHashTable *late, GHashTable *latest, guint by_large, guint by_small)
{
  g_autoptr (GHashTable) uses = settle (mark, late, latest);
  const PackUse *packs[2];

  find_data_packs (uses, packs);
  g_assert_cmpuint (packs[0]->needed, ==, by_large);
  g_assert_cmpuint (packs[1]->needed, ==, by_small);
  g_assert_cmpuint (kept_by (mark, &packs[0]->name), ==, by_large);
  g_assert_cmpuint (kept_by (mark, &packs[1]->name), ==, by_small);
}

static void
test_order (void)
{
  g_autoptr (Store) store = store_twice();
  g_autoptr (GError) error = NULL;
  g_autoptr (Mark) mark = mark_new (store, NULL);
  g_autoptr (GHashTable) large = pack_set_new();
  g_autoptr (GHashTable) small = pack_set_new();
  const PackUse *packs[2];

  g_assert_true (mark_all (mark, NULL, NULL, &error));
  g_assert_no_error (error);
  g_autoptr (GHashTable) uses = settle (mark, NULL, NULL);
  find_data_packs (uses, packs);
  pack_set_add (large, &packs[0]->name);
  pack_set_add (small, &packs[1]->name);
  /* What only one pack has it keeps; what both have, the one that is not late. */
  assert_kept (mark, large, NULL, PAGES / 2, PAGES / 2);
  assert_kept (mark, small, NULL, PAGES, 0);
  assert_kept (mark, small, large, PAGES / 2, PAGES / 2);
  assert_kept (mark, large, small, PAGES, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/pack-use/order", test_order);
  return g_test_run();
}
