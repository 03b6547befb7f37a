/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits: what is kept of them, what counts, and that a transaction stays below them. */
#include "store-fixture.h"

#include "quota-private.h"
#include "store-private.h"

#include <vmckpt/store/quota.h>
#include <vmckpt/util/fault.h>

#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2000 /* 4 MiB that do not compress further */

/* ---- The limits as objects ---- */

static GHashTable *
guests_of (const char *name, guint64 limit)
{
  GHashTable *guests = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);

  g_hash_table_insert (guests, g_strdup (name), g_memdup2 (&limit, sizeof limit));
  return guests;
}

static void
change_guest (Store *store, const char *name, guint64 limit)
{
  g_autoptr (GHashTable) guests = guests_of (name, limit);
  g_autoptr (GError) error = NULL;

  store_quota_change (store, NULL, guests, &error);
  g_assert_no_error (error);
}

static void
change_store (Store *store, guint64 limit)
{
  g_autoptr (GError) error = NULL;

  store_quota_change (store, &limit, NULL, &error);
  g_assert_no_error (error);
}

static void
assert_limits (Store *store, guint64 store_limit, const char *guest, guint64 guest_limit)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreQuota) quota = store_quota_get (store, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (quota->store_limit, ==, store_limit);
  g_assert_cmpuint (g_hash_table_size (quota->guests), ==, guest != NULL ? 1 : 0);
  if (guest != NULL)
    g_assert_cmpuint (*(guint64 *)g_hash_table_lookup (quota->guests, guest), ==, guest_limit);
}

static void
test_set_and_get (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());

  assert_limits (store, 0, NULL, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "quota/"), ==, 0);
  change_store (store, 1 << 20);
  assert_limits (store, 1 << 20, NULL, 0);
  change_guest (store, "g1", 4096); /* leaves the other alone */
  assert_limits (store, 1 << 20, "g1", 4096);
  change_store (store, 0);
  assert_limits (store, 0, "g1", 4096);
  change_guest (store, "g1", 0);
  assert_limits (store, 0, NULL, 0);
  /* Objects do not pile up, and numbers never fall. */
  g_assert_cmpuint (fixture_count_objects (store->backend, "quota/"), ==, 2);
  g_autoptr (StoreQuota) quota = store_quota_get (store, NULL);
  g_assert_cmpuint (quota->number, ==, 4);
}

static void
test_refused_limits (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GHashTable) bad_name = guests_of ("a/b", 4096);
  g_autoptr (GHashTable) bad_limit = guests_of ("g1", QUOTA_LIMIT_MAX + 1);
  const guint64 too_much = QUOTA_LIMIT_MAX + 1;
  g_autoptr (GError) error = NULL;

  g_assert_false (store_quota_change (store, NULL, bad_name, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (store_quota_change (store, NULL, bad_limit, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (store_quota_change (store, &too_much, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  assert_limits (store, 0, NULL, 0);
}

static GBytes *
object_of (Store *store, const char *json)
{
  g_autofree char *text = g_strdup_printf ("vmckpt-quota 1 1\n%s\n", json);
  ChunkName hash;

  chunk_name_of (&store->key, text, strlen (text), &hash);
  g_autofree char *hex = chunk_name_to_hex (&hash);
  char *whole = g_strdup_printf ("%s%s\n", text, hex);
  return g_bytes_new_take (whole, strlen (whole));
}

static void
test_objects_that_cannot_be (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  static const char *const bad[] = {
    "{}",
    "{\"guests\":[]}",
    "{\"guests\":{},\"store_limit\":0}",
    "{\"guests\":{},\"store_limit\":-1}",
    "{\"guests\":{},\"store_limit\":\"1\"}",
    "{\"guests\":{},\"store_limit\":1152921504606846977}",
    "{\"guests\":{\"g\":0}}",
    "{\"guests\":{\"g\":null}}",
    "{\"guests\":{\"../g\":5}}",
    "{\"guests\":{\"\":5}}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GBytes) bytes = object_of (store, bad[i]);
    g_test_message ("%s", bad[i]);
    g_assert_null (quota_from_bytes (bytes, &store->key, &error));
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  }
  g_autoptr (GBytes) good = object_of (store, "{\"guests\":{\"g\":5},\"later\":1}");
  g_autoptr (StoreQuota) quota = quota_from_bytes (good, &store->key, NULL);
  g_assert_nonnull (quota);
}

/* Damaged limits: nobody writes without knowing them, check names them, setting them mends it. */
static void
test_damaged (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GBytes) nonsense = g_bytes_new_static ("nonsense\n", 9);
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  change_store (store, 1 << 20);
  g_assert_true (store_put (store, "quota/7", nonsense, NULL, &error));
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_assert_no_error (error);
  g_assert_false (store_writer_enforce_quota (writer, "g1", &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, "quota/7"));
  g_assert_nonnull (strstr (error->message, "vmckpt store quota"));
  g_clear_error (&error);
  g_clear_pointer (&writer, store_writer_free);
  g_assert_true (store_check (store, FALSE, &findings, NULL, NULL, &error));
  g_assert_cmpuint (findings->len, ==, 1);
  g_assert_cmpstr (((StoreFinding *)findings->pdata[0])->object, ==, "quota/7");
  change_store (store, 1 << 21);
  assert_limits (store, 1 << 21, NULL, 0);
}

typedef struct {
  Store *store;
  guint number;
} Setter;

static gpointer
set_main (gpointer data)
{
  const Setter *setter = data;
  g_autofree char *name = g_strdup_printf ("g%u", setter->number);

  for (guint64 i = 1; i <= 50; i++)
    change_guest (setter->store, name, i);
  return NULL;
}

/* Of changes at the same time none is lost. */
static void
test_race (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Setter setters[4];
  GThread *threads[G_N_ELEMENTS (setters)];

  for (guint i = 0; i < G_N_ELEMENTS (setters); i++) {
    setters[i] = (Setter){ store, i };
    threads[i] = g_thread_new ("quota", set_main, &setters[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (setters); i++)
    g_thread_join (threads[i]);
  g_autoptr (StoreQuota) quota = store_quota_get (store, NULL);
  g_assert_cmpuint (g_hash_table_size (quota->guests), ==, G_N_ELEMENTS (setters));
  for (guint i = 0; i < G_N_ELEMENTS (setters); i++) {
    g_autofree char *name = g_strdup_printf ("g%u", i);
    g_assert_cmpuint (*(guint64 *)g_hash_table_lookup (quota->guests, name), ==, 50);
  }
}

/* ---- What counts ---- */

/* A checkpoint whose report says what it stored. Fails with @error if a limit does not let it. */
static Manifest *
checkpoint (Store *store, const char *guest, guint64 first_seed, GError **error)
{
  g_autoptr (StoreWriter) writer = store_writer_begin (store, error);
  guint8 page[PAGE_SIZE_BYTES];
  StoreWriterStats stats;
  PageMap map;

  g_assert_nonnull (writer);
  if (!store_writer_enforce_quota (writer, guest, error))
    return NULL;
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, PAGES * PAGE_SIZE_BYTES, NULL, error);
  for (guint i = 0; pages != NULL && i < PAGES; i++) {
    fixture_page (first_seed + i, page);
    if (!page_map_writer_put (pages, i, page, error))
      return NULL;
  }
  if (pages == NULL || !page_map_writer_finish (pages, &map, NULL, error) ||
      !store_writer_flush (writer, NULL, error))
    return NULL;
  store_writer_stats (writer, &stats);
  g_autoptr (Manifest) manifest = fixture_manifest_new (guest, (gint64)first_seed);
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  manifest->report = json_object_new();
  json_object_set_int_member (manifest->report, "stored_bytes", (gint64)stats.stored_bytes);
  return store_writer_commit (writer, manifest, NULL, error) ? g_steal_pointer (&manifest) : NULL;
}

static guint64
used (Store *store)
{
  guint64 bytes;

  g_assert_true (store_quota_used (store, &bytes, NULL));
  return bytes;
}

static guint64
used_by_guest (Store *store, const char *guest)
{
  g_autoptr (GHashTable) guests = store_quota_used_by_guests (store, NULL);
  const guint64 *bytes = g_hash_table_lookup (guests, guest);

  return bytes != NULL ? *bytes : 0;
}

/* What is shared counts for who brought it; the store's account is what stats say. */
static void
test_accounts (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  StoreStats stats;

  g_autoptr (Manifest) a = checkpoint (store, "g1", 1000, &error);
  g_assert_no_error (error);
  g_autoptr (Manifest) b = checkpoint (store, "g2", 1000, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (used_by_guest (store, "g1"), >, PAGES * PAGE_SIZE_BYTES / 2);
  g_assert_cmpuint (used_by_guest (store, "g2"), ==, 0);
  g_assert_true (store_stats (store, FALSE, &stats, NULL, NULL, &error));
  g_assert_cmpuint (used (store), ==, stats.pack_bytes + stats.other_bytes);
  /* At once off the guest's account, with gc off the store's. */
  g_assert_true (store_manifest_remove (store, a->id, &error));
  g_assert_true (store_manifest_remove (store, b->id, &error));
  g_assert_cmpuint (used_by_guest (store, "g1"), ==, 0);
  g_assert_cmpuint (used (store), >, PAGES * PAGE_SIZE_BYTES / 2);
  g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  g_assert_cmpuint (used (store), <, 4096);
}

/* ---- Limits that bind ---- */

static void
assert_refused (Store *store, const char *guest, guint64 seed, const char *who, const char *what)
{
  g_autoptr (GError) error = NULL;
  guint64 before = used (store);
  g_autoptr (Manifest) manifest = checkpoint (store, guest, seed, &error);

  g_assert_null (manifest);
  g_assert_error (error, STORE_ERROR, STORE_ERROR_QUOTA);
  g_test_message ("%s", error->message);
  g_assert_nonnull (strstr (error->message, who));
  g_assert_nonnull (strstr (error->message, what));
  g_assert_nonnull (strstr (error->message, "vmckpt forget"));
  /* And nothing is left of it. */
  g_assert_cmpuint (used (store), ==, before);
}

/* Reached already: refused before anything is put. Would be passed: fails, and leaves nothing. */
static void
test_guest_limit (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;

  change_guest (store, "g1", 6 << 20);
  g_autoptr (Manifest) a = checkpoint (store, "g1", 1000, &error);
  g_assert_no_error (error);
  assert_refused (store, "g1", 100000, "guest g1", "more would be");
  g_autoptr (Manifest) other = checkpoint (store, "g2", 200000, &error);
  g_assert_no_error (error); /* is not bound */
  g_autoptr (Manifest) same = checkpoint (store, "g1", 1000, &error);
  g_assert_no_error (error); /* costs nothing */
  change_guest (store, "g1", used_by_guest (store, "g1"));
  assert_refused (store, "g1", 1000, "guest g1", "are used;");
  change_guest (store, "g1", 0);
  g_autoptr (Manifest) free_again = checkpoint (store, "g1", 100000, &error);
  g_assert_no_error (error);
}

static void
test_store_limit (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;

  change_store (store, 6 << 20);
  g_autoptr (Manifest) a = checkpoint (store, "g1", 1000, &error);
  g_assert_no_error (error);
  assert_refused (store, "g2", 100000, "the store", "more would be");
  change_store (store, used (store) - 100);
  assert_refused (store, "g1", 1000, "the store", "are used;");
  /* Making room is never refused. */
  g_assert_true (store_manifest_remove (store, a->id, &error));
  g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  change_store (store, 6 << 20);
  g_autoptr (Manifest) b = checkpoint (store, "g2", 100000, &error);
  g_assert_no_error (error);
}

/* Of two limits the one that is passed is named. */
static void
test_both_limits (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());

  change_store (store, 100 << 20);
  change_guest (store, "g1", 1 << 20);
  assert_refused (store, "g1", 1000, "guest g1", "store quota --guest g1=");
  change_guest (store, "g1", 100 << 20);
  change_store (store, 1 << 20);
  assert_refused (store, "g1", 1000, "the store", "store quota --store-limit");
}

/* ---- Faults ---- */

/* The child: raises the limit of the store in @path. */
static int
child_main (const char *path)
{
  const guint64 limit = 2000;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), NULL);

  alarm (60); /* a hang is a failure */
  if (!fault_check_environment (NULL))
    return 2;
  return store_quota_change (store, &limit, NULL, NULL) ? 0 : 1;
}

static int
run_with_fault (const char *path, const char *fault)
{
  const char *argv[] = { "/proc/self/exe", "--child", path, NULL };
  g_auto (GStrv) environment = g_environ_setenv (g_get_environ(), "VMCKPT_FAULT", fault, TRUE);
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **)argv, environment, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                NULL, &status, &error);
  g_assert_no_error (error);
  return status;
}

/* Killed or failed anywhere, the old limits or the new ones count, and they can be set again. */
static void
test_faults (void)
{
  static const FaultPoint points[] = { FAULT_OBJECT_WRITTEN, FAULT_OBJECT_SYNCED,
                                       FAULT_OBJECT_NAMED };
  static const char *const actions[] = { "kill", "enospc", "eio" };

  for (guint i = 0; i < G_N_ELEMENTS (points) * G_N_ELEMENTS (actions); i++) {
    g_autoptr (FixtureDirectory) path = fixture_directory_new();
    g_autoptr (GError) error = NULL;
    g_autofree char *fault =
        g_strdup_printf ("%s:%s", fault_point_name (points[i / 3]), actions[i % 3]);
    g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
    change_store (store, 1000);
    int status = run_with_fault (path, fault);
    g_autoptr (StoreQuota) quota = store_quota_get (store, &error);
    g_test_message ("%s: %d, limit %" G_GUINT64_FORMAT, fault, status, quota->store_limit);
    g_assert_no_error (error);
    g_assert_true (WIFSIGNALED (status) || WEXITSTATUS (status) == 1); /* the point was reached */
    g_assert_true (quota->store_limit == 1000 || quota->store_limit == 2000);
    /* Whoever was told that it failed finds the old ones. */
    if (WIFEXITED (status))
      g_assert_cmpuint (quota->store_limit, ==, 1000);
    change_store (store, 3000);
    assert_limits (store, 3000, NULL, 0);
    g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
    g_assert_cmpuint (fixture_count_objects (store->backend, "tmp/"), ==, 0);
    g_assert_cmpuint (fixture_count_objects (store->backend, "quota/"), ==, 2);
  }
}

int
main (int argc, char **argv)
{
  if (argc == 3 && g_str_equal (argv[1], "--child"))
    return child_main (argv[2]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/quota/set-and-get", test_set_and_get);
  g_test_add_func ("/store/quota/refused-limits", test_refused_limits);
  g_test_add_func ("/store/quota/objects-that-cannot-be", test_objects_that_cannot_be);
  g_test_add_func ("/store/quota/damaged", test_damaged);
  g_test_add_func ("/store/quota/race", test_race);
  g_test_add_func ("/store/quota/accounts", test_accounts);
  g_test_add_func ("/store/quota/guest-limit", test_guest_limit);
  g_test_add_func ("/store/quota/store-limit", test_store_limit);
  g_test_add_func ("/store/quota/both-limits", test_both_limits);
  g_test_add_func ("/store/quota/faults", test_faults);
  return g_test_run();
}
