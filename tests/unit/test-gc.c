/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gc: what no checkpoint and no writer in progress needs goes, all else stays. */
#include "store-fixture.h"

#include "announce.h"
#include "store-private.h"

#define PAGES 3000

static guint64 *
seeds_new (guint64 first)
{
  guint64 *seeds = g_new (guint64, PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = first + i;
  return seeds;
}

static StoreGcReport
run_gc (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreGcReport report;

  store_gc (store, FALSE, &report, NULL, NULL, &error);
  g_assert_no_error (error);
  return report;
}

static void
remove_checkpoint (Store *store, const Manifest *manifest)
{
  g_autoptr (GError) error = NULL;

  store_manifest_remove (store, manifest->id, &error);
  g_assert_no_error (error);
}

static void
assert_all_well (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  store_check (store, TRUE, &findings, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_test_message ("%s %s", finding->object, finding->problem);
  }
  g_assert_cmpuint (findings->len, ==, 0);
}

/* With nothing to do, nothing is done. */
static void
test_idle (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  StoreGcReport report = run_gc (store);

  g_assert_cmpuint (report.deleted_packs, ==, 0);
  g_assert_cmpuint (report.waiting_packs, ==, 0);
  g_assert_cmpuint (report.rewritten_chunks, ==, 0);
  fixture_assert_checkpoint (store, one->id, seeds, PAGES);
}

/* The last checkpoint removed, nothing but the format object is left. */
static void
test_all_goes (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (GError) error = NULL;
  StoreGcReport dry;

  g_assert_true (store_tag_add (store, one->id, "t", &error));
  remove_checkpoint (store, one);
  g_assert_true (store_gc (store, TRUE, &dry, NULL, NULL, &error));
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), >, 0);
  StoreGcReport report = run_gc (store);
  g_assert_cmpuint (report.deleted_packs, ==, dry.deleted_packs);
  g_assert_cmpuint (report.freed_bytes, ==, dry.freed_bytes);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, 1);
}

/* Of two checkpoints that share most pages one goes: the other stays whole, its packs are repacked.
 */
static void
test_repack (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *first = seeds_new (1);
  g_autofree guint64 *second = seeds_new (100000);
  memcpy (second, first, 300 * sizeof *first);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, second, PAGES, NULL, NULL);
  StoreStats before, after;
  g_autoptr (GError) error = NULL;

  remove_checkpoint (store, one);
  g_assert_true (store_stats (store, TRUE, &before, NULL, NULL, &error));
  g_assert_cmpuint (before.unused_bytes, >, before.pack_bytes / 4);
  StoreGcReport report = run_gc (store);
  /* The shared pages, and the one leaf of the page map that is the same in both. */
  g_assert_cmpuint (report.rewritten_chunks, ==, 301);
  g_assert_cmpuint (report.deleted_packs, >=, 2);
  g_assert_true (store_stats (store, TRUE, &after, NULL, NULL, &error));
  g_assert_cmpuint (after.pack_bytes, <, before.pack_bytes);
  g_assert_cmpuint (after.unused_bytes, ==, 0);
  fixture_assert_checkpoint (store, two->id, second, PAGES);
  assert_all_well (store);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
}

static void
on_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  *(guint *)user_data += 1;
  g_assert_cmpuint (done, <=, total);
}

/* Two writers that know nothing of each other store the same pages: they are there twice, and
 * counted once. */
static void
test_stats_distinct (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autofree guint64 *seeds = seeds_new (1);
  guint reports = 0;
  const Progress progress = { on_progress, &reports };
  StoreStats once, twice;

  g_autoptr (StoreWriter) one = store_writer_begin (store, &error);
  g_autoptr (StoreWriter) other = store_writer_begin (store, &error);
  PageMap map = fixture_write_map (one, seeds, PAGES, NULL, NULL, NULL);
  PageMap same = fixture_write_map (other, seeds, PAGES, NULL, NULL, NULL);
  g_autoptr (Manifest) first = fixture_commit (one, "g1", 1, &map);
  g_assert_true (store_stats (store, FALSE, &once, &progress, NULL, &error));
  g_autoptr (Manifest) second = fixture_commit (other, "g1", 2, &same);
  g_assert_true (store_stats (store, FALSE, &twice, NULL, NULL, &error));
  g_assert_cmpuint (once.chunks, >, 0);
  g_assert_cmpuint (twice.packs, ==, 2 * once.packs);
  g_assert_cmpuint (twice.chunks, ==, once.chunks);
  g_assert_cmpuint (twice.chunk_bytes, ==, once.chunk_bytes);
  g_assert_cmpuint (reports, >, 0);
  g_cancellable_cancel (cancellable);
  g_assert_false (store_stats (store, FALSE, &twice, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* A writer in progress that found pages in the store keeps them there. */
static void
test_writer_in_progress (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (GError) error = NULL;
  PageMapStats stats;
  StoreWriter *writer = store_writer_begin (store, &error);

  g_assert_no_error (error);
  PageMap map = fixture_write_map (writer, seeds, PAGES, NULL, NULL, &stats);
  g_assert_cmpuint (stats.known, ==, PAGES);
  remove_checkpoint (store, one);
  StoreGcReport report = run_gc (store);
  g_assert_cmpuint (report.deleted_packs, ==, 0);
  g_assert_cmpuint (report.waiting_packs, ==, 2);
  g_autoptr (Manifest) two = fixture_commit (writer, "g1", 2, &map);
  store_writer_free (writer);
  fixture_assert_checkpoint (store, two->id, seeds, PAGES);
  report = run_gc (store);
  g_assert_cmpuint (report.deleted_packs, ==, 0);
  g_assert_cmpuint (report.waiting_packs, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
  fixture_assert_checkpoint (store, two->id, seeds, PAGES);
  assert_all_well (store);
}

/* A writer that begins after packs were condemned does not rely on them, and does not keep them. */
static void
test_younger_writer (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (GError) error = NULL;
  PageMapStats stats;
  StoreWriter *older = store_writer_begin (store, &error);

  remove_checkpoint (store, one);
  StoreGcReport report = run_gc (store);
  g_assert_cmpuint (report.waiting_packs, ==, 2);
  StoreWriter *younger = store_writer_begin (store, &error);
  g_assert_no_error (error);
  store_writer_free (older);
  PageMap map = fixture_write_map (younger, seeds, PAGES, NULL, NULL, &stats);
  g_assert_cmpuint (stats.fresh, ==, PAGES);
  report = run_gc (store);
  g_assert_cmpuint (report.deleted_packs, ==, 2);
  g_autoptr (Manifest) two = fixture_commit (younger, "g1", 2, &map);
  store_writer_free (younger);
  fixture_assert_checkpoint (store, two->id, seeds, PAGES);
  assert_all_well (store);
}

/* What it builds on may be in such packs too: then that is stored again. */
static void
test_condemned_base (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autofree guint64 *changed = g_memdup2 (seeds, PAGES * sizeof *seeds);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  const PageMap *base = &manifest_find_part (one, "ram", NULL)->map;
  g_autoptr (GError) error = NULL;
  PageMapStats stats;
  StoreWriter *older = store_writer_begin (store, &error);

  changed[7] = 999999;
  remove_checkpoint (store, one);
  g_assert_cmpuint (run_gc (store).waiting_packs, ==, 2);
  StoreWriter *younger = store_writer_begin (store, &error);
  store_writer_free (older);
  PageMap map = fixture_write_map (younger, changed, PAGES, base, seeds, &stats);
  g_assert_cmpuint (stats.put, ==, 1);
  g_assert_cmpuint (run_gc (store).deleted_packs, ==, 2);
  g_autoptr (Manifest) two = fixture_commit (younger, "g1", 2, &map);
  store_writer_free (younger);
  fixture_assert_checkpoint (store, two->id, changed, PAGES);
  assert_all_well (store);
  /* And what is gone altogether cannot be built on. */
  g_autoptr (StoreWriter) late = store_writer_begin (store, &error);
  ChunkName unknown = { { 1 } };
  const PageMap nothing = { base->length, unknown };
  g_assert_null (page_map_writer_new (late, base->length, &nothing, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
}

/* An announcement of a process that is gone keeps nothing; one of an unknown host does. */
static void
test_dead_writers (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_auto (Owner) self = { 0 };
  g_autoptr (GBytes) junk = g_bytes_new_static ("junk", 4);
  gboolean existed;

  owner_init_self (&self);
  g_assert_false (owner_is_dead (&self));
  self.process.start_ticks++;
  g_assert_true (owner_is_dead (&self));
  self.process.start_ticks--;
  g_free (self.boot_id);
  self.boot_id = g_strdup ("another boot");
  g_clear_pointer (&self.machine, g_free);
  g_assert_true (owner_is_dead (&self)); /* of a version that knew names of hosts only */
  self.machine = g_strdup ("");
  g_assert_false (
      owner_is_dead (&self)); /* of a host without an id nothing is known but its boot */
  g_free (self.machine);
  self.machine = process_machine_id();
  g_assert_true (self.machine[0] == 0 || owner_is_dead (&self));
  g_free (self.machine);
  self.machine = g_strdup ("0123456789abcdef0123456789abcdef");
  g_assert_false (owner_is_dead (&self)); /* another machine of the same name */
  g_free (self.host);
  self.host = g_strdup ("another host");
  g_assert_false (owner_is_stale (&self, OWNER_TRUST_US));
  g_assert_true (owner_is_stale (&self, OWNER_TRUST_US + 1));

  remove_checkpoint (store, one);
  store->backend->ops->put_if_absent (store->backend, "writers/unknown", junk, &existed, NULL);
  StoreGcReport report = run_gc (store);
  g_assert_cmpuint (report.waiting_packs, ==, 2);
  store->backend->ops->remove (store->backend, "writers/unknown", NULL);
  report = run_gc (store);
  g_assert_cmpuint (report.deleted_packs, ==, 2);
}

/* Two gcs never work at once. */
static void
test_one_at_a_time (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  g_autofree char *other = announcement_put (store, ANNOUNCE_GC, &error);

  g_assert_no_error (error);
  g_assert_false (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_IN_USE);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 1);
}

/* A reader that opened the store before a repack still finds everything. */
static void
test_reader_beside (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  g_autofree guint64 *first = seeds_new (1);
  g_autofree guint64 *second = seeds_new (100000);
  g_autoptr (GError) error = NULL;

  memcpy (second, first, 300 * sizeof *first);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, second, PAGES, NULL, NULL);
  g_autoptr (Store) reader = store_open (fixture_directory_backend (path), &error);
  g_assert_no_error (error);
  g_autoptr (IndexView) view = index_view (reader->index, &error);
  g_assert_no_error (error);
  remove_checkpoint (store, one);
  StoreGcReport report = run_gc (store);
  g_assert_cmpuint (report.rewritten_chunks, >, 0);
  fixture_assert_checkpoint (reader, two->id, second, PAGES);
}

/* Many checkpoints, many index tables: they are merged, and nothing is lost. */
static void
test_merge (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) parent = NULL;

  for (guint i = 0; i < 40; i++) {
    g_autofree guint64 *former = g_memdup2 (seeds, PAGES * sizeof *seeds);
    for (guint j = 0; j < 5; j++)
      seeds[(i * 71 + j * 13) % PAGES] = 50000 + i * 10 + j;
    Manifest *next =
        fixture_checkpoint (store, i, seeds, PAGES, parent, parent != NULL ? former : NULL);
    g_clear_pointer (&parent, manifest_free);
    parent = next;
  }
  g_assert_cmpuint (fixture_count_objects (store->backend, "index/"), <=, 10);
  fixture_assert_checkpoint (store, parent->id, seeds, PAGES);
  assert_all_well (store);
}

/* One of several that use the same store at once, each with a store of its own. */
typedef struct {
  const char *path;
  guint number;
  int *writing; /* (atomic) writers not done yet */
  guint done;
} Actor;

/* Checkpoints on top of each other; the older ones are removed soon. All seeds come from a small
 * set, so that pages of checkpoints that others remove are found in the store again and again. */
static gpointer
write_beside (gpointer data)
{
  Actor *actor = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (actor->path), &error);
  g_autoptr (GRand) random = g_rand_new_with_seed (actor->number);
  g_autofree guint64 *seeds = g_new0 (guint64, 600);
  g_autoptr (Manifest) parent = NULL;

  g_assert_no_error (error);
  for (guint i = 0; i < 25; i++) {
    g_autofree guint64 *former = g_memdup2 (seeds, 600 * sizeof *seeds);
    g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
    g_assert_no_error (error);
    for (guint j = 0; j < (parent == NULL ? 600 : 40); j++)
      seeds[g_rand_int_range (random, 0, 600)] = g_rand_int_range (random, 0, 900);
    const PageMap *base = parent != NULL ? &manifest_find_part (parent, "ram", NULL)->map : NULL;
    PageMap map = fixture_write_map (writer, seeds, 600, base, base != NULL ? former : NULL, NULL);
    Manifest *next = fixture_commit (writer, "g1", actor->number * 1000 + i, &map);
    if (parent != NULL)
      remove_checkpoint (store, parent);
    manifest_free (parent);
    parent = next;
    fixture_assert_checkpoint (store, parent->id, seeds, 600);
    /* Now and then there is nobody to build on. */
    if (g_rand_int_range (random, 0, 8) == 0) {
      remove_checkpoint (store, parent);
      g_clear_pointer (&parent, manifest_free);
      memset (seeds, 0, 600 * sizeof *seeds);
    }
    actor->done++;
  }
  g_atomic_int_add (actor->writing, -1);
  return NULL;
}

static gpointer
gc_beside (gpointer data)
{
  Actor *actor = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (actor->path), &error);

  g_assert_no_error (error);
  while (g_atomic_int_get (actor->writing) > 0) {
    StoreGcReport report;
    g_autoptr (GError) cause = NULL;
    if (store_gc (store, FALSE, &report, NULL, NULL, &cause))
      actor->done += report.deleted_packs > 0;
    else /* the other one is at work */
      g_assert_error (cause, STORE_ERROR, STORE_ERROR_IN_USE);
  }
  return NULL;
}

/* Checks while all is in motion: nothing ever looks damaged. */
static gpointer
check_beside (gpointer data)
{
  Actor *actor = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (actor->path), &error);

  g_assert_no_error (error);
  while (g_atomic_int_get (actor->writing) > 0)
    assert_all_well (store);
  return NULL;
}

/* Writers, removals, two gcs and a check at once: nobody ever misses anything, and in the end
 * nothing is left over. */
static void
test_beside (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  static const GThreadFunc roles[] = { write_beside, write_beside, write_beside,
                                       gc_beside,    gc_beside,    check_beside };
  GThread *threads[G_N_ELEMENTS (roles)];
  Actor actors[G_N_ELEMENTS (roles)];
  int writing = 3;
  guint deleted = 0;

  for (guint i = 0; i < G_N_ELEMENTS (roles); i++) {
    actors[i] = (Actor){ path, i, &writing, 0 };
    threads[i] = g_thread_new ("actor", roles[i], &actors[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (roles); i++) {
    g_thread_join (threads[i]);
    deleted += roles[i] == gc_beside ? actors[i].done : 0;
  }
  g_test_message ("%u gcs deleted something meanwhile", deleted);
  assert_all_well (store);
  run_gc (store); /* what was condemned and is needed again comes off the list */
  run_gc (store); /* and may be repacked */
  assert_all_well (store);
  g_autoptr (GError) error = NULL;
  StoreStats stats;
  g_assert_true (store_stats (store, TRUE, &stats, NULL, NULL, &error));
  g_assert_cmpuint (stats.unused_bytes, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
}

/* A pack that was cut, or has grown, is not lost: gc leaves all that can be read of it. */
static void
test_other_size (gconstpointer data)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1);
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (GPtrArray) packs = store_list_names (store, "packs/", NULL);
  guint64 size = 0;

  for (guint i = 0; i < packs->len; i++) {
    g_assert_true (store->backend->ops->stat (store->backend, packs->pdata[i], &size, NULL));
    fixture_spoil (store->backend, packs->pdata[i], size + GPOINTER_TO_INT (data), G_MAXSIZE);
  }
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (run_gc (store).deleted_packs, ==, 0);
  frame_cache_clear (store->frames);
  fixture_assert_checkpoint (store, one->id, seeds, PAGES);
  /* When nothing needs it, it goes as any other. */
  remove_checkpoint (store, one);
  run_gc (store);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/gc/idle", test_idle);
  g_test_add_func ("/store/gc/all-goes", test_all_goes);
  g_test_add_func ("/store/gc/repack", test_repack);
  g_test_add_func ("/store/gc/stats-distinct", test_stats_distinct);
  g_test_add_func ("/store/gc/writer-in-progress", test_writer_in_progress);
  g_test_add_func ("/store/gc/younger-writer", test_younger_writer);
  g_test_add_func ("/store/gc/condemned-base", test_condemned_base);
  g_test_add_func ("/store/gc/dead-writers", test_dead_writers);
  g_test_add_func ("/store/gc/one-at-a-time", test_one_at_a_time);
  g_test_add_func ("/store/gc/reader-beside", test_reader_beside);
  g_test_add_data_func ("/store/gc/other-size/cut", GINT_TO_POINTER (-1), test_other_size);
  g_test_add_data_func ("/store/gc/other-size/grown", GINT_TO_POINTER (1), test_other_size);
  g_test_add_func ("/store/gc/merge", test_merge);
  g_test_add_func ("/store/gc/beside", test_beside);
  return g_test_run();
}
