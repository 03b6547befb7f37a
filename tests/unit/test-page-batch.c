/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What reading costs, in reads of the backend; and pages that go straight to a file. */
#include "store-fixture.h"

#include "index.h"
#include "page-batch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGES 3000

/* A backend's operations, with reads of packs counted. */
typedef struct {
  BackendOps ops; /* first: what the backend refers to */
  const BackendOps *inner;
  int reads;    /* (atomic) */
  int last_len; /* (atomic) */
} Counting;

static GBytes *
counting_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  Counting *counting = (Counting *)backend->ops;

  if (g_str_has_prefix (name, "packs/")) {
    g_atomic_int_inc (&counting->reads);
    g_atomic_int_set (&counting->last_len, (int)len);
  }
  return counting->inner->get (backend, name, offset, len, error);
}

typedef struct {
  char *directory;
  Store *store;
  Counting counting;
  guint64 *seeds;
  Manifest *manifest;
} Fixture;

static void
write_checkpoint (Fixture *f)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = fixture_store_new (backend_directory_open (f->directory, TRUE, &error));
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);

  for (guint i = 0; i < PAGES; i++)
    f->seeds[i] = i / 100 % 3 == 1 ? 0 : i + 1;
  PageMap map = fixture_write_map (writer, f->seeds, PAGES, NULL, NULL, NULL);
  f->manifest = fixture_commit (writer, "g1", 1, &map);
}

/* A store with a checkpoint, opened anew so that nothing of it is in memory. */
static void
set_up (Fixture *f, gconstpointer user_data)
{
  g_autoptr (GError) error = NULL;

  f->directory = g_dir_make_tmp ("test-page-batch.XXXXXX", NULL);
  f->seeds = g_new (guint64, PAGES);
  write_checkpoint (f);
  Backend *backend = backend_directory_open (f->directory, FALSE, &error);
  g_assert_no_error (error);
  f->counting = (Counting){ .ops = *backend->ops, .inner = backend->ops };
  f->counting.ops.get = counting_get;
  backend->ops = &f->counting.ops;
  f->store = store_open (backend, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer user_data)
{
  const char *argv[] = { "rm", "-rf", f->directory, NULL };

  store_unref (f->store);
  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  manifest_free (f->manifest);
  g_free (f->seeds);
  g_free (f->directory);
}

static const PageMap *
map_of (const Fixture *f)
{
  return &((ManifestPart *)f->manifest->parts->pdata[0])->map;
}

/* The frames that hold the map's pages. */
static guint
count_frames (Fixture *f)
{
  g_autoptr (GHashTable) frames = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (f->store, map_of (f), &error);

  for (guint i = 0; i < PAGES; i++) {
    ChunkLocation location;
    ChunkName name;
    g_assert_true (page_map_reader_name (reader, i, &name, &error));
    if (chunk_name_is_zero (&name))
      continue;
    g_assert_true (store_chunk_locate (f->store, &name, &location, &error));
    g_autofree char *pack = chunk_name_to_hex (&location.pack);
    g_hash_table_add (frames, g_strdup_printf ("%s %u", pack, location.frame.offset));
  }
  return g_hash_table_size (frames);
}

/* Once the map's nodes are known, a page is one ranged read, of its frame; its neighbours are none.
 */
static void
test_single_page (Fixture *f, gconstpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (f->store, map_of (f), &error);
  guint8 page[PAGE_SIZE_BYTES], expected[PAGE_SIZE_BYTES];
  ChunkLocation location;
  ChunkName name;

  for (guint i = 0; i < PAGES; i += NODE_FANOUT)
    g_assert_true (page_map_reader_name (reader, i, &name, &error));
  g_assert_true (page_map_reader_name (reader, 2050, &name, &error));
  g_assert_true (store_chunk_locate (f->store, &name, &location, &error));
  f->counting.reads = 0;
  g_assert_true (page_map_reader_read (reader, 2050, page, &error));
  g_assert_cmpint (f->counting.reads, ==, 1);
  g_assert_cmpint (f->counting.last_len, ==, (int)location.frame.stored_len);
  fixture_page (f->seeds[2050], expected);
  g_assert_cmpmem (page, sizeof page, expected, sizeof expected);
  g_assert_true (page_map_reader_read (reader, 2051, page, &error));
  g_assert_cmpint (f->counting.reads, ==, 1);
}

/* All pages: each frame is read once, whichever batches its pages are in. */
static void
test_all_pages (Fixture *f, gconstpointer user_data)
{
  g_autoptr (GError) error = NULL;
  guint frames = count_frames (f);
  g_autoptr (PageMapReader) reader = page_map_reader_new (f->store, map_of (f), &error);
  PageBatch batch = { .store = f->store };

  batch.data = g_malloc (PAGE_BATCH_PAGES * PAGE_SIZE_BYTES);
  for (guint i = 0; i < PAGES; i += NODE_FANOUT)
    g_assert_true (page_map_reader_name (reader, i, &batch.names[0], &error));
  f->counting.reads = 0;
  for (batch.first = 0; batch.first < PAGES; batch.first += batch.count) {
    batch.count = MIN (PAGE_BATCH_PAGES, PAGES - batch.first);
    for (guint i = 0; i < batch.count; i++)
      g_assert_true (page_map_reader_name (reader, batch.first + i, &batch.names[i], &error));
    g_assert_true (page_batch_read (&batch, &error));
    for (guint i = 0; i < batch.count; i++) {
      guint8 expected[PAGE_SIZE_BYTES];
      fixture_page (f->seeds[batch.first + i], expected);
      if (f->seeds[batch.first + i] != 0)
        g_assert_cmpmem (batch.data + (gsize)i * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES, expected,
                         PAGE_SIZE_BYTES);
    }
  }
  g_assert_cmpuint (f->counting.reads, ==, frames);
  g_free (batch.data);
}

/* Into a file: every page at its place, zeros left alone, and nothing beyond the map's end. */
static void
test_file (Fixture *f, gconstpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (f->store, map_of (f), &error);
  g_autofree char *path = g_build_filename (f->directory, "restored", NULL);
  g_autofree char *content = NULL;
  gsize len;
  int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

  g_assert_cmpint (fd, >=, 0);
  g_assert_true (page_map_reader_write_file (reader, fd, NULL, NULL, &error));
  g_assert_no_error (error);
  close (fd);
  g_assert_true (g_file_get_contents (path, &content, &len, &error));
  g_assert_cmpuint (len, ==, (gsize)PAGES * PAGE_SIZE_BYTES); /* the last page is not zeros */
  for (guint i = 0; i < PAGES; i++) {
    guint8 expected[PAGE_SIZE_BYTES];
    fixture_page (f->seeds[i], expected);
    g_assert_cmpmem (content + (gsize)i * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES, expected,
                     PAGE_SIZE_BYTES);
  }
}

/* A file that takes nothing is an error, not a hole. */
static void
test_full_file (Fixture *f, gconstpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (f->store, map_of (f), &error);
  int fd = open ("/dev/full", O_WRONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_false (page_map_reader_write_file (reader, fd, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  close (fd);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/store/page-batch/single-page", Fixture, NULL, set_up, test_single_page, tear_down);
  g_test_add ("/store/page-batch/all-pages", Fixture, NULL, set_up, test_all_pages, tear_down);
  g_test_add ("/store/page-batch/file", Fixture, NULL, set_up, test_file, tear_down);
  g_test_add ("/store/page-batch/full-file", Fixture, NULL, set_up, test_full_file, tear_down);
  return g_test_run();
}
