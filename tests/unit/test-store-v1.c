/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store that the first program wrote (tests/fixtures/store-v1) is as good as one of today: it is
 * listed, read, checked, built upon and cleaned.
 */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/claim.h>

#include <gio/gio.h>

typedef struct {
  char *parent;
  char *path;
  Store *store;
} OldStore;

static void
old_store_clear (OldStore *self)
{
  g_clear_pointer (&self->store, store_unref);
  fixture_directory_remove (self->parent);
  g_free (self->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (OldStore, old_store_clear)

static char *
fixture_file (const char *name)
{
  return g_test_build_filename (G_TEST_DIST, "..", "fixtures", "store-v1", name, NULL);
}

static void
old_store_init (OldStore *self)
{
  g_autofree char *archive = fixture_file ("store.tar.gz");
  g_autoptr (GError) error = NULL;
  int status;

  self->parent = fixture_directory_new();
  self->path = g_build_filename (self->parent, "store", NULL);
  const char *argv[] = { "tar", "--no-same-owner", "-xzf", archive, "-C", self->parent, NULL };
  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
  Backend *backend = backend_directory_open (self->path, FALSE, &error);
  g_assert_no_error (error);
  self->store = store_open (backend, &error);
  g_assert_no_error (error);
}

static gboolean
add_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  static const guint8 zeros[PAGE_SIZE_BYTES] = { 0 };

  g_checksum_update (user_data, data != NULL ? data : zeros, PAGE_SIZE_BYTES);
  return TRUE;
}

/* "ID GUEST ROLE LENGTH SHA256" of each part, as in the file. */
static void
add_sums (Store *store, const Manifest *manifest, GString *sums)
{
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    g_autoptr (GError) error = NULL;
    g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
    g_autoptr (PageMapReader) reader = page_map_reader_new (store, &part->map, &error);
    g_assert_no_error (error);
    page_map_reader_foreach (reader, TRUE, add_page, sum, NULL, NULL, &error);
    g_assert_no_error (error);
    g_string_append_printf (sums, "%s %s %s %" G_GUINT64_FORMAT " %s\n", manifest->id,
                            manifest->guest, part->role, part->map.length,
                            g_checksum_get_string (sum));
  }
}

/* Every checkpoint of then is there, in the same order, and holds what it held. */
static void
assert_sums (Store *store)
{
  g_autofree char *file = fixture_file ("sums");
  g_autofree char *wanted = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GString) sums = g_string_new (NULL);

  g_file_get_contents (file, &wanted, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, &damaged, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (damaged->len, ==, 0);
  for (guint i = 0; i < all->len; i++)
    if (strstr (wanted, ((Manifest *)all->pdata[i])->id) != NULL)
      add_sums (store, all->pdata[i], sums);
  g_assert_cmpstr (sums->str, ==, wanted);
}

static void
assert_sound (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  store_check (store, TRUE, &findings, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < findings->len; i++)
    g_test_message ("%s %s", ((StoreFinding *)findings->pdata[i])->object,
                    ((StoreFinding *)findings->pdata[i])->problem);
  g_assert_cmpuint (findings->len, ==, 0);
}

/* It is read, checked and verified. */
static void
test_read (void)
{
  g_auto (OldStore) old = { 0 };
  g_autoptr (GError) error = NULL;

  old_store_init (&old);
  assert_sums (old.store);
  assert_sound (old.store);
  g_autoptr (GPtrArray) all = store_manifest_list (old.store, NULL, NULL, &error);
  g_assert_cmpuint (all->len, ==, 11);
  for (guint i = 0; i < all->len; i++) {
    store_verify (old.store, all->pdata[i], NULL, NULL, &error);
    g_assert_no_error (error);
  }
}

/* Tags, at once and later; notes; claims that were given up. */
static void
test_metadata (void)
{
  g_auto (OldStore) old = { 0 };
  g_autoptr (GError) error = NULL;

  old_store_init (&old);
  g_autoptr (Manifest) last = store_manifest_find (old.store, "synthetic", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (last->note, ==, "checkpoint 8");
  g_assert_cmpstr (last->host, ==, "old-host");
  g_auto (GStrv) tags = store_tags (old.store, last, &error);
  g_assert_cmpuint (g_strv_length (tags), ==, 2);
  g_assert_cmpstr (tags[0], ==, "later");
  g_assert_cmpstr (tags[1], ==, "later-still");
  g_autoptr (Manifest) at_once = store_manifest_find (old.store, "synthetic@at-once", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (at_once->note, ==, "checkpoint 2");
  g_autoptr (Manifest) later = store_manifest_find (old.store, "tiny@later", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (later->mode, ==, "stop");
  g_autoptr (Claim) none = store_claim_get (old.store, later->guest_uuid, &error);
  g_assert_no_error (error);
  g_assert_null (none);
  g_autoptr (Claim) claim = claim_new();
  claim->guest_uuid = g_strdup (later->guest_uuid);
  claim->guest = g_strdup ("tiny");
  claim->host = g_strdup (g_get_host_name());
  claim->boot_id = process_boot_id();
  claim->runtime = g_strdup ("/run/vmckpt");
  claim->process = process_id_of (getpid());
  store_claim_take (old.store, claim, FALSE, &error);
  g_assert_no_error (error);
}

/* gc takes what the dead have left, and nothing else. */
static void
test_gc (void)
{
  g_auto (OldStore) old = { 0 };
  g_autoptr (GError) error = NULL;
  StoreGcReport report;
  StoreStats stats;

  old_store_init (&old);
  store_gc (old.store, FALSE, &report, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (report.deleted_packs, >, 0);
  g_assert_cmpuint (report.waiting_packs, ==, 0);
  g_assert_cmpuint (fixture_count_objects (old.store->backend, "writers/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (old.store->backend, "condemned/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (old.store->backend, "tmp/"), ==, 0);
  assert_sums (old.store);
  assert_sound (old.store);
  store_stats (old.store, TRUE, &stats, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (stats.unused_bytes, ==, 0);
}

/* A checkpoint on top of an old one shares what did not change; many more merge the old tables. */
static void
test_extend (void)
{
  g_auto (OldStore) old = { 0 };
  g_autoptr (GError) error = NULL;
  guint8 former[PAGE_SIZE_BYTES], again[PAGE_SIZE_BYTES], page[PAGE_SIZE_BYTES];

  old_store_init (&old);
  g_autoptr (Manifest) base = store_manifest_find (old.store, "synthetic", &error);
  PageMap map = manifest_find_part (base, "ram", NULL)->map;
  for (guint n = 0; n < 20; n++) {
    g_autoptr (StoreWriter) writer = store_writer_begin (old.store, &error);
    g_assert_no_error (error);
    g_autoptr (PageMapWriter) pages = page_map_writer_new (writer, map.length, &map, &error);
    g_assert_no_error (error);
    fixture_page (4711 + n, page);
    page_map_writer_put (pages, 7 + n, page, &error);
    page_map_writer_finish (pages, &map, NULL, &error);
    g_assert_no_error (error);
    g_autoptr (Manifest) next =
        fixture_commit (writer, "synthetic", base->created_us + n + 1, &map);
    StoreWriterStats stats;
    store_writer_stats (writer, &stats);
    g_assert_cmpuint (stats.new_bytes, ==, PAGE_SIZE_BYTES);
  }
  store_gc (old.store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (PageMapReader) before =
      page_map_reader_new (old.store, &manifest_find_part (base, "ram", NULL)->map, &error);
  g_autoptr (PageMapReader) after = page_map_reader_new (old.store, &map, &error);
  for (guint64 i = 0; i < map.length / PAGE_SIZE_BYTES; i++) {
    g_assert_true (page_map_reader_read (before, i, former, &error));
    g_assert_true (page_map_reader_read (after, i, again, &error));
    if (i >= 7 && i < 27)
      fixture_page (4711 + i - 7, former);
    g_assert_cmpmem (former, sizeof former, again, sizeof again);
  }
  assert_sums (old.store);
  assert_sound (old.store);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/v1/read", test_read);
  g_test_add_func ("/store/v1/metadata", test_metadata);
  g_test_add_func ("/store/v1/gc", test_gc);
  g_test_add_func ("/store/v1/extend", test_extend);
  return g_test_run();
}
