/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A power cut after every single step of every way to write to a store, with what was not synced
 * lost in several ways. Afterwards: what was there before is there and right, what was promised
 * holds, what failed is not seen or is whole, the next checkpoint succeeds, check finds nothing,
 * and gc leaves nothing that nothing needs. A new way to write is one line in `paths`.
 *
 * POWER_CUT_SEED=N replays what was done by chance.
 */
#include "power-cut.h"
#include "store-fixture.h"

#include "announce.h"
#include "store-private.h"

#include <vmckpt/store/claim.h>
#include <vmckpt/store/copy.h>
#include <vmckpt/store/key.h>
#include <vmckpt/store/quota.h>
#include <vmckpt/store/repair.h>
#include <vmckpt/util/fault.h>

#include <dlfcn.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 300
#define NEXT 90 /* number of the checkpoint that is written after the cut */

/* ---- What checkpoint number N holds: 1 and 2 share much, as do 11 and 1, … ---- */

static guint64 *
seeds_of (guint number)
{
  guint64 *seeds = g_new (guint64, PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 + i : 1000 * number + i;
  return seeds;
}

static gboolean
write_checkpoint (Store *store, guint number, const Manifest *base, GError **error)
{
  g_autofree guint64 *seeds = seeds_of (number);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, error);
  g_autoptr (PageMapWriter) pages =
      writer != NULL
          ? page_map_writer_new (writer, PAGES * PAGE_SIZE_BYTES,
                                 base != NULL ? &manifest_find_part (base, "ram", NULL)->map : NULL,
                                 error)
          : NULL;
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", number);
  guint8 page[PAGE_SIZE_BYTES];
  PageMap map;

  for (guint i = 0; pages != NULL && i < PAGES; i++) {
    fixture_page (seeds[i], page);
    if (!page_map_writer_put (pages, i, page, error))
      return FALSE;
  }
  if (pages == NULL || !page_map_writer_finish (pages, &map, NULL, error))
    return FALSE;
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  return store_writer_commit (writer, manifest, NULL, error);
}

static Manifest *
find_checkpoint (Store *store, guint number)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < all->len; i++)
    if (((Manifest *)all->pdata[i])->created_us == number)
      return g_ptr_array_steal_index (all, i);
  return NULL;
}

static void
must_write (Store *store, guint number)
{
  g_autoptr (GError) error = NULL;
  write_checkpoint (store, number, NULL, &error);
  g_assert_no_error (error);
}

static void
must_remove (Store *store, guint number)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = find_checkpoint (store, number);
  store_manifest_remove (store, manifest->id, &error);
  g_assert_no_error (error);
}

/* ---- The states to begin with; checkpoint 1 is in all of them ---- */

static void
prepare_one (Store *store)
{
  must_write (store, 1);
}

static void
prepare_two (Store *store)
{
  must_write (store, 1);
  must_write (store, 2);
}

static void
prepare_garbage (Store *store)
{
  prepare_two (store);
  must_write (store, 3);
  must_remove (store, 2);
}

/* Lists of an earlier gc whose writer is gone by now, and packs that nobody has condemned. */
static void
prepare_condemned (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreGcReport report;

  prepare_garbage (store);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  store_gc (store, FALSE, &report, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (report.waiting_packs, >, 0);
  must_write (store, 4);
  must_remove (store, 4);
}

/* The next checkpoint merges index tables. */
static void
prepare_many (Store *store)
{
  for (guint number = 1; number <= 16; number++)
    must_write (store, number);
}

/* Packs of many tables go. */
static void
prepare_many_removed (Store *store)
{
  prepare_many (store);
  for (guint number = 2; number <= 12; number += 3)
    must_remove (store, number);
}

static void
prepare_damaged_index (Store *store)
{
  g_autoptr (GError) error = NULL;

  prepare_garbage (store);
  g_autoptr (GPtrArray) names = store_list_names (store, "index/", &error);
  g_autofree char *file = g_build_filename (store_location (store), names->pdata[0], NULL);
  g_assert_true (g_file_set_contents (file, "damaged", -1, NULL));
}

/* Copies all into a store that a repair finds in the environment. */
static void
make_copy (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *directory = fixture_directory_new();
  g_autoptr (Store) copy = fixture_store_new (fixture_directory_backend (directory));
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, NULL, &error);
  g_autoptr (GPtrArray) copied = NULL;

  store_copy (store, copy, manifests, &copied, NULL, NULL, &error);
  g_assert_no_error (error);
  g_setenv ("POWER_CUT_COPY", directory, TRUE);
}

static void
remove_copy (void)
{
  if (g_getenv ("POWER_CUT_COPY") != NULL)
    fixture_directory_remove (g_strdup (g_getenv ("POWER_CUT_COPY")));
  g_unsetenv ("POWER_CUT_COPY");
}

/* What the first checkpoint's packs hold cannot be read any more. */
static void
prepare_damaged_packs (Store *store)
{
  g_autoptr (GError) error = NULL;

  must_write (store, 1);
  g_autoptr (GPtrArray) names = store_list_names (store, "packs/", &error);
  must_write (store, 2);
  make_copy (store);
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *file = g_build_filename (store_location (store), names->pdata[i], NULL);
    g_autofree char *contents = NULL;
    gsize len;
    g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
    contents[100] ^= 1;
    g_assert_true (g_file_set_contents (file, contents, len, NULL));
  }
}

/* A store that has checkpoint 50. */
static Store *
other_store_new (void)
{
  Store *other = fixture_store_new (backend_memory_new());

  must_write (other, 1);
  must_write (other, 50);
  return other;
}

/* The keys of an encrypted store: one from the start, one that comes. */
static KeyMaterial *
key_number (guint8 number)
{
  guint8 content[32];

  memset (content, number, sizeof content);
  return key_material_new_file (content, sizeof content, NULL);
}

/* ---- The ways to write; TRUE if it says that it succeeded ---- */

static gboolean
work_write (Store *store, GError **error)
{
  return write_checkpoint (store, 50, NULL, error);
}

static gboolean
work_increment (Store *store, GError **error)
{
  g_autoptr (Manifest) base = find_checkpoint (store, 1);
  return write_checkpoint (store, 50, base, error);
}

static gboolean
work_abort (Store *store, GError **error)
{
  g_autofree guint64 *seeds = seeds_of (50);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, error);

  if (writer != NULL)
    fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  return writer != NULL;
}

static gboolean
work_give_up_published (Store *store, GError **error)
{
  g_autofree guint64 *seeds = seeds_of (50);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, error);

  if (writer == NULL)
    return FALSE;
  fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  return store_writer_flush (writer, NULL, error);
}

static gboolean
work_remove (Store *store, GError **error)
{
  g_autoptr (Manifest) manifest = find_checkpoint (store, 2);
  return store_manifest_remove (store, manifest->id, error);
}

static gboolean
work_tag (Store *store, GError **error)
{
  g_autoptr (Manifest) manifest = find_checkpoint (store, 1);
  return store_tag_add (store, manifest->id, "kept", error);
}

static gboolean
work_gc (Store *store, GError **error)
{
  return store_gc (store, FALSE, NULL, NULL, NULL, error);
}

static gboolean
work_claim (Store *store, GError **error)
{
  g_autoptr (Claim) claim = claim_new();

  claim->guest_uuid = g_strdup (FIXTURE_UUID);
  claim->guest = g_strdup ("g1");
  claim->host = g_strdup (g_get_host_name());
  claim->boot_id = process_boot_id();
  claim->runtime = g_strdup ("/run/vmckpt");
  claim->process = process_id_of (1);
  for (guint i = 0; i < 3; i++)
    if (!store_claim_take (store, claim, FALSE, error) ||
        !store_claim_release (store, claim, error))
      return FALSE;
  return store_claim_take (store, claim, FALSE, error);
}

static gboolean
work_copy (Store *store, GError **error)
{
  g_autoptr (Store) other = other_store_new();
  g_autoptr (GPtrArray) manifests = store_manifest_list (other, NULL, NULL, error);
  g_autoptr (GPtrArray) copied = NULL;

  return store_copy (other, store, manifests, &copied, NULL, NULL, error);
}

static gboolean
work_repair (Store *store, GError **error)
{
  const char *copy = g_getenv ("POWER_CUT_COPY");
  Backend *backend = copy != NULL ? backend_directory_open (copy, FALSE, error) : NULL;
  g_autoptr (Store) from = backend != NULL ? store_open (backend, error) : NULL;
  g_autoptr (StoreRepair) repair = store_repair (store, from, FALSE, NULL, NULL, error);

  return repair != NULL;
}

static gboolean
work_quota (Store *store, GError **error)
{
  guint64 limits[] = { 1 << 30, 0, 1 << 29, 1 << 28 };

  for (guint i = 0; i < G_N_ELEMENTS (limits); i++)
    if (!store_quota_change (store, &limits[i], NULL, error))
      return FALSE;
  return TRUE;
}

static gboolean
work_key_add (Store *store, GError **error)
{
  g_autoptr (KeyMaterial) second = key_number (2);
  g_autofree char *id = store_key_add (store, second, "second", error);

  return id != NULL;
}

static gboolean
work_key_change (Store *store, GError **error)
{
  g_autoptr (KeyMaterial) first = key_number (1), second = key_number (2);
  g_autofree char *old = store_key_find (store, first, error);
  g_autofree char *id = old != NULL ? store_key_change (store, old, second, error) : NULL;

  return id != NULL;
}

/* What must be so once it was said that it succeeded. */

static void
promise_written (Store *store)
{
  g_autoptr (Manifest) manifest = find_checkpoint (store, 50);
  g_assert_nonnull (manifest);
}

static void
promise_removed (Store *store)
{
  g_autoptr (Manifest) manifest = find_checkpoint (store, 2);
  g_assert_null (manifest);
}

static void
promise_tag (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = store_manifest_find (store, "g1@kept", &error);
  g_assert_no_error (error);
}

static void
promise_claim (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Claim) claim = store_claim_get (store, FIXTURE_UUID, &error);
  g_assert_no_error (error);
  g_assert_nonnull (claim);
  g_assert_cmpstr (claim->runtime, ==, "/run/vmckpt");
}

static void
promise_quota (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreQuota) quota = store_quota_get (store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (quota->store_limit, ==, 1 << 28);
}

static void
promise_second_key (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) second = key_number (2);
  g_autofree char *id = store_key_find (store, second, &error);
  g_assert_no_error (error);
}

/* What is damaged at first must be whole when the repair is made again. */
static void
heal (Store *store)
{
  g_autoptr (GError) error = NULL;

  work_repair (store, &error);
  g_assert_no_error (error);
  /* What was damaged is left to gc. */
  store_gc (store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
}

typedef struct {
  const char *name;
  void (*prepare) (Store *store);
  gboolean (*work) (Store *store, GError **error);
  void (*promise) (Store *store); /* (nullable) */
  guint removes;                  /* number of a checkpoint that it may remove, or 0 */
  gboolean may_fail;              /* also try it with each fault */
  gboolean encrypted;
  void (*heal) (Store *store); /* (nullable): the store is damaged, and this mends it */
} Path;

static const Path paths[] = {
  { "write", prepare_one, work_write, promise_written, 0, TRUE },
  { "increment", prepare_two, work_increment, promise_written, 0 },
  { "write-beside-condemned", prepare_condemned, work_write, promise_written, 0 },
  { "merge", prepare_many, work_write, promise_written, 0 },
  { "abort", prepare_one, work_abort, NULL, 0 },
  { "give-up-published", prepare_one, work_give_up_published, NULL, 0 },
  { "remove", prepare_two, work_remove, promise_removed, 2 },
  { "tag", prepare_one, work_tag, promise_tag, 0, TRUE },
  { "gc", prepare_garbage, work_gc, NULL, 0, TRUE },
  { "gc-condemned", prepare_condemned, work_gc, NULL, 0, TRUE },
  { "gc-many", prepare_many_removed, work_gc, NULL, 0 },
  { "gc-damaged-index", prepare_damaged_index, work_gc, NULL, 0 },
  { "copy", prepare_two, work_copy, promise_written, 0 },
  { "repair", prepare_damaged_packs, work_repair, NULL, 0, TRUE, FALSE, heal },
  { "repair-index", prepare_damaged_index, work_repair, NULL, 0, FALSE, FALSE, heal },
  { "quota", prepare_one, work_quota, promise_quota, 0, TRUE },
  { "encrypted-write", prepare_one, work_write, promise_written, 0, FALSE, TRUE },
  { "encrypted-gc", prepare_condemned, work_gc, NULL, 0, FALSE, TRUE },
  { "key-add", prepare_one, work_key_add, promise_second_key, 0, FALSE, TRUE },
  { "key-change", prepare_one, work_key_change, promise_second_key, 0, TRUE, TRUE },
  { "claim", prepare_one, work_claim, promise_claim, 0, TRUE },
};

/* ---- Trying one path ---- */

/* Opens a store; an encrypted one with the first key, or with the one that took its place. */
static Store *
open_store (const char *directory)
{
  g_autoptr (GError) error = NULL;
  Store *store = store_open (fixture_directory_backend (directory), &error);

  for (guint key = 1; store == NULL && key <= 2; key++) {
    g_autoptr (KeyMaterial) material = key_number (key);
    g_assert_true (error->domain == STORE_ERROR);
    g_clear_error (&error);
    store = store_open_with_key (fixture_directory_backend (directory), material, NULL, &error);
  }
  g_assert_no_error (error);
  return store;
}

static int
child_main (const char *name, const char *directory)
{
  g_autoptr (GError) error = NULL;

  alarm (120); /* a hang is a failure */
  if (g_str_equal (name, "init")) {
    g_autoptr (Backend) backend = fixture_directory_backend (directory);
    if (!store_init (backend, &error))
      return 1;
    power_cut_promise ("done");
    return 0;
  }
  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    if (!g_str_equal (paths[i].name, name))
      continue;
    g_autoptr (Store) store = open_store (directory);
    if (!paths[i].work (store, &error))
      return 1;
    power_cut_promise ("done");
    return 0;
  }
  return 2;
}

/* All checkpoints that are there hold what they should; returns how many there are. */
static guint
assert_checkpoints (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, &damaged, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (damaged->len, ==, 0);
  for (guint i = 0; i < all->len; i++) {
    const Manifest *manifest = all->pdata[i];
    g_autofree guint64 *seeds = seeds_of (manifest->created_us);
    fixture_assert_map (store, &manifest_find_part (manifest, "ram", NULL)->map, seeds, PAGES);
  }
  return all->len;
}

static void
assert_sound (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  for (guint i = 0; i < findings->len; i++)
    g_test_message ("%s %s", ((StoreFinding *)findings->pdata[i])->object,
                    ((StoreFinding *)findings->pdata[i])->problem);
  g_assert_cmpuint (findings->len, ==, 0);
}

static void
assert_clean (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreStats stats;

  g_assert_true (store_stats (store, TRUE, &stats, NULL, NULL, &error));
  g_assert_cmpuint (stats.unused_bytes, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "tmp/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
  assert_sound (store);
}

/* Everything that must hold after a cut. */
static void
assert_recovers (const Path *path, const char *directory, const guint *before, gboolean promised)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (directory);

  if (path->heal != NULL)
    path->heal (store);
  guint there = assert_checkpoints (store);
  for (; *before != 0; before++) {
    g_autoptr (Manifest) manifest = find_checkpoint (store, *before);
    g_assert_true (manifest != NULL || *before == path->removes);
  }
  if (promised && path->promise != NULL)
    path->promise (store);
  if (path->prepare != prepare_damaged_index || path->heal != NULL)
    assert_sound (store);
  must_write (store, NEXT);
  g_assert_cmpuint (assert_checkpoints (store), ==, there + 1);
  store_gc (store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (assert_checkpoints (store), ==, there + 1);
  assert_clean (store);
}

/* Numbers of the checkpoints that are there, ending in 0. */
static guint *
numbers_of (Store *store)
{
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, NULL);
  guint *numbers = g_new0 (guint, all->len + 1);

  for (guint i = 0; i < all->len; i++)
    numbers[i] = ((Manifest *)all->pdata[i])->created_us;
  return numbers;
}

typedef struct {
  const Path *path;
  PowerCut *cut;
  const guint *before;
  GHashTable *seen; /* digests of trees that were tried */
  guint32 seed;
} Trial;

static void
try_cut (Trial *trial, guint steps, PowerCutMode mode, guint round)
{
  static const char *const modes[] = { "lose", "keep", "last", "some" };
  g_autoptr (FixtureDirectory) after = fixture_directory_new();
  g_autoptr (GRand) chance = g_rand_new_with_seed (trial->seed + 1000 * steps + round);
  char *digest = power_cut_restore (trial->cut, steps, mode, chance, after);
  gboolean promised = power_cut_promised (trial->cut, steps, "done");
  g_autofree char *key = g_strdup_printf ("%s %d", digest, promised);

  g_free (digest);
  if (!g_hash_table_add (trial->seen, g_strdup (key)))
    return;
  /* Told only if it is the last word. */
  g_autofree char *what = g_strdup_printf (
      "POWER_CUT_SEED=%u: %s, cut after step %u (%s), %s", trial->seed, trial->path->name, steps,
      steps > 0 ? power_cut_step (trial->cut, steps - 1) : "none", modes[mode]);
  g_test_message ("%s", what);
  assert_recovers (trial->path, after, trial->before, promised);
}

/* Runs the path once, recorded, and cuts after each step; without @rounds, only in one way. FALSE
 * if it did not come to the fault. */
static gboolean
try_path (const Path *path, const char *fault, guint rounds)
{
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autofree guint *before = NULL;
  {
    g_autoptr (GError) error = NULL;
    g_autoptr (KeyMaterial) first = key_number (1);
    g_autoptr (Backend) backend = fixture_directory_backend (directory);
    if (path->encrypted)
      store_init_encrypted (backend, first, "first", &error);
    else
      store_init (backend, &error);
    g_assert_no_error (error);
    g_autoptr (Store) store = open_store (directory);
    path->prepare (store);
    before = numbers_of (store);
  }
  g_autoptr (PowerCut) cut = power_cut_new (directory);
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  const char *argv[] = { "/proc/self/exe", "--child", path->name, directory, NULL };
  int status = power_cut_run (cut, argv, fault);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), <=, fault != NULL);
  if (fault != NULL && WEXITSTATUS (status) == 0 && !strstr (fault, "manifest-written")) {
    remove_copy();
    return FALSE;
  }
  const char *seed = g_getenv ("POWER_CUT_SEED");
  Trial trial = { path, cut, before, seen,
                  seed != NULL ? atoi (seed) : g_test_rand_int() & 0xffff };
  for (guint steps = 0; steps <= power_cut_steps (cut); steps++) {
    try_cut (&trial, steps, POWER_CUT_LOSE, 0);
    try_cut (&trial, steps, POWER_CUT_LAST, 0);
    if (rounds > 0)
      try_cut (&trial, steps, POWER_CUT_KEEP, 0);
    for (guint round = 1; round <= rounds; round++)
      try_cut (&trial, steps, POWER_CUT_SOME, round);
  }
  g_test_message ("%s%s%s: %u steps, %u states", path->name, fault != NULL ? " with " : "",
                  fault != NULL ? fault : "", power_cut_steps (cut), g_hash_table_size (seen));
  remove_copy();
  return TRUE;
}

/* A store that was being made is there, or can be made; one that was made is there. */
static void
try_init_cut (PowerCut *cut, guint steps, PowerCutMode mode)
{
  g_autoptr (FixtureDirectory) after = fixture_directory_new();
  g_autoptr (GRand) chance = g_rand_new_with_seed (steps);
  g_autoptr (GError) error = NULL;

  g_free (power_cut_restore (cut, steps, mode, chance, after));
  g_autoptr (Backend) backend = fixture_directory_backend (after);
  gboolean made = store_init (backend, &error);
  if (made)
    g_assert_false (power_cut_promised (cut, steps, "done"));
  else
    g_assert_error (error, STORE_ERROR, STORE_ERROR_EXISTS);
  g_autoptr (Store) store = open_store (after);
  must_write (store, 1);
  g_assert_cmpuint (assert_checkpoints (store), ==, 1);
}

static void
test_init (void)
{
  g_autoptr (FixtureDirectory) directory = fixture_directory_new();
  g_autoptr (PowerCut) cut = power_cut_new (directory);
  const char *argv[] = { "/proc/self/exe", "--child", "init", directory, NULL };

  g_assert_cmpint (power_cut_run (cut, argv, NULL), ==, 0);
  g_assert_true (power_cut_promised (cut, power_cut_steps (cut), "done"));
  for (guint steps = 0; steps <= power_cut_steps (cut); steps++)
    for (PowerCutMode mode = POWER_CUT_LOSE; mode <= POWER_CUT_SOME; mode++)
      try_init_cut (cut, steps, mode);
}

static void
test_path (gconstpointer data)
{
  try_path (data, NULL, g_test_slow() ? 20 : 1);
}

/* The points that the store visits; each that a path does not come to costs a run for nothing. */
static const FaultPoint store_points[] = {
  FAULT_WRITER_ANNOUNCED, FAULT_OBJECT_WRITTEN, FAULT_OBJECT_SYNCED,    FAULT_OBJECT_NAMED,
  FAULT_PACKS_SYNCED,     FAULT_INDEX_WRITTEN,  FAULT_MANIFEST_WRITTEN, FAULT_GC_CONDEMNED,
  FAULT_GC_UNINDEXED,     FAULT_GC_DELETING,    FAULT_REPAIR_INDEXED,   FAULT_REPAIR_SALVAGED,
  FAULT_REPAIR_CONDEMNED, FAULT_KEY_MARKED,     FAULT_KEY_ADDED,
};

/* The way in which a path fails is a way to write, too. */
static void
test_failing (gconstpointer data)
{
  const Path *path = data;
  guint tried = 0, visits = g_test_slow() ? 3 : 1;

  for (guint i = 0; i < G_N_ELEMENTS (store_points); i++) {
    FaultPoint point = store_points[i];
    for (guint visit = 1; visit <= visits; visit++) {
      g_autofree char *fault = g_strdup_printf ("%s:eio:%u", fault_point_name (point), visit);
      gboolean manifest = point == FAULT_MANIFEST_WRITTEN;
      if ((manifest && (visit > 1 || path->promise != promise_written)) ||
          !try_path (path, fault, 0))
        break;
      tried++;
    }
  }
  g_assert_cmpuint (tried, >=, 3);
}

int
main (int argc, char **argv)
{
  if (argc == 4 && g_str_equal (argv[1], "--child"))
    return child_main (argv[2], argv[3]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/power-cut/init", test_init);
  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    g_autofree char *name = g_strconcat ("/store/power-cut/", paths[i].name, NULL);
    g_test_add_data_func (name, &paths[i], test_path);
    g_autofree char *failing = g_strconcat (name, "/failing", NULL);
    if (paths[i].may_fail)
      g_test_add_data_func (failing, &paths[i], test_failing);
  }
  return g_test_run();
}
