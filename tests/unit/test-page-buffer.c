/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of a file that stands for a guest's RAM, copied, copied again, and put into a map. */
#include "store-fixture.h"

#include "page-buffer.h"

#include <sys/mman.h>

#define PAGES 1000

typedef struct {
  Store *store;
  StoreWriter *writer;
  int ram;
  guint64 seeds[PAGES];
} Fixture;

static void
fill (Fixture *fixture, guint64 page, guint64 seed)
{
  guint8 data[PAGE_SIZE_BYTES];

  fixture->seeds[page] = seed;
  fixture_page (seed, data);
  g_assert_cmpint (pwrite (fixture->ram, data, sizeof data, page * PAGE_SIZE_BYTES), ==,
                   sizeof data);
}

static void
set_up (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GError) error = NULL;

  fixture->store = fixture_store_new (backend_memory_new());
  fixture->writer = store_writer_begin (fixture->store, &error);
  g_assert_no_error (error);
  fixture->ram = memfd_create ("ram", MFD_CLOEXEC);
  g_assert_cmpint (ftruncate (fixture->ram, (off_t)PAGES * PAGE_SIZE_BYTES), ==, 0);
  for (guint i = 0; i < PAGES; i++)
    if (i % 3 != 0) /* every third one is never populated */
      fill (fixture, i, i);
}

static void
tear_down (Fixture *fixture, gconstpointer unused)
{
  store_writer_free (fixture->writer);
  store_unref (fixture->store);
  close (fixture->ram);
}

/* What the map holds is what was in the file when each page was copied last. */
static void
assert_map (Fixture *fixture, const PageMap *map)
{
  g_autoptr (GError) error = NULL;
  guint8 expected[PAGE_SIZE_BYTES], got[PAGE_SIZE_BYTES];

  store_writer_flush (fixture->writer, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (PageMapReader) reader = page_map_reader_new (fixture->store, map, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < PAGES; i++) {
    fixture_page (fixture->seeds[i], expected);
    page_map_reader_read (reader, i, got, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (got, sizeof got, expected, sizeof expected);
  }
}

static void
test_last_copy_counts (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageBuffer) buffer = page_buffer_new (fixture->ram, PAGES, 2 * PAGES, &error);
  g_autoptr (PageMapWriter) map =
      page_map_writer_new (fixture->writer, (guint64)PAGES * PAGE_SIZE_BYTES, NULL, &error);
  g_autoptr (PageBitmap) all = page_bitmap_new (PAGES);
  g_autoptr (PageBitmap) some = page_bitmap_new (PAGES);
  guint64 at = 0;
  PageMapStats stats;
  PageMap done;

  page_bitmap_set_range (all, 0, PAGES);
  page_buffer_reserve (buffer, 100000);
  /* In pieces, as the store takes them. */
  for (guint piece = 0; at < PAGES; piece++) {
    g_assert_true (page_buffer_copy (buffer, all, &at, 300, &error));
    g_assert_cmpuint (page_buffer_used (buffer), ==, MIN (300 * (piece + 1), PAGES));
  }
  g_assert_cmpuint (page_buffer_used (buffer), ==, PAGES);
  at = 0;
  for (guint i = 0; i < PAGES; i += 7) {
    fill (fixture, i, i % 2 == 0 ? 5000 + i : 0);
    page_bitmap_set (some, i);
  }
  g_assert_true (page_buffer_copy (buffer, some, &at, G_MAXUINT64, &error));
  g_assert_cmpuint (page_buffer_used (buffer), ==, PAGES + (PAGES + 6) / 7);
  g_assert_cmpuint (page_buffer_room (buffer), ==, PAGES - (PAGES + 6) / 7);
  g_assert_true (page_buffer_flush (buffer, map, &error));
  g_assert_cmpuint (page_buffer_used (buffer), ==, 0);
  page_map_writer_finish (map, &done, &stats, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (stats.put, ==, PAGES);
  assert_map (fixture, &done);
}

/* Flushed in between, a page's later copy replaces the earlier one. */
static void
test_flushed_between (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageBuffer) buffer = page_buffer_new (fixture->ram, PAGES, PAGES, &error);
  g_autoptr (PageMapWriter) map =
      page_map_writer_new (fixture->writer, (guint64)PAGES * PAGE_SIZE_BYTES, NULL, &error);
  g_autoptr (PageBitmap) all = page_bitmap_new (PAGES);
  g_autoptr (PageBitmap) last = page_bitmap_new (PAGES);
  guint64 at = 0;
  PageMap done;

  page_bitmap_set_range (all, 0, PAGES);
  g_assert_true (page_buffer_copy (buffer, all, &at, G_MAXUINT64, &error));
  g_assert_true (page_buffer_flush (buffer, map, &error));
  fill (fixture, PAGES - 1, 77);
  fill (fixture, 64, 78);
  page_bitmap_set (last, PAGES - 1);
  page_bitmap_set (last, 64);
  at = 0;
  g_assert_true (page_buffer_copy (buffer, last, &at, G_MAXUINT64, &error));
  g_assert_true (page_buffer_flush (buffer, map, &error));
  page_map_writer_finish (map, &done, NULL, &error);
  g_assert_no_error (error);
  assert_map (fixture, &done);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/page-buffer/last-copy-counts", Fixture, NULL, set_up, test_last_copy_counts,
              tear_down);
  g_test_add ("/page-buffer/flushed-between", Fixture, NULL, set_up, test_flushed_between,
              tear_down);
  return g_test_run();
}
