/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests of disks need: a store with a checkpoint of two disks whose bytes are known. */
#pragma once

#include "store-fixture.h"

#include <vmckpt/store/key.h>

/* Some data at both ends and within, long stretches of zeros, and an end in the middle of a page.
 */
#define FIXTURE_DISK_PAGES 1500
#define FIXTURE_DISK_BYTES (FIXTURE_DISK_PAGES * PAGE_SIZE_BYTES - 2560)
#define FIXTURE_SMALL_BYTES (64 * 1024)

typedef struct {
  char *path;       /* of the store */
  char *id;         /* of the checkpoint */
  guint8 *disk0;    /* FIXTURE_DISK_BYTES */
  guint8 *disk1;    /* FIXTURE_SMALL_BYTES */
  KeyMaterial *key; /* (nullable) */
} DiskFixture;

/* Seed of page @page of disk0; 0 for zeros. */
static inline guint64
disk_fixture_seed (guint64 page)
{
  if (page < 3 || page == FIXTURE_DISK_PAGES - 1 || page == 700)
    return 1000 + page;
  return page >= 250 && page < 530 && page % 7 != 0 ? 1000 + page : 0;
}

static inline void
disk_fixture_add (StoreWriter *writer, Manifest *manifest, const char *name, const guint8 *data,
                  guint64 length)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapWriter) map_writer = page_map_writer_new (writer, length, NULL, &error);
  PageMap map;

  g_assert_no_error (error);
  for (guint64 at = 0; at < length; at += PAGE_SIZE_BYTES) {
    guint8 page[PAGE_SIZE_BYTES] = { 0 };
    memcpy (page, data + at, MIN (PAGE_SIZE_BYTES, length - at));
    page_map_writer_put (map_writer, at / PAGE_SIZE_BYTES, page, &error);
    g_assert_no_error (error);
  }
  page_map_writer_finish (map_writer, &map, NULL, &error);
  g_assert_no_error (error);
  manifest_add_part (manifest, "disk", name, &map);
}

/* Makes it in a directory of its own, which disk_fixture_clear() removes. */
static inline void
disk_fixture_make (DiskFixture *fixture, gboolean encrypted)
{
  g_autoptr (GError) error = NULL;
  guint8 page[PAGE_SIZE_BYTES];

  fixture->path = fixture_directory_new();
  fixture->disk0 = g_malloc0 (FIXTURE_DISK_BYTES);
  fixture->disk1 = g_malloc0 (FIXTURE_SMALL_BYTES);
  for (guint64 i = 0; i < FIXTURE_DISK_PAGES; i++) {
    fixture_page (disk_fixture_seed (i), page);
    memcpy (fixture->disk0 + i * PAGE_SIZE_BYTES, page,
            MIN (PAGE_SIZE_BYTES, FIXTURE_DISK_BYTES - i * PAGE_SIZE_BYTES));
  }
  memset (fixture->disk1, 'b', FIXTURE_SMALL_BYTES / 2);
  if (encrypted) {
    fixture->key = key_material_new_file ("the content of a key file, long enough", 38, &error);
    store_init_encrypted (fixture_directory_backend (fixture->path), fixture->key, NULL, &error);
  } else {
    store_init (fixture_directory_backend (fixture->path), &error);
  }
  g_assert_no_error (error);
  g_autoptr (Store) store =
      store_open_with_key (fixture_directory_backend (fixture->path), fixture->key, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1700000000000000);
  disk_fixture_add (writer, manifest, "disk0", fixture->disk0, FIXTURE_DISK_BYTES);
  disk_fixture_add (writer, manifest, "disk1", fixture->disk1, FIXTURE_SMALL_BYTES);
  store_writer_commit (writer, manifest, NULL, &error);
  g_assert_no_error (error);
  fixture->id = g_strdup (manifest->id);
}

static inline void
disk_fixture_clear (DiskFixture *fixture)
{
  fixture_directory_remove (fixture->path);
  g_free (fixture->id);
  g_free (fixture->disk0);
  g_free (fixture->disk1);
  key_material_free (fixture->key);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (DiskFixture, disk_fixture_clear)
