/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every fault point of writing and of gc, with a kill, a full disk and an I/O error, in a process
 * of its own. Afterwards: the earlier checkpoint verifies, the failed one is whole or not there,
 * the next one succeeds, and gc leaves nothing that nothing needs.
 */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/copy.h>
#include <vmckpt/store/repair.h>
#include <vmckpt/util/fault.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 600

static guint64 *
seeds_new (guint64 first)
{
  guint64 *seeds = g_new (guint64, PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i % 3 == 0 ? 1 + i : first + i;
  return seeds;
}

/* What the child does: one checkpoint. Exits 0 if it says so. */
static gboolean
write_checkpoint (const char *path)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, FALSE, &error);
  g_autoptr (Store) store = backend != NULL ? store_open (backend, &error) : NULL;
  g_autofree guint64 *seeds = seeds_new (100000);
  g_autoptr (StoreWriter) writer = store != NULL ? store_writer_begin (store, &error) : NULL;
  g_autoptr (PageMapWriter) pages =
      writer != NULL ? page_map_writer_new (writer, PAGES * PAGE_SIZE_BYTES, NULL, &error) : NULL;
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 2);
  guint8 page[PAGE_SIZE_BYTES];
  PageMap map;

  for (guint i = 0; pages != NULL && i < PAGES; i++) {
    fixture_page (seeds[i], page);
    if (!page_map_writer_put (pages, i, page, &error))
      return FALSE;
  }
  if (pages == NULL || !page_map_writer_finish (pages, &map, NULL, &error))
    return FALSE;
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  return store_writer_commit (writer, manifest, NULL, &error);
}

static gboolean
collect_garbage (const char *path)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, FALSE, &error);
  g_autoptr (Store) store = backend != NULL ? store_open (backend, &error) : NULL;

  return store != NULL && store_gc (store, FALSE, NULL, NULL, NULL, &error);
}

/* The other store of a test lies in this directory beside the objects of the first, where it is
 * nothing to that. */
static char *
other_path (const char *path)
{
  return g_build_filename (path, "other", NULL);
}

static gboolean
copy_all (const char *path)
{
  g_autofree char *other = other_path (path);
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) from = store_open (fixture_directory_backend (path), &error);
  g_autoptr (Store) to = store_open (fixture_directory_backend (other), &error);
  g_autoptr (GPtrArray) all = store_manifest_list (from, NULL, NULL, &error);
  g_autoptr (GPtrArray) copied = NULL;

  return store_copy (from, to, all, &copied, NULL, NULL, &error);
}

static gboolean
repair_from_other (const char *path)
{
  g_autofree char *other = other_path (path);
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autoptr (Store) from = store_open (fixture_directory_backend (other), &error);
  g_autoptr (StoreRepair) report = store_repair (store, from, FALSE, NULL, NULL, &error);

  return report != NULL;
}

/* Runs this program again as a child with the fault armed; returns how it ended, as waitpid() says.
 * A program reads the plan once, so it must be a new one. */
static int
run_with_fault (const char *path, const char *fault, const char *work)
{
  const char *argv[] = { "/proc/self/exe", "--child", work, path, NULL };
  g_auto (GStrv) environment = g_environ_setenv (g_get_environ(), "VMCKPT_FAULT", fault, TRUE);
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **)argv, environment, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                NULL, &status, &error);
  g_assert_no_error (error);
  return status;
}

/* The child: does its work and says how it went. */
static int
child_main (const char *work, const char *path)
{
  alarm (60); /* a hang is a failure */
  if (!fault_check_environment (NULL))
    return 2;
  if (g_str_equal (work, "write"))
    return write_checkpoint (path) ? 0 : 1;
  if (g_str_equal (work, "copy"))
    return copy_all (path) ? 0 : 1;
  if (g_str_equal (work, "repair"))
    return repair_from_other (path) ? 0 : 1;
  return collect_garbage (path) ? 0 : 1;
}

/* No object that nothing needs: exactly what the given checkpoints need, and no more. */
static void
assert_clean (Store *store, guint checkpoints)
{
  g_autoptr (GError) error = NULL;
  StoreStats stats;
  g_autoptr (GPtrArray) findings = NULL;

  g_assert_true (store_stats (store, TRUE, &stats, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (stats.checkpoints, ==, checkpoints);
  g_assert_cmpuint (stats.unused_bytes, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "tmp/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  g_assert_cmpuint (findings->len, ==, 0);
}

/* After the fault: everything that must hold. */
static void
assert_recovers (const char *path, const char *first_id, const guint64 *first)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autofree guint64 *second = seeds_new (100000);

  g_assert_no_error (error);
  fixture_assert_checkpoint (store, first_id, first, PAGES);
  g_autoptr (GPtrArray) found = store_manifest_list (store, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < found->len; i++) {
    const Manifest *manifest = found->pdata[i];
    if (!g_str_equal (manifest->id, first_id))
      fixture_assert_checkpoint (store, manifest->id, second, PAGES);
  }
  /* The next one succeeds. */
  g_autofree guint64 *third = seeds_new (200000);
  g_autoptr (Manifest) next = fixture_checkpoint (store, 3, third, PAGES, NULL, NULL);
  fixture_assert_checkpoint (store, next->id, third, PAGES);
  g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  fixture_assert_checkpoint (store, next->id, third, PAGES);
  assert_clean (store, found->len + 1);
}

/* A checkpoint that meets the fault. */
static void
try_writing (FaultPoint point, const char *action, guint visit)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autofree guint64 *first = seeds_new (1);
  g_autofree char *id = NULL;
  g_autofree char *fault = g_strdup_printf ("%s:%s:%u", fault_point_name (point), action, visit);
  {
    g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
    g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
    id = g_strdup (one->id);
  }
  int status = run_with_fault (path, fault, "write");
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), NULL);
  g_autoptr (GPtrArray) found = store_manifest_list (store, NULL, NULL, NULL);
  gboolean killed = WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL;
  g_assert_true (killed || WIFEXITED (status));
  g_test_message ("%s: %s, %u checkpoints", fault,
                  killed                      ? "killed"
                  : WEXITSTATUS (status) == 0 ? "succeeded"
                                              : "failed",
                  found->len);
  /* Whoever was told that it succeeded has it; whoever was told that it failed has not. */
  if (!killed)
    g_assert_cmpuint (found->len, ==, WEXITSTATUS (status) == 0 ? 2 : 1);
  if (visit == 1 && point != FAULT_MANIFEST_WRITTEN)
    g_assert_true (killed || WEXITSTATUS (status) == 1); /* the point was reached */
  if (point == FAULT_MANIFEST_WRITTEN)
    g_assert_cmpuint (found->len, ==, 2);
  assert_recovers (path, id, first);
}

/* A gc that meets the fault; one checkpoint is to go, one to stay. */
static void
try_gc (FaultPoint point, const char *action, guint visit)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autofree guint64 *first = seeds_new (1), *gone = seeds_new (300000);
  g_autofree char *id = NULL;
  g_autofree char *fault = g_strdup_printf ("%s:%s:%u", fault_point_name (point), action, visit);
  {
    g_autoptr (GError) error = NULL;
    g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
    g_autoptr (Manifest) zero = fixture_checkpoint (store, 0, gone, PAGES, NULL, NULL);
    g_autoptr (Manifest) one = fixture_checkpoint (store, 1, first, PAGES, NULL, NULL);
    id = g_strdup (one->id);
    g_assert_true (store_manifest_remove (store, zero->id, &error));
  }
  int status = run_with_fault (path, fault, "gc");
  if (visit == 1)
    g_assert_true (WIFSIGNALED (status) || WEXITSTATUS (status) == 1);
  assert_recovers (path, id, first);
}

/* A store with one checkpoint, and another store, empty. */
static char *
two_stores (const guint64 *seeds)
{
  char *path = fixture_directory_new();
  g_autofree char *other = other_path (path);
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  g_autoptr (Store) empty = fixture_store_new (fixture_directory_backend (other));
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);

  g_assert_nonnull (empty);
  return path;
}

/* A copy that meets the fault: what is there is whole, and the next one makes the rest. */
static void
try_copy (FaultPoint point, const char *action, guint visit)
{
  g_autofree guint64 *first = seeds_new (1);
  g_autoptr (FixtureDirectory) path = two_stores (first);
  g_autofree char *other = other_path (path);
  g_autofree char *fault = g_strdup_printf ("%s:%s:%u", fault_point_name (point), action, visit);
  g_autoptr (GError) error = NULL;
  int status = run_with_fault (path, fault, "copy");

  if (visit == 1 && point != FAULT_MANIFEST_WRITTEN)
    g_assert_true (WIFSIGNALED (status) || WEXITSTATUS (status) == 1);
  g_autoptr (Store) to = store_open (fixture_directory_backend (other), &error);
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GPtrArray) found = store_manifest_list (to, NULL, NULL, &error);
    g_assert_cmpuint (found->len, >=, i);
    g_assert_cmpuint (found->len, <=, 1);
    for (guint j = 0; j < found->len; j++)
      fixture_assert_checkpoint (to, ((Manifest *)found->pdata[j])->id, first, PAGES);
    g_assert_true (copy_all (path));
  }
  g_assert_true (store_gc (to, FALSE, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  assert_clean (to, 1);
}

/* Flips a byte of the pack that the first page is in. */
static void
damage_first_page (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, &error);
  const ManifestPart *part = manifest_find_part (all->pdata[0], "ram", NULL);
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &part->map, &error);
  g_autofree char *contents = NULL;
  ChunkLocation location;
  ChunkName name;
  gsize len;

  g_assert_true (page_map_reader_name (reader, 0, &name, &error));
  g_assert_true (store_chunk_locate (store, &name, &location, &error));
  g_autofree char *object = object_name ("packs", &location.pack);
  g_autofree char *file = g_build_filename (path, object, NULL);
  g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
  contents[location.frame.offset + location.frame.stored_len / 2] ^= 1;
  g_assert_true (g_file_set_contents (file, contents, len, NULL));
}

static void
lose_index (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autoptr (GPtrArray) tables = store_list_names (store, "index/", &error);

  for (guint i = 0; i < tables->len; i++)
    g_assert_true (store_remove (store, tables->pdata[i], &error));
}

/* A repair that meets the fault: nothing more is lost, and the next one mends it all. */
static void
try_repair (FaultPoint point, const char *action, guint visit)
{
  g_autofree guint64 *first = seeds_new (1);
  g_autoptr (FixtureDirectory) path = two_stores (first);
  g_autofree char *fault = g_strdup_printf ("%s:%s:%u", fault_point_name (point), action, visit);
  g_autoptr (GError) error = NULL;

  g_assert_true (copy_all (path));
  damage_first_page (path);
  if (point == FAULT_REPAIR_INDEXED)
    lose_index (path);
  int status = run_with_fault (path, fault, "repair");
  if (visit == 1)
    g_assert_true (WIFSIGNALED (status) || WEXITSTATUS (status) == 1);
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autoptr (StoreRepair) alone = store_repair (store, NULL, FALSE, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < alone->hurt->len; i++) {
    const StoreHurt *hurt = alone->hurt->pdata[i];
    /* One frame was hit. */
    g_assert_cmpuint (((StoreHurtPart *)hurt->parts->pdata[0])->left_pages, <=,
                      FRAME_MAX_BYTES / PAGE_SIZE_BYTES);
  }
  g_assert_true (repair_from_other (path));
  g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  g_autoptr (GPtrArray) found = store_manifest_list (store, NULL, NULL, &error);
  g_assert_cmpuint (found->len, ==, 1);
  fixture_assert_checkpoint (store, ((Manifest *)found->pdata[0])->id, first, PAGES);
  assert_clean (store, 1);
}

static const char *const actions[] = { "kill", "enospc", "eio" };

static void
test_writing (gconstpointer data)
{
  FaultPoint point = GPOINTER_TO_INT (data);
  /* Objects are put several times in a checkpoint: announcement, packs, table, manifest. */
  guint visits = point >= FAULT_OBJECT_WRITTEN && point <= FAULT_OBJECT_NAMED ? 6 : 1;

  for (guint visit = 1; visit <= visits; visit++)
    for (guint i = 0; i < G_N_ELEMENTS (actions); i++)
      try_writing (point, actions[i], visit);
}

static void
test_gc (gconstpointer data)
{
  FaultPoint point = GPOINTER_TO_INT (data);
  guint visits = point >= FAULT_GC_CONDEMNED && point != FAULT_GC_DELETING ? 1 : 6;

  for (guint visit = 1; visit <= visits; visit++)
    for (guint i = 0; i < G_N_ELEMENTS (actions); i++)
      try_gc (point, actions[i], visit);
}

/* Killed only: what an error does is the writer's and shown there. */
static void
test_copy (gconstpointer data)
{
  FaultPoint point = GPOINTER_TO_INT (data);
  guint visits = point >= FAULT_OBJECT_WRITTEN && point <= FAULT_OBJECT_NAMED ? 6 : 1;

  for (guint visit = 1; visit <= visits; visit++)
    try_copy (point, "kill", visit);
}

static void
test_repair (gconstpointer data)
{
  FaultPoint point = GPOINTER_TO_INT (data);
  guint visits = point >= FAULT_OBJECT_WRITTEN && point <= FAULT_OBJECT_NAMED ? 6 : 1;

  for (guint visit = 1; visit <= visits; visit++)
    try_repair (point, "kill", visit);
  try_repair (point, "enospc", visits);
}

static void
add (const char *what, FaultPoint point, GTestDataFunc func)
{
  g_autofree char *path = g_strdup_printf ("/store/faults/%s/%s", what, fault_point_name (point));

  g_test_add_data_func (path, GINT_TO_POINTER (point), func);
}

int
main (int argc, char **argv)
{
  static const FaultPoint writing[] = { FAULT_WRITER_ANNOUNCED, FAULT_OBJECT_WRITTEN,
                                        FAULT_OBJECT_SYNCED,    FAULT_OBJECT_NAMED,
                                        FAULT_PACKS_SYNCED,     FAULT_INDEX_WRITTEN,
                                        FAULT_MANIFEST_WRITTEN };
  static const FaultPoint gc[] = { FAULT_OBJECT_WRITTEN, FAULT_OBJECT_SYNCED, FAULT_OBJECT_NAMED,
                                   FAULT_GC_CONDEMNED,   FAULT_GC_UNINDEXED,  FAULT_GC_DELETING };

  static const FaultPoint repair[] = { FAULT_OBJECT_WRITTEN,  FAULT_OBJECT_NAMED,
                                       FAULT_PACKS_SYNCED,    FAULT_INDEX_WRITTEN,
                                       FAULT_REPAIR_INDEXED,  FAULT_REPAIR_SALVAGED,
                                       FAULT_REPAIR_CONDEMNED };

  if (argc == 4 && g_str_equal (argv[1], "--child"))
    return child_main (argv[2], argv[3]);
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (writing); i++)
    add ("writing", writing[i], test_writing);
  for (guint i = 0; i < G_N_ELEMENTS (gc); i++)
    add ("gc", gc[i], test_gc);
  for (guint i = 0; i < G_N_ELEMENTS (writing); i++)
    add ("copy", writing[i], test_copy);
  for (guint i = 0; i < G_N_ELEMENTS (repair); i++)
    add ("repair", repair[i], test_repair);
  return g_test_run();
}
