/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks of a stream, one of which gets its pages otherwise: the parts are the same and complete.
 */
#include "store-fixture.h"

#include "ram-blocks.h"

#include <vmckpt/ram/capture.h>

#define PAGES 8
#define LENGTH ((guint64)PAGES * PAGE_SIZE_BYTES)

typedef struct {
  Store *store;
  StoreWriter *writer;
  RamBlocks *blocks;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GError) error = NULL;
  static const StreamBlock declared[] = { { .name = "pc.ram", .length = LENGTH },
                                          { .name = "vga.vram", .length = LENGTH } };

  fixture->store = fixture_store_new (backend_memory_new());
  fixture->writer = store_writer_begin (fixture->store, &error);
  g_assert_no_error (error);
  fixture->blocks = ram_blocks_open (fixture->writer, declared, 2, NULL, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *fixture, gconstpointer unused)
{
  ram_blocks_free (fixture->blocks);
  store_writer_free (fixture->writer);
  store_unref (fixture->store);
}

/* All of a block's pages come, the content is @seed's. */
static void
put_block (Fixture *fixture, guint block, guint64 seed)
{
  g_autoptr (GError) error = NULL;
  guint8 page[PAGE_SIZE_BYTES];

  fixture_page (seed, page);
  for (guint64 i = 0; i < PAGES; i++) {
    StreamItem item = { .type = STREAM_ITEM_PAGE,
                        .block = block,
                        .offset = i * PAGE_SIZE_BYTES,
                        .data = page,
                        .len = sizeof page };
    ram_blocks_put (fixture->blocks, &item, &error);
    g_assert_no_error (error);
  }
}

static PageMapWriter *
new_map (Fixture *fixture, guint64 seed)
{
  g_autoptr (GError) error = NULL;
  PageMapWriter *map = page_map_writer_new (fixture->writer, LENGTH, NULL, &error);
  guint8 page[PAGE_SIZE_BYTES];

  fixture_page (seed, page);
  page_map_writer_put (map, 3, page, &error);
  g_assert_no_error (error);
  return map;
}

static void
test_adopted (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = manifest_new();
  PageMapStats stats = { 0 };

  put_block (fixture, 1, 7);
  g_assert_false (ram_blocks_check_complete (fixture->blocks, &error));
  g_assert_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE);
  g_assert_nonnull (strstr (error->message, "pc.ram"));
  g_clear_error (&error);
  g_assert_true (
      ram_blocks_adopt (fixture->blocks, "pc.ram", LENGTH, new_map (fixture, 9), &error));
  g_assert_true (ram_blocks_check_complete (fixture->blocks, &error));
  g_assert_true (ram_blocks_finish (fixture->blocks, manifest, &stats, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (stats.put, ==, PAGES + 1);

  /* In the order in which the stream declared them. */
  const ManifestPart *first = g_ptr_array_index (manifest->parts, 0);
  const ManifestPart *second = g_ptr_array_index (manifest->parts, 1);
  g_assert_cmpstr (first->name, ==, "pc.ram");
  g_assert_cmpstr (second->name, ==, "vga.vram");
  g_assert_cmpuint (first->map.length, ==, LENGTH);
}

/* A block that is not there, has another length, or came in the stream after all. */
static void
test_refused (Fixture *fixture, gconstpointer unused)
{
  struct {
    const char *name;
    guint64 length;
  } wrong[] = { { "ram", LENGTH }, { "pc.ram", 2 * LENGTH }, { "vga.vram", LENGTH } };

  put_block (fixture, 1, 7);
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (ram_blocks_adopt (fixture->blocks, wrong[i].name, wrong[i].length,
                                      new_map (fixture, 9), &error));
    g_assert_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/ram-blocks/adopted", Fixture, NULL, set_up, test_adopted, tear_down);
  g_test_add ("/ram-blocks/refused", Fixture, NULL, set_up, test_refused, tear_down);
  return g_test_run();
}
