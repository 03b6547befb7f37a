/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a repair makes of each kind of damage, with and without another store. */
#include "store-fixture.h"

#include "announce.h"
#include "store-private.h"
#include "writer-private.h"

#include <glib/gstdio.h>
#include <vmckpt/store/copy.h>
#include <vmckpt/store/repair.h>

#define PAGES 2000

/* Two checkpoints, the second on top of the first; both are copied to another store. */
typedef struct {
  char *path, *other_path;
  guint64 *first, *second;
  char *one, *two; /* ids */
} Fixture;

static Store *
open_store (const char *path)
{
  g_autoptr (GError) error = NULL;
  Store *store = store_open (fixture_directory_backend (path), &error);

  g_assert_no_error (error);
  return store;
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) copied = NULL;

  fixture->path = fixture_directory_new();
  fixture->other_path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (fixture->path));
  g_autoptr (Store) other = fixture_store_new (fixture_directory_backend (fixture->other_path));
  fixture->first = g_new (guint64, PAGES);
  for (guint i = 0; i < PAGES; i++)
    fixture->first[i] = i % 9 == 0 ? 0 : 1 + i;
  fixture->second = g_memdup2 (fixture->first, PAGES * sizeof (guint64));
  for (guint i = 0; i < 40; i++)
    fixture->second[i * 37] = 90000 + i;
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, fixture->first, PAGES, NULL, NULL);
  g_autoptr (Manifest) two =
      fixture_checkpoint (store, 2, fixture->second, PAGES, one, fixture->first);
  fixture->one = g_strdup (one->id);
  fixture->two = g_strdup (two->id);
  g_assert_true (store_tag_add (store, one->id, "kept", &error));
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, &error);
  g_assert_true (store_copy (store, other, all, &copied, NULL, NULL, &error));
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fixture_directory_remove (fixture->path);
  fixture_directory_remove (fixture->other_path);
  g_free (fixture->first);
  g_free (fixture->second);
  g_free (fixture->one);
  g_free (fixture->two);
}

/* ---- Damage ---- */

static void
flip (const char *path, const char *object, double at)
{
  g_autofree char *file = g_build_filename (path, object, NULL);
  g_autofree char *contents = NULL;
  gsize len;

  g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
  contents[(gsize)((len - 1) * at)] ^= 0x10;
  g_assert_true (g_file_set_contents (file, contents, len, NULL));
}

static void
cut (const char *path, const char *object, double at)
{
  g_autofree char *file = g_build_filename (path, object, NULL);
  GStatBuf info;

  g_assert_cmpint (g_stat (file, &info), ==, 0);
  g_assert_cmpint (truncate (file, info.st_size * at), ==, 0);
}

/* The pack that page @page of the first checkpoint, or the root of its map, is in. */
static char *
pack_of (Fixture *fixture, gint page)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Manifest) one = store_manifest_load (store, fixture->one, &error);
  const PageMap *map = &manifest_find_part (one, "ram", NULL)->map;
  ChunkName name = map->root;
  ChunkLocation location;

  if (page >= 0) {
    g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, &error);
    g_assert_true (page_map_reader_name (reader, page, &name, &error));
  }
  g_assert_true (store_chunk_locate (store, &name, &location, &error));
  return object_name ("packs", &location.pack);
}

/* ---- What must hold ---- */

static StoreRepair *
repair (Fixture *fixture, gboolean with_other, gboolean dry_run)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Store) other = with_other ? open_store (fixture->other_path) : NULL;
  StoreRepair *report = store_repair (store, other, dry_run, NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
  return report;
}

static void
collect_garbage (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);

  store_gc (store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
}

static guint
count_findings (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (GPtrArray) findings = NULL;

  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_test_message ("%s: %s", finding->object, finding->problem);
  }
  return findings->len;
}

/* Both checkpoints, by these ids, say what they should. */
static void
assert_whole (Fixture *fixture, const char *one, const char *two)
{
  g_autoptr (Store) store = open_store (fixture->path);

  fixture_assert_checkpoint (store, one, fixture->first, PAGES);
  fixture_assert_checkpoint (store, two, fixture->second, PAGES);
}

static const StoreHurt *
find_hurt (const StoreRepair *report, const char *id)
{
  for (guint i = 0; i < report->hurt->len; i++) {
    const StoreHurt *hurt = report->hurt->pdata[i];
    if (g_str_equal (hurt->id, id))
      return hurt;
  }
  return NULL;
}

/* The pages that cannot be read are exactly those that were reported; the rest is right. */
static void
assert_hurt_exactly (Fixture *fixture, const StoreHurt *hurt, const guint64 *seeds)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Manifest) manifest = store_manifest_load (store, hurt->id, &error);
  g_autoptr (PageMapReader) reader =
      page_map_reader_new (store, &manifest_find_part (manifest, "ram", NULL)->map, &error);
  const StoreHurtPart *part = hurt->parts->pdata[0];
  guint64 count = 0;
  guint range = 0;

  g_assert_cmpuint (hurt->parts->len, ==, 1);
  for (guint64 page = 0; page < PAGES; page++) {
    guint8 wanted[PAGE_SIZE_BYTES], data[PAGE_SIZE_BYTES];
    const StorePageRange *next = &g_array_index (part->ranges, StorePageRange, range);
    gboolean listed = range < part->ranges->len && page >= next->first;
    gboolean good = page_map_reader_read (reader, page, data, NULL);
    g_assert_cmpint (good, ==, !listed);
    count += !good;
    fixture_page (seeds[page], wanted);
    if (good)
      g_assert_cmpmem (data, PAGE_SIZE_BYTES, wanted, PAGE_SIZE_BYTES);
    if (listed && page + 1 == next->first + next->count)
      range++;
  }
  g_assert_cmpuint (count, ==, part->hurt_pages);
  g_assert_cmpuint (count, >, 0);
}

/* ---- Cases ---- */

/* A healthy store is left as it is. */
static void
test_healthy (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = open_store (fixture->path);
  guint objects = fixture_count_objects (store->backend, "");
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);

  g_assert_cmpuint (report->findings->len, ==, 0);
  g_assert_cmpuint (report->hurt->len, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, objects);
}

/* A dry run says what is hurt, and changes nothing. */
static void
test_dry_run (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);
  g_autoptr (Store) store = open_store (fixture->path);
  guint objects = fixture_count_objects (store->backend, "");

  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, TRUE);
  g_assert_cmpuint (report->damaged_packs, ==, 1);
  assert_hurt_exactly (fixture, find_hurt (report, fixture->one), fixture->first);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, objects);
}

/* Flipped data without another store: the rest of the pack is saved, the pages are named, gc
 * removes the pack, and the same content written again heals. */
static void
test_data (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);
  g_autofree char *file = g_build_filename (fixture->path, pack, NULL);

  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, FALSE, FALSE);
  g_assert_cmpuint (report->damaged_packs, ==, 1);
  g_assert_cmpuint (report->salvaged_chunks, >, 0);
  g_assert_cmpuint (report->fetched_pages, ==, 0);
  const StoreHurt *hurt = find_hurt (report, fixture->one);
  g_assert_false (hurt->healed);
  assert_hurt_exactly (fixture, hurt, fixture->first);
  assert_hurt_exactly (fixture, find_hurt (report, fixture->two), fixture->second);
  g_assert_true (g_file_test (file, G_FILE_TEST_EXISTS));
  collect_garbage (fixture);
  g_assert_false (g_file_test (file, G_FILE_TEST_EXISTS));
  assert_hurt_exactly (fixture, hurt, fixture->first);
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Manifest) three = fixture_checkpoint (store, 3, fixture->first, PAGES, NULL, NULL);
  g_autoptr (Manifest) four = fixture_checkpoint (store, 4, fixture->second, PAGES, NULL, NULL);
  assert_whole (fixture, fixture->one, fixture->two);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* With another store: as good as before, under the same ids; also after gc. */
static void
test_data_from_copy (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);

  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_true (find_hurt (report, fixture->one)->healed);
  g_assert_true (find_hurt (report, fixture->two)->healed);
  g_assert_cmpuint (report->fetched_pages, >, 0);
  assert_whole (fixture, fixture->one, fixture->two);
  collect_garbage (fixture);
  assert_whole (fixture, fixture->one, fixture->two);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* A pack that is cut short, or gone, or without its footer: by way of the index and the copy. */
static void
test_packs (Fixture *fixture, gconstpointer data)
{
  for (guint kind = 0; kind < 3; kind++) {
    g_autofree char *pack = pack_of (fixture, 100);
    g_autofree char *file = g_build_filename (fixture->path, pack, NULL);
    if (kind == 0)
      cut (fixture->path, pack, 0.5);
    else if (kind == 1)
      flip (fixture->path, pack, 1);
    else
      g_assert_cmpint (g_unlink (file), ==, 0);
    g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
    g_assert_cmpuint (report->missing_packs, ==, kind == 2);
    g_assert_cmpint (report->salvaged_chunks > 0, ==, kind != 2);
    assert_whole (fixture, fixture->one, fixture->two);
    collect_garbage (fixture);
    assert_whole (fixture, fixture->one, fixture->two);
    g_assert_cmpuint (count_findings (fixture), ==, 0);
  }
}

/* A pack without its footer, and no other store: nothing of it is lost. */
static void
test_footer (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);

  flip (fixture->path, pack, 1);
  g_autoptr (StoreRepair) report = repair (fixture, FALSE, FALSE);
  g_assert_cmpuint (report->hurt->len, ==, 0);
  g_assert_cmpuint (report->salvaged_chunks, >, 0);
  collect_garbage (fixture);
  assert_whole (fixture, fixture->one, fixture->two);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* Lost page maps: the checkpoints come back whole, under other ids, with their tags. */
static void
test_maps (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, -1);
  g_autofree char *file = g_build_filename (fixture->path, pack, NULL);

  g_assert_cmpint (g_unlink (file), ==, 0);
  {
    g_autoptr (StoreRepair) dry = repair (fixture, FALSE, TRUE);
    const StoreHurtPart *part = find_hurt (dry, fixture->one)->parts->pdata[0];
    g_assert_cmpuint (part->hurt_pages, ==, PAGES);
    g_assert_cmpuint (part->ranges->len, ==, 1);
  }
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  const StoreHurt *one = find_hurt (report, fixture->one), *two = find_hurt (report, fixture->two);
  g_assert_nonnull (one->replaced_by);
  g_assert_nonnull (two->replaced_by);
  assert_whole (fixture, one->replaced_by, two->replaced_by);
  collect_garbage (fixture);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Manifest) kept = store_manifest_find (store, "g1@kept", NULL);
  g_assert_cmpstr (kept->id, ==, one->replaced_by);
  g_assert_cmpuint (fixture_count_objects (store->backend, "manifests/"), ==, 2);
}

/* What came back like that is damaged once more: it comes back again, and is not taken for its own
 * damaged predecessor, whose id it may have. */
static void
test_maps_again (Fixture *fixture, gconstpointer data)
{
  for (guint round = 0; round < 3; round++) {
    g_autofree char *pack = pack_of (fixture, -1);
    g_autofree char *file = g_build_filename (fixture->path, pack, NULL);
    g_assert_cmpint (g_unlink (file), ==, 0);
    g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
    const StoreHurt *one = find_hurt (report, fixture->one),
                    *two = find_hurt (report, fixture->two);
    g_assert_true (one->healed || one->replaced_by != NULL);
    if (one->replaced_by != NULL) {
      g_free (fixture->one);
      fixture->one = g_strdup (one->replaced_by);
    }
    if (two != NULL && two->replaced_by != NULL) {
      g_free (fixture->two);
      fixture->two = g_strdup (two->replaced_by);
    }
    assert_whole (fixture, fixture->one, fixture->two);
    collect_garbage (fixture);
    assert_whole (fixture, fixture->one, fixture->two);
    g_assert_cmpuint (count_findings (fixture), ==, 0);
  }
}

static void
test_manifest (Fixture *fixture, gconstpointer data)
{
  g_autofree char *object = g_strconcat ("manifests/", fixture->one, NULL);

  flip (fixture->path, object, 0.5);
  {
    g_autoptr (StoreRepair) alone = repair (fixture, FALSE, FALSE);
    g_assert_nonnull (find_hurt (alone, fixture->one)->problem);
    g_assert_cmpuint (count_findings (fixture), ==, 1);
  }
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  assert_whole (fixture, find_hurt (report, fixture->one)->replaced_by, fixture->two);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* Index tables: one damaged, and all of them gone. */
static void
test_index (Fixture *fixture, gconstpointer data)
{
  for (guint kind = 0; kind < 2; kind++) {
    g_autoptr (Store) store = open_store (fixture->path);
    g_autoptr (GPtrArray) tables = store_list_names (store, "index/", NULL);
    g_assert_cmpuint (tables->len, >, 0);
    for (guint i = 0; i < tables->len; i++) {
      g_autofree char *file = g_build_filename (fixture->path, tables->pdata[i], NULL);
      if (kind == 1)
        g_assert_cmpint (g_unlink (file), ==, 0);
      else if (i == 0)
        flip (fixture->path, tables->pdata[i], 0.6);
    }
    g_assert_cmpuint (count_findings (fixture), >, 0);
    g_autoptr (StoreRepair) report = repair (fixture, FALSE, FALSE);
    g_assert_cmpuint (report->index_tables, ==, kind == 0);
    g_assert_cmpuint (report->indexed_packs, >, 0);
    g_assert_cmpuint (report->hurt->len, ==, 0);
    g_assert_cmpuint (count_findings (fixture), ==, 0);
    assert_whole (fixture, fixture->one, fixture->two);
  }
}

/* What a newer checkpoint has replaced, though its map still refers to it, hurts only the older. */
static void
test_replaced (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree guint64 *third = g_memdup2 (fixture->second, PAGES * sizeof (guint64));
  g_autofree char *file = NULL;

  for (guint i = 0; i < 40; i++)
    third[i * 37] = 95000 + i;
  {
    g_autoptr (Store) store = open_store (fixture->path);
    g_autoptr (Manifest) two = store_manifest_load (store, fixture->two, &error);
    g_autoptr (Manifest) three = fixture_checkpoint (store, 3, third, PAGES, two, fixture->second);
    g_autoptr (PageMapReader) reader =
        page_map_reader_new (store, &manifest_find_part (two, "ram", NULL)->map, &error);
    ChunkLocation location;
    ChunkName name;
    g_assert_true (page_map_reader_name (reader, 37, &name, &error));
    g_assert_true (store_chunk_locate (store, &name, &location, &error));
    g_autofree char *object = object_name ("packs", &location.pack);
    file = g_build_filename (fixture->path, object, NULL);
    g_assert_nonnull (three->id);
  }
  g_assert_cmpint (g_unlink (file), ==, 0);
  g_autoptr (StoreRepair) report = repair (fixture, FALSE, TRUE);
  g_assert_cmpuint (report->hurt->len, ==, 1);
  const StoreFinding *finding = report->findings->pdata[0];
  g_assert_cmpuint (g_strv_length (finding->checkpoints), ==, 1);
  g_assert_cmpstr (finding->checkpoints[0], ==, fixture->two);
  const StoreHurt *two = find_hurt (report, fixture->two);
  g_assert_cmpuint (((StoreHurtPart *)two->parts->pdata[0])->hurt_pages, ==, 40);
  /* Without the older one the store is sound: what nobody wants is not missed. */
  g_autoptr (Store) store = open_store (fixture->path);
  g_assert_true (store_manifest_remove (store, fixture->two, &error));
  g_autoptr (StoreRepair) mended = repair (fixture, FALSE, FALSE);
  g_assert_cmpuint (mended->missing_packs, ==, 1);
  collect_garbage (fixture);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* Page @page of the checkpoint that test_deltas() makes of the first one. */
static void
touched_page (Fixture *fixture, guint64 page, guint8 *data)
{
  fixture_page (fixture->first[page], data);
  if (page % 3 == 1)
    data[100] ^= 0x55;
}

typedef struct {
  Fixture *fixture;
  guint64 seen;
} Touched;

static gboolean
compare_touched (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Touched *touched = user_data;
  guint8 wanted[PAGE_SIZE_BYTES];

  touched_page (touched->fixture, page, wanted);
  touched->seen++;
  if (data != NULL)
    g_assert_cmpmem (data, PAGE_SIZE_BYTES, wanted, PAGE_SIZE_BYTES);
  return TRUE;
}

/* Makes a third checkpoint, of deltas to the first one's pages, and copies it. */
static void
add_deltas (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Store) other = open_store (fixture->other_path);
  g_autoptr (GPtrArray) copied = NULL;
  g_autoptr (Manifest) one = store_manifest_load (store, fixture->one, &error);
  const PageMap *base = &manifest_find_part (one, "ram", NULL)->map;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  store_writer_set_delta (writer, STORE_DELTA_ALWAYS);
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, PAGES * PAGE_SIZE_BYTES, base, &error);
  PageMap map;
  for (guint i = 1; i < PAGES; i += 3) {
    guint8 page[PAGE_SIZE_BYTES];
    touched_page (fixture, i, page);
    g_assert_true (page_map_writer_put (pages, i, page, &error));
  }
  g_assert_true (page_map_writer_finish (pages, &map, NULL, &error));
  g_autoptr (Manifest) three = fixture_commit (writer, "g1", 3, &map);
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, &error);
  g_assert_true (store_copy (store, other, all, &copied, NULL, NULL, &error));
  g_assert_nonnull (three->id);
}

/* The third checkpoint, which is the last one, says what it should. */
static void
assert_touched (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) now = open_store (fixture->path);
  g_autoptr (GPtrArray) all = store_manifest_list (now, NULL, NULL, &error);
  const Manifest *three = all->pdata[all->len - 1];
  g_autoptr (PageMapReader) reader =
      page_map_reader_new (now, &manifest_find_part (three, "ram", NULL)->map, &error);
  Touched touched = { fixture, 0 };

  g_assert_true (
      page_map_reader_foreach (reader, TRUE, compare_touched, &touched, NULL, NULL, &error));
  g_assert_cmpuint (touched.seen, ==, PAGES);
}

/* The pack of the bases of deltas is damaged: what is a change to what is lost comes back too. */
static void
test_deltas (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);

  add_deltas (fixture);
  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (report->hurt->len, ==, 3);
  for (guint i = 0; i < report->hurt->len; i++)
    g_assert_true (((StoreHurt *)report->hurt->pdata[i])->healed);
  for (guint i = 0; i < 2; i++) {
    assert_whole (fixture, fixture->one, fixture->two);
    assert_touched (fixture);
    collect_garbage (fixture);
    g_assert_cmpuint (count_findings (fixture), ==, 0);
  }
}

/* The same when nothing but the deltas needs the bases, and they cannot be had: what was fetched in
 * full counts, not the deltas. */
static void
test_lost_bases (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);
  g_autoptr (GError) error = NULL;

  add_deltas (fixture);
  g_autoptr (Store) store = open_store (fixture->path);
  g_assert_true (store_manifest_remove (store, fixture->one, &error));
  g_assert_true (store_manifest_remove (store, fixture->two, &error));
  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (report->hurt->len, ==, 1);
  for (guint i = 0; i < 3; i++) {
    assert_touched (fixture);
    collect_garbage (fixture);
    g_assert_cmpuint (count_findings (fixture), ==, 0);
  }
}

/* A small checkpoint and, on top of it, one that replaces every page of it in a run: of the tree
 * below nobody wants anything, but a reader needs its nodes. */
typedef struct {
  guint64 former[20], seeds[20];
  char *one, *two;
} Replaced;

static void
replaced_init (Replaced *self, Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) copied = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (Store) other = open_store (fixture->other_path);

  for (guint i = 0; i < 20; i++) {
    self->former[i] = 700000 + i;
    self->seeds[i] = 800000 + i;
  }
  g_autoptr (Manifest) one = fixture_checkpoint (store, 11, self->former, 20, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 12, self->seeds, 20, one, self->former);
  self->one = g_strdup (one->id);
  self->two = g_strdup (two->id);
  g_autoptr (GPtrArray) only = g_ptr_array_new();
  g_ptr_array_add (only, two);
  g_assert_true (store_copy (store, other, only, &copied, NULL, NULL, &error));
}

static void
replaced_clear (Replaced *self)
{
  g_free (self->one);
  g_free (self->two);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Replaced, replaced_clear)

/* The pack of the first page, or of the root, of a checkpoint. */
static char *
pack_in (Fixture *fixture, const char *id, gboolean root)
{
  char *one = fixture->one;

  fixture->one = (char *)id;
  char *pack = pack_of (fixture, root ? -1 : 0);
  fixture->one = one;
  return pack;
}

/* A lost node hurts, even if newer runs replace all that it has. */
static void
test_replaced_nodes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (Replaced) self = { 0 };

  replaced_init (&self, fixture);
  g_autofree char *pack = pack_in (fixture, self.one, TRUE);
  flip (fixture->path, pack, 0.1);
  {
    g_autoptr (StoreRepair) alone = repair (fixture, FALSE, TRUE);
    const StoreHurt *hurt = find_hurt (alone, self.two);
    g_assert_nonnull (hurt);
    g_assert_false (hurt->healed);
    g_assert_nonnull (hurt->problem);
  }
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_nonnull (find_hurt (report, self.two)->replaced_by);
  g_autoptr (Store) store = open_store (fixture->path);
  fixture_assert_checkpoint (store, find_hurt (report, self.two)->replaced_by, self.seeds, 20);
  store_manifest_remove (store, self.one, &error); /* of which there is no copy */
  g_assert_no_error (error);
  collect_garbage (fixture);
  fixture_assert_checkpoint (store, find_hurt (report, self.two)->replaced_by, self.seeds, 20);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* Lost pages that newer runs replace hurt nobody: not check, nor gc, nor who builds on the map. */
static void
test_replaced_pages (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (Replaced) self = { 0 };

  replaced_init (&self, fixture);
  g_autofree char *pack = pack_in (fixture, self.one, FALSE);
  flip (fixture->path, pack, 0.1);
  g_autoptr (Store) store = open_store (fixture->path);
  store_manifest_remove (store, self.one, &error);
  g_assert_no_error (error);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (report->hurt->len, ==, 0);
  g_assert_cmpuint (report->damaged_packs, ==, 1);
  /* Something is condemned, so the base is looked at. */
  g_autoptr (Manifest) two = store_manifest_load (store, self.two, &error);
  memcpy (self.former, self.seeds, sizeof self.seeds);
  self.seeds[3] = 4711;
  g_autoptr (Manifest) three = fixture_checkpoint (store, 13, self.seeds, 20, two, self.former);
  collect_garbage (fixture);
  fixture_assert_checkpoint (store, three->id, self.seeds, 20);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
  store_verify (store, two, NULL, NULL, &error);
  g_assert_no_error (error);
}

/* Who avoids a pack does not take for granted that a base does without it. */
static void
test_avoided_base (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autofree char *object = pack_of (fixture, 100);
  g_autofree char *file = g_build_filename (fixture->path, object, NULL);
  g_autoptr (GHashTable) avoid =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);
  ChunkName pack;
  PageMap map;

  g_assert_true (object_name_parse (object, "packs", &pack));
  g_hash_table_add (avoid, g_memdup2 (&pack, sizeof pack));
  g_autoptr (Manifest) one = store_manifest_load (store, fixture->one, &error);
  g_autoptr (StoreWriter) writer = store_writer_begin_avoiding (store, avoid, &error);
  g_assert_no_error (error);
  map = fixture_write_map (writer, fixture->second, PAGES,
                           &manifest_find_part (one, "ram", NULL)->map, fixture->first, NULL);
  g_autoptr (Manifest) three = fixture_commit (writer, "g1", 3, &map);
  g_assert_cmpint (g_unlink (file), ==, 0);
  fixture_assert_checkpoint (store, three->id, fixture->second, PAGES);
}

/* A list of condemned packs that cannot be read does not keep anybody from a repair. */
static void
test_condemned_list (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (GPtrArray) packs = g_ptr_array_new();
  g_autofree char *pack = pack_of (fixture, 100);
  ChunkName name;

  g_assert_true (object_name_parse (pack, "packs", &name));
  g_ptr_array_add (packs, &name);
  g_autofree char *list = condemned_put (store, packs, &error);
  g_assert_no_error (error);
  flip (fixture->path, list, 0);
  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (report->damaged_packs, ==, 1);
  g_assert_true (find_hurt (report, fixture->one)->healed);
  collect_garbage (fixture);
  assert_whole (fixture, fixture->one, fixture->two);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* What a repair has left to gc is said to be that. */
static void
test_left_to_gc (Fixture *fixture, gconstpointer data)
{
  g_autofree char *pack = pack_of (fixture, 100);
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  flip (fixture->path, pack, 0.3);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (report->damaged_packs, ==, 1);
  g_autoptr (Store) store = open_store (fixture->path);
  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  g_assert_cmpuint (findings->len, ==, 1);
  const StoreFinding *finding = findings->pdata[0];
  g_assert_cmpstr (finding->object, ==, pack);
  g_assert_true (finding->left_to_gc);
  g_autoptr (StoreRepair) again = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (again->damaged_packs, ==, 0);
  g_assert_cmpuint (again->hurt->len, ==, 0);
}

/* One table names a pack that is gone and one that has lost its footer: what the table says of the
 * latter is not lost when the former is taken out of it. */
static void
test_table_of_both (Fixture *fixture, gconstpointer data)
{
  g_autofree char *nodes = pack_of (fixture, -1), *pages = pack_of (fixture, 100);
  g_autofree char *file = g_build_filename (fixture->path, nodes, NULL);

  flip (fixture->path, pages, 1);
  g_assert_cmpint (g_unlink (file), ==, 0);
  g_autoptr (StoreRepair) report = repair (fixture, TRUE, FALSE);
  g_assert_cmpuint (report->missing_packs, ==, 1);
  g_assert_cmpuint (report->damaged_packs, ==, 1);
  g_assert_cmpuint (report->salvaged_chunks, >, 0);
  const StoreHurt *one = find_hurt (report, fixture->one), *two = find_hurt (report, fixture->two);
  collect_garbage (fixture);
  assert_whole (fixture, one->replaced_by, two->replaced_by);
  g_assert_cmpuint (count_findings (fixture), ==, 0);
}

/* Not beside gc, not while somebody reads the whole index, and not from itself. */
static void
test_in_use (Fixture *fixture, gconstpointer data)
{
  const AnnounceKind others[] = { ANNOUNCE_GC, ANNOUNCE_WALKER };
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (others); i++) {
    g_autofree char *other = announcement_put (store, others[i], &error);
    g_assert_null (store_repair (store, NULL, FALSE, NULL, NULL, &error));
    g_assert_error (error, STORE_ERROR, STORE_ERROR_IN_USE);
    g_clear_error (&error);
    g_assert_true (store_remove (store, other, &error));
  }
  g_assert_null (store_repair (store, store, FALSE, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

static void
cancel (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  g_cancellable_cancel (user_data);
}

/* Interrupted: the store is as it was. */
static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = open_store (fixture->path);
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  const Progress progress = { cancel, cancellable };
  g_autofree char *pack = pack_of (fixture, 100);
  guint objects = fixture_count_objects (store->backend, "");

  flip (fixture->path, pack, 0.3);
  g_assert_null (store_repair (store, NULL, FALSE, &progress, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, objects);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, function) g_test_add (path, Fixture, NULL, set_up, function, tear_down)
  ADD ("/repair/healthy", test_healthy);
  ADD ("/repair/dry-run", test_dry_run);
  ADD ("/repair/data", test_data);
  ADD ("/repair/data-from-copy", test_data_from_copy);
  ADD ("/repair/packs", test_packs);
  ADD ("/repair/footer", test_footer);
  ADD ("/repair/maps", test_maps);
  ADD ("/repair/maps-again", test_maps_again);
  ADD ("/repair/manifest", test_manifest);
  ADD ("/repair/index", test_index);
  ADD ("/repair/replaced", test_replaced);
  ADD ("/repair/deltas", test_deltas);
  ADD ("/repair/lost-bases", test_lost_bases);
  ADD ("/repair/replaced-nodes", test_replaced_nodes);
  ADD ("/repair/replaced-pages", test_replaced_pages);
  ADD ("/repair/avoided-base", test_avoided_base);
  ADD ("/repair/condemned-list", test_condemned_list);
  ADD ("/repair/left-to-gc", test_left_to_gc);
  ADD ("/repair/table-of-both", test_table_of_both);
  ADD ("/repair/cancelled", test_cancelled);
  ADD ("/repair/in-use", test_in_use);
#undef ADD
  return g_test_run();
}
