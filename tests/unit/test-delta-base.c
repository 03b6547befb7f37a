/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deltas in checkpoints: pages that changed in a few lines cost a few lines, are read back as any
 * other page, and keep what they are changes to.
 */
#include "store-fixture.h"
#include "watched-backend.h"

#include "delta-base.h"

#include <glib/gstdio.h>

#define PAGES 4000

static void
change_line (guint8 *page, guint line, guint64 how)
{
  memcpy (page + line * DELTA_LINE_BYTES + 8, &how, sizeof how);
}

/* A guest's memory. */
typedef struct {
  guint64 pages;
  guint8 *bytes;
} Memory;

static Memory *
memory_new (guint64 pages)
{
  Memory *memory = g_new (Memory, 1);

  memory->pages = pages;
  memory->bytes = g_malloc (pages * PAGE_SIZE_BYTES);
  for (guint64 i = 0; i < pages; i++)
    fixture_page (i + 1, memory->bytes + i * PAGE_SIZE_BYTES);
  return memory;
}

static void
memory_free (Memory *memory)
{
  g_free (memory->bytes);
  g_free (memory);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Memory, memory_free)

static Memory *
memory_copy (const Memory *memory)
{
  Memory *copy = g_new (Memory, 1);

  copy->pages = memory->pages;
  copy->bytes = g_memdup2 (memory->bytes, memory->pages * PAGE_SIZE_BYTES);
  return copy;
}

static guint8 *
memory_page (const Memory *memory, guint64 page)
{
  return memory->bytes + page * PAGE_SIZE_BYTES;
}

/* Changes a line of every @step-th page; @how differs from call to call. */
static guint
change_pages (Memory *memory, guint step, guint64 how)
{
  guint changed = 0;

  for (guint64 i = 0; i < memory->pages; i += step, changed++)
    change_line (memory_page (memory, i), (i * 7 + how) % DELTA_LINES, how * 1000003 + i + 1);
  return changed;
}

/* Writes what differs from @former; all of it without one. */
static PageMap
write_memory (StoreWriter *writer, const Memory *memory, const Memory *former, const PageMap *base,
              PageMapStats *stats)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, memory->pages * PAGE_SIZE_BYTES, base, &error);
  PageMap map;

  g_assert_no_error (error);
  for (guint64 i = 0; i < memory->pages; i++) {
    const guint8 *page = memory_page (memory, i);
    if (former != NULL && memcmp (page, memory_page (former, i), PAGE_SIZE_BYTES) == 0)
      continue;
    page_map_writer_put (pages, i, page, &error);
    g_assert_no_error (error);
  }
  page_map_writer_finish (pages, &map, stats, &error);
  g_assert_no_error (error);
  return map;
}

static Manifest *
checkpoint (Store *store, const Memory *memory, const Manifest *parent, const Memory *former,
            StoreDeltaMode mode, StoreWriterStats *stats)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  const PageMap *base = parent != NULL ? &manifest_find_part (parent, "ram", NULL)->map : NULL;
  StoreWriterStats ignored;

  g_assert_no_error (error);
  store_writer_set_delta (writer, mode);
  PageMap map = write_memory (writer, memory, former, base, NULL);
  Manifest *manifest = fixture_commit (writer, "g1", 1, &map);
  store_writer_stats (writer, stats != NULL ? stats : &ignored);
  return manifest;
}

static gboolean
compare_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  g_assert_nonnull (data);
  g_assert_cmpmem (data, PAGE_SIZE_BYTES, memory_page (user_data, page), PAGE_SIZE_BYTES);
  return TRUE;
}

/* Reads all of a checkpoint in one go, and a few pages one by one. FALSE if it is damaged. */
static gboolean
readable (Store *store, const Manifest *manifest, const Memory *memory)
{
  const PageMap *map = &manifest_find_part (manifest, "ram", NULL)->map;
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, &error);
  guint8 page[PAGE_SIZE_BYTES];
  gboolean good = reader != NULL && page_map_reader_foreach (reader, TRUE, compare_page,
                                                             (gpointer)memory, NULL, NULL, &error);

  if (!good)
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  for (guint64 i = 0; good && i < memory->pages; i += 37) {
    page_map_reader_read (reader, i, page, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (page, PAGE_SIZE_BYTES, memory_page (memory, i), PAGE_SIZE_BYTES);
  }
  return good;
}

static void
assert_all_well (Store *store)
{
  for (int read_data = 0; read_data < 2; read_data++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GPtrArray) findings = NULL;
    store_check (store, read_data, &findings, NULL, NULL, &error);
    g_assert_no_error (error);
    for (guint i = 0; i < findings->len; i++) {
      const StoreFinding *finding = findings->pdata[i];
      g_test_message ("%s %s", finding->object, finding->problem);
    }
    g_assert_cmpuint (findings->len, ==, 0);
  }
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

static ChunkLocation
locate (Store *store, const ChunkName *name)
{
  g_autoptr (GError) error = NULL;
  ChunkLocation location;

  store_chunk_locate (store, name, &location, &error);
  g_assert_no_error (error);
  return location;
}

/* Where page @page of a checkpoint is. */
static ChunkLocation
locate_page (Store *store, const Manifest *manifest, guint64 page)
{
  const PageMap *map = &manifest_find_part (manifest, "ram", NULL)->map;
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, &error);
  ChunkName name;

  g_assert_no_error (error);
  g_assert_true (page_map_reader_name (reader, page, &name, &error));
  return locate (store, &name);
}

static gboolean
sum_size (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  *(guint64 *)user_data += size;
  return TRUE;
}

static guint64
bytes_under (Store *store, const char *prefix)
{
  guint64 sum = 0;

  g_assert_true (store_list (store, prefix, sum_size, &sum, NULL));
  return sum;
}

/* An incremental costs what changed, data and metadata: every byte is counted. */
static void
test_cost (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Memory) memory = memory_new (40000);
  g_autoptr (Manifest) one = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) former = memory_copy (memory);
  guint64 packs = bytes_under (store, "packs/"), index = bytes_under (store, "index/");
  StoreWriterStats stats;
  guint changed = change_pages (memory, 40, 1);

  g_assert_cmpuint (changed, ==, 1000);
  g_autoptr (Manifest) two = checkpoint (store, memory, one, former, STORE_DELTA_ALWAYS, &stats);
  guint64 data = bytes_under (store, "packs/") - packs;
  guint64 entries = bytes_under (store, "index/") - index;
  g_test_message ("per page: %.1f of packs, %.1f of index, %.1f of nodes", data / 1000.0,
                  entries / 1000.0, stats.metadata_bytes / 1000.0);
  g_assert_cmpuint (stats.delta_pages, ==, 1000);
  /* A name in the footer, one of the base, and what changed; nodes; entries of the index. */
  g_assert_cmpuint (data, <=, 1000 * (36 + 32 + 24 + 40));
  g_assert_cmpuint (entries, <=, 1000 * 50);
  g_assert_cmpuint (stats.metadata_bytes, <=, 1000 * 64);
  g_assert_true (readable (store, two, memory));
  g_assert_true (readable (store, one, former));

  /* What the same costs in full. */
  packs = bytes_under (store, "packs/");
  g_autoptr (Memory) second = memory_copy (memory);
  change_pages (memory, 40, 2);
  g_autoptr (Manifest) three = checkpoint (store, memory, two, second, STORE_DELTA_NEVER, &stats);
  g_assert_cmpuint (stats.delta_pages, ==, 0);
  g_assert_cmpuint (bytes_under (store, "packs/") - packs, >, 10 * data);
  g_assert_true (readable (store, three, memory));
  assert_all_well (store);
}

/* Change upon change: a delta is always one to a page that is stored in full. */
static void
test_depth (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Memory) memory = memory_new (PAGES);
  g_autoptr (Manifest) parent = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  guint deltas = 0, full = 0;

  for (guint round = 0; round < 24; round++) {
    g_autoptr (Memory) former = memory_copy (memory);
    change_pages (memory, 16, round);
    Manifest *next = checkpoint (store, memory, parent, former, STORE_DELTA_ALWAYS, NULL);
    manifest_free (parent);
    parent = next;
    for (guint64 page = 0; page < PAGES; page += 16) {
      ChunkLocation location = locate_page (store, parent, page), base;
      g_autoptr (IndexView) view = index_view (store->index, NULL);
      Delta delta;
      if (location.frame.codec != FRAME_DELTA) {
        full++;
        continue;
      }
      deltas++;
      g_assert_true (store_delta_load (store, &location, &delta, NULL));
      g_assert_true (index_view_find_full (view, &delta.base, NULL, FALSE, &base));
    }
  }
  g_assert_true (readable (store, parent, memory));
  /* As changes add up, a page is stored in full now and then. */
  g_assert_cmpuint (deltas, >, full);
  g_assert_cmpuint (full, >=, PAGES / 16);
  assert_all_well (store);
}

/* A reader of depth one does not go further, whatever is in a store. */
static void
test_depth_enforced (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (PackBuilder) packs = pack_builder_new (PACK_DATA);
  g_autoptr (IndexContents) contents = index_contents_new();
  g_autoptr (ZSTD_CCtx) context = ZSTD_createCCtx();
  guint8 pages[3][PAGE_SIZE_BYTES];
  ChunkName names[3], pack_name;
  g_autoptr (GError) error = NULL;
  gboolean existed;

  for (guint i = 0; i < 3; i++) {
    fixture_page (1, pages[i]);
    change_line (pages[i], 5, i);
    chunk_name_of (&store->key, pages[i], PAGE_SIZE_BYTES, &names[i]);
    PackChunk chunk = { names[i], 0, PAGE_SIZE_BYTES };
    FrameInfo info = { .raw_len = PAGE_SIZE_BYTES, .chunks = 1 };
    g_autoptr (DeltaBuilder) builder = delta_builder_new();
    g_autoptr (GBytes) stored = NULL;
    if (i > 0) {
      delta_builder_add (builder, &names[i - 1], pages[i - 1], pages[i], 64);
      stored = delta_builder_finish (builder, context, &store->key);
      info.codec = FRAME_DELTA;
    } else {
      stored = g_bytes_new (pages[0], PAGE_SIZE_BYTES);
    }
    info.stored_len = g_bytes_get_size (stored);
    pack_builder_add (packs, stored, &info, &chunk);
  }
  g_autoptr (GBytes) pack = pack_builder_finish (packs, &store->key, &pack_name);
  g_autofree char *object = object_name ("packs", &pack_name);
  store->backend->ops->put_if_absent (store->backend, object, pack, &existed, NULL);
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GBytes) page = store_chunk_read (store, &names[i], &error);
    g_assert_no_error (error);
    g_assert_cmpmem (g_bytes_get_data (page, NULL), g_bytes_get_size (page), pages[i],
                     PAGE_SIZE_BYTES);
  }
  g_assert_null (store_chunk_read (store, &names[2], &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, "base of a delta"));
}

/* gc keeps what deltas are changes to when no checkpoint refers to it otherwise. */
static void
test_gc_keeps_bases (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Memory) memory = memory_new (PAGES);
  g_autoptr (Manifest) one = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) former = memory_copy (memory);
  StoreWriterStats stats;

  change_pages (memory, 1, 1); /* not one page is as it was */
  g_autoptr (Manifest) two = checkpoint (store, memory, one, former, STORE_DELTA_ALWAYS, &stats);
  g_assert_cmpuint (stats.delta_pages, ==, PAGES);
  remove_checkpoint (store, one);
  for (guint i = 0; i < 3; i++) {
    run_gc (store);
    g_assert_true (readable (store, two, memory));
    assert_all_well (store);
  }
  remove_checkpoint (store, two);
  run_gc (store);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, 1);
}

/* A delta that cannot be read: gc gives up rather than take its base for unneeded. */
static void
test_gc_unreadable (void)
{
  static const int codes[] = { G_IO_ERROR_FAILED, G_IO_ERROR_NOT_FOUND };
  WatchedBackend *watched = watched_backend_new (backend_memory_new(), "packs/");
  g_autoptr (Store) store = fixture_store_new (&watched->backend);
  g_autoptr (Memory) memory = memory_new (PAGES);
  g_autoptr (Manifest) one = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) former = memory_copy (memory);

  change_pages (memory, 1, 1);
  g_autoptr (Manifest) two = checkpoint (store, memory, one, former, STORE_DELTA_ALWAYS, NULL);
  remove_checkpoint (store, one);
  ChunkLocation delta = locate_page (store, two, 0);
  g_assert_cmpint (delta.frame.codec, ==, FRAME_DELTA);
  g_autofree char *pack = object_name ("packs", &delta.pack);
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++) {
    g_autoptr (GError) error = NULL;
    guint packs = fixture_count_objects (store->backend, "packs/");
    frame_cache_clear (store->frames);
    watched->fail_code = codes[i];
    watched->fail_prefix = pack;
    g_assert_false (store_gc (store, FALSE, NULL, NULL, NULL, &error));
    g_assert_true (i == 0 ? g_error_matches (error, G_IO_ERROR, codes[i])
                          : g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED));
    watched->fail_prefix = NULL;
    g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), ==, packs);
    g_assert_true (readable (store, two, memory));
  }
  run_gc (store);
  g_assert_true (readable (store, two, memory));
  assert_all_well (store);
}

/* Packs that are mostly unused are emptied: bases move, and deltas stay deltas. */
static void
test_gc_moves (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Memory) memory = memory_new (PAGES);
  g_autoptr (Manifest) one = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) former = memory_copy (memory);

  change_pages (memory, 1, 1);
  g_autoptr (Manifest) two = checkpoint (store, memory, one, former, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) second = memory_copy (memory);
  for (guint64 i = 0; i < PAGES; i++)
    if (i % 10 != 0)
      fixture_page (100000 + i, memory_page (memory, i));
  g_autoptr (Manifest) three = checkpoint (store, memory, two, second, STORE_DELTA_ALWAYS, NULL);
  g_assert_cmpint (locate_page (store, three, 0).frame.codec, ==, FRAME_DELTA);
  ChunkLocation before = locate_page (store, three, 0);
  remove_checkpoint (store, one);
  remove_checkpoint (store, two);
  g_assert_cmpuint (run_gc (store).rewritten_chunks, >=, 2 * PAGES / 10);
  ChunkLocation after = locate_page (store, three, 0);
  g_assert_false (chunk_name_equal (&before.pack, &after.pack));
  g_assert_cmpint (after.frame.codec, ==, FRAME_DELTA);
  g_assert_true (readable (store, three, memory));
  assert_all_well (store);
}

/* Two checkpoints that are removed (so much differs that the second's map refers to nothing of the
 * first's, but by deltas); of the second one the pages in full stay, as a third one has
 * them, and with them, in the same pack, deltas that nothing needs. */
typedef struct {
  Store *store;
  Memory *memory; /* of the second */
  PageMap map;    /* its own */
} Leftover;

static void
leftover_init (Leftover *self)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Memory) former = memory_new (PAGES);
  StoreWriterStats stats;

  self->store = fixture_store_new (backend_memory_new());
  self->memory = memory_copy (former);
  g_autoptr (Manifest) one = checkpoint (self->store, former, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  change_pages (self->memory, 20, 1);
  for (guint64 i = 0; i < PAGES; i++)
    if (i % 20 >= 1 && i % 20 <= 12)
      fixture_page (500000 + i, memory_page (self->memory, i));
  g_autoptr (Manifest) two =
      checkpoint (self->store, self->memory, one, former, STORE_DELTA_ALWAYS, &stats);
  g_assert_cmpuint (stats.delta_pages, ==, PAGES / 20);
  self->map = manifest_find_part (two, "ram", NULL)->map;
  g_autoptr (Memory) rest = memory_copy (self->memory);
  for (guint64 i = 0; i < PAGES; i++)
    if (i % 20 == 0 || i % 20 > 12)
      memset (memory_page (rest, i), 0, PAGE_SIZE_BYTES);
  g_autoptr (StoreWriter) writer = store_writer_begin (self->store, &error);
  g_assert_no_error (error);
  PageMap map = write_memory (writer, rest, NULL, NULL, NULL);
  manifest_free (fixture_commit (writer, "g1", 3, &map));
  remove_checkpoint (self->store, one);
  remove_checkpoint (self->store, two);
}

static void
leftover_clear (Leftover *self)
{
  store_unref (self->store);
  memory_free (self->memory);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Leftover, leftover_clear)

/* A delta that no checkpoint needs may outlive its base; then it is not taken for the page. */
static void
test_dangling (void)
{
  g_auto (Leftover) self = { 0 };
  ChunkName name;

  leftover_init (&self);
  chunk_name_of (&self.store->key, self.memory->bytes, PAGE_SIZE_BYTES, &name);
  run_gc (self.store);
  assert_all_well (self.store); /* including the deltas that have no base now */
  g_assert_cmpint (locate (self.store, &name).frame.codec, ==, FRAME_DELTA);
  g_autoptr (Manifest) four =
      checkpoint (self.store, self.memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  for (guint i = 0; i < 2; i++) {
    g_assert_true (readable (self.store, four, self.memory));
    assert_all_well (self.store);
    run_gc (self.store);
  }
}

/* A writer in progress keeps the bases that it relied on. */
static void
test_writer_in_progress (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Memory) memory = memory_new (PAGES);
  g_autoptr (Manifest) one = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) former = memory_copy (memory);
  const PageMap *base = &manifest_find_part (one, "ram", NULL)->map;
  g_autoptr (GError) error = NULL;
  StoreWriter *writer = store_writer_begin (store, &error);

  store_writer_set_delta (writer, STORE_DELTA_ALWAYS);
  change_pages (memory, 1, 1);
  PageMap map = write_memory (writer, memory, former, base, NULL);
  remove_checkpoint (store, one);
  g_assert_cmpuint (run_gc (store).deleted_packs, ==, 0);
  g_autoptr (Manifest) two = fixture_commit (writer, "g1", 2, &map);
  store_writer_free (writer);
  run_gc (store);
  g_assert_true (readable (store, two, memory));
  assert_all_well (store);
}

/* A base map with deltas whose bases are condemned, though they are not: these are stored again. */
static void
test_condemned_bases (void)
{
  g_auto (Leftover) self = { 0 };
  g_autoptr (GError) error = NULL;
  ChunkName name;

  leftover_init (&self);
  chunk_name_of (&self.store->key, self.memory->bytes, PAGE_SIZE_BYTES, &name);
  StoreWriter *older = store_writer_begin (self.store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (run_gc (self.store).waiting_packs, >, 0);
  StoreWriter *younger = store_writer_begin (self.store, &error);
  g_assert_no_error (error);
  store_writer_free (older);
  g_assert_cmpint (locate (self.store, &name).frame.codec, ==, FRAME_DELTA);
  g_autoptr (Memory) former = memory_copy (self.memory);
  change_pages (self.memory, 100, 2);
  for (guint64 i = 0; i < 100; i += 20) /* deltas that stay as they are */
    memcpy (memory_page (self.memory, i), memory_page (former, i), PAGE_SIZE_BYTES);
  store_writer_set_delta (younger, STORE_DELTA_ALWAYS);
  PageMap map = write_memory (younger, self.memory, former, &self.map, NULL);
  g_assert_cmpuint (run_gc (self.store).deleted_packs, >, 0);
  g_autoptr (Manifest) three = fixture_commit (younger, "g1", 2, &map);
  store_writer_free (younger);
  g_assert_true (readable (self.store, three, self.memory));
  assert_all_well (self.store);
}

/* Asks the rule about 1600 frames, of which one page in @each becomes a delta (0: none); returns
 * how many pages it has tried. */
static guint
ask_rule (DeltaRule *rule, guint each, gint64 us_per_page)
{
  guint pages = 0;

  for (guint i = 0; i < 1600; i++) {
    DeltaTry wanted = delta_rule_wants (rule);
    guint tried = wanted == DELTA_TRY_SAMPLE ? DELTA_SAMPLE_PAGES : DELTA_FRAME_PAGES;

    if (wanted == DELTA_TRY_NONE)
      continue;
    if (delta_sample_pays (tried, each != 0 ? tried / each : 0))
      tried = DELTA_FRAME_PAGES;
    delta_rule_note (rule, tried, each != 0 ? tried / each : 0, us_per_page * tried);
    pages += tried;
  }
  return pages;
}

/* Whole pages written anew: after a while little is read in vain. */
static void
test_rule (void)
{
  DeltaRule rule = { .mode = STORE_DELTA_AUTO };

  g_assert_cmpuint (ask_rule (&rule, 0, 10), <=, (1600 / 16 + 10) * DELTA_SAMPLE_PAGES);
  /* It comes back when pages change little again. */
  g_assert_cmpuint (ask_rule (&rule, 1, 10), >, 1000 * DELTA_FRAME_PAGES);
  g_assert_cmpuint (ask_rule (&rule, 4, 10), >, 1000 * DELTA_FRAME_PAGES);
  /* But not where reading takes long. */
  g_assert_cmpuint (ask_rule (&rule, 1, 10000), <, 200 * DELTA_FRAME_PAGES);
  rule.mode = STORE_DELTA_ALWAYS;
  g_assert_cmpint (delta_rule_wants (&rule), ==, DELTA_TRY_ALL);
  rule.mode = STORE_DELTA_NEVER;
  g_assert_cmpint (delta_rule_wants (&rule), ==, DELTA_TRY_NONE);
}

/* ---- Damage ---- */

/* Damages the pack that has @location's frame, in the middle of it. */
static void
damage_frame (const char *path, const ChunkLocation *location, gboolean remove)
{
  g_autofree char *object = object_name ("packs", &location->pack);
  g_autofree char *file = g_build_filename (path, object, NULL);
  g_autofree char *contents = NULL;
  gsize len;

  if (remove) {
    g_assert_cmpint (g_unlink (file), ==, 0);
    return;
  }
  g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
  contents[location->frame.offset + location->frame.stored_len / 2] ^= 0x10;
  g_assert_true (g_file_set_contents (file, contents, len, NULL));
}

/* What happens to a base is found, blamed on its pack, and hurts those that only have the delta. */
static void
try_damage (gboolean of_base, gboolean remove)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  g_autoptr (Memory) memory = memory_new (PAGES);
  g_autoptr (Manifest) one = checkpoint (store, memory, NULL, NULL, STORE_DELTA_ALWAYS, NULL);
  g_autoptr (Memory) former = memory_copy (memory);
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;
  gboolean found = FALSE;

  change_pages (memory, 1, 1);
  g_autoptr (Manifest) two = checkpoint (store, memory, one, former, STORE_DELTA_ALWAYS, NULL);
  ChunkLocation location = locate_page (store, of_base ? one : two, PAGES / 2);
  g_assert_cmpint (location.frame.codec == FRAME_DELTA, ==, !of_base);
  damage_frame (path, &location, remove);
  g_autofree char *object = object_name ("packs", &location.pack);
  g_autoptr (Store) again = store_open (fixture_directory_backend (path), &error);
  g_assert_false (readable (again, two, memory));
  g_assert_cmpint (readable (again, one, former), ==, !of_base);
  g_assert_true (store_check (again, TRUE, &findings, NULL, NULL, &error));
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_assert_cmpstr (finding->object, ==, object);
    const char *const *hurt = (const char *const *)finding->checkpoints;
    g_assert_true (g_strv_contains (hurt, two->id));
    g_assert_cmpint (g_strv_contains (hurt, one->id), ==, of_base);
    found = TRUE;
  }
  g_assert_true (found);
}

static void
test_damage (void)
{
  for (int of_base = 0; of_base < 2; of_base++)
    for (int remove = 0; remove < 2; remove++)
      try_damage (of_base, remove);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/delta-base/cost", test_cost);
  g_test_add_func ("/store/delta-base/depth", test_depth);
  g_test_add_func ("/store/delta-base/depth-enforced", test_depth_enforced);
  g_test_add_func ("/store/delta-base/gc-keeps-bases", test_gc_keeps_bases);
  g_test_add_func ("/store/delta-base/gc-unreadable", test_gc_unreadable);
  g_test_add_func ("/store/delta-base/gc-moves", test_gc_moves);
  g_test_add_func ("/store/delta-base/dangling", test_dangling);
  g_test_add_func ("/store/delta-base/writer-in-progress", test_writer_in_progress);
  g_test_add_func ("/store/delta-base/condemned-bases", test_condemned_bases);
  g_test_add_func ("/store/delta-base/rule", test_rule);
  g_test_add_func ("/store/delta-base/damage", test_damage);
  return g_test_run();
}
