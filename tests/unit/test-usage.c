/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who needs what: figures that are known from what was written, and from what gc then frees. */
#include "store-fixture.h"

#include "announce.h"

#include <vmckpt/store/usage.h>

#define PAGES 1024
#define OTHER_UUID "6ba7b811-9dad-11d1-80b4-00c04fd430c8"

/* A checkpoint of another guest. */
static Manifest *
other_checkpoint (Store *store, gint64 created_us, const guint64 *seeds)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMap map = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  Manifest *manifest = fixture_manifest_new ("g2", created_us);

  g_free (manifest->guest_uuid);
  manifest->guest_uuid = g_strdup (OTHER_UUID);
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  g_assert_true (store_writer_commit (writer, manifest, NULL, &error));
  return manifest;
}

static StoreUsage *
usage_of (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreUsage *usage = store_usage (store, NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
  return usage;
}

/* Pages of data, without the nodes of the maps: those have at most this many bytes here. */
#define NODES_MAX (150 * 1024)

static void
assert_pages (guint64 bytes, guint pages)
{
  g_assert_cmpuint (bytes, >=, (guint64)pages * PAGE_SIZE_BYTES);
  g_assert_cmpuint (bytes, <, (guint64)pages * PAGE_SIZE_BYTES + NODES_MAX);
}

/* Pages 0-99 only in the first, 100-199 in both of the guest, the rest in all three, of which the
 * other guest has 50 of its own. */
static void
test_owners (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  guint64 first[PAGES], second[PAGES], other[PAGES];

  for (guint i = 0; i < PAGES; i++) {
    first[i] = 1 + i;
    second[i] = i < 100 ? 0 : 1 + i;
    other[i] = i < 200 ? 0 : i < 250 ? 50000 + i : 1 + i;
  }
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, second, PAGES, NULL, NULL);
  g_autoptr (Manifest) three = other_checkpoint (store, 3, other);
  g_autoptr (StoreUsage) usage = usage_of (store);
  const StoreCheckpointUse *uses[3];
  const StoreGuestUse *g1 = usage->guests->pdata[0], *g2 = usage->guests->pdata[1];

  g_assert_cmpuint (usage->checkpoints->len, ==, 3);
  g_assert_cmpuint (usage->guests->len, ==, 2);
  for (guint i = 0; i < 3; i++) {
    uses[i] = usage->checkpoints->pdata[i];
    g_assert_cmpuint (uses[i]->use.logical_bytes, ==, PAGES * PAGE_SIZE_BYTES);
  }
  assert_pages (uses[0]->use.unique_bytes, 100);
  assert_pages (uses[1]->use.unique_bytes, 0);
  assert_pages (uses[2]->use.unique_bytes, 50);
  g_assert_cmpstr (g1->guest, ==, "g1");
  g_assert_cmpuint (g1->checkpoints, ==, 2);
  /* 100 of one, 100 of both, and 50 that the other guest has otherwise. */
  assert_pages (g1->use.unique_bytes, 250);
  assert_pages (g2->use.unique_bytes, 50);
  assert_pages (usage->all.unique_bytes, PAGES + 50);
  g_assert_cmpuint (usage->all.logical_bytes, ==, 3 * PAGES * PAGE_SIZE_BYTES);
  g_assert_cmpuint (usage->all.freed_bytes, <, usage->all.unique_bytes);
}

/* What it says would be freed is what is not needed any more afterwards. */
static void
test_freed (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  guint64 first[PAGES], second[PAGES];
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < PAGES; i++) {
    first[i] = 1 + i;
    second[i] = i % 3 == 0 ? 70000 + i : 1 + i;
  }
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, second, PAGES, one, first);
  g_autoptr (StoreUsage) before = usage_of (store);
  const StoreCheckpointUse *use = before->checkpoints->pdata[0];
  g_assert_cmpuint (use->use.freed_bytes, >, 0);
  g_assert_true (store_manifest_remove (store, one->id, &error));
  g_autoptr (StoreUsage) after = usage_of (store);
  g_assert_cmpuint (after->all.freed_bytes, ==, before->all.freed_bytes - use->use.freed_bytes);
  g_assert_cmpuint (after->unneeded_bytes, ==, before->unneeded_bytes + use->use.freed_bytes);
}

typedef struct {
  Store *store;
  guint reports, walkers;
} Watch;

static void
watch_walkers (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Watch *watch = user_data;
  gboolean any = FALSE;

  g_assert_true (announcements_any_walker (watch->store, NULL, &any, NULL));
  watch->reports++;
  watch->walkers += any;
}

/* It numbers what is in the tables, so these must stay as long as it looks. */
static void
test_walker (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  guint64 seeds[PAGES];
  Watch watch = { .store = store };
  const Progress progress = { watch_walkers, &watch };
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = 1 + i;
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (StoreUsage) usage = store_usage (store, &progress, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (watch.reports, >, 0);
  g_assert_cmpuint (watch.walkers, ==, watch.reports);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/usage/owners", test_owners);
  g_test_add_func ("/usage/freed", test_freed);
  g_test_add_func ("/usage/walker", test_walker);
  return g_test_run();
}
