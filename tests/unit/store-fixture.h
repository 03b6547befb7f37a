/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests of the store need: a store, pages with known content, checkpoints. */
#pragma once

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmckpt/store/maintain.h>
#include <vmckpt/store/writer.h>

/* A guest that all checkpoints of a test belong to. */
#define FIXTURE_UUID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

/* A new store on @backend (taken). */
static inline Store *
fixture_store_new (Backend *backend)
{
  g_autoptr (GError) error = NULL;

  store_init (backend, &error);
  g_assert_no_error (error);
  Store *store = store_open (backend, &error);
  g_assert_no_error (error);
  return store;
}

/* Content that is known from its seed; half of it compresses. Seed 0: a page of zeros. */
static inline void
fixture_page (guint64 seed, guint8 *page)
{
  guint64 state = seed * 0x9e3779b97f4a7c15u + 1;

  memset (page, 0, PAGE_SIZE_BYTES);
  for (guint i = 0; seed != 0 && i < PAGE_SIZE_BYTES / 2; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy (page + i, &state, 8);
  }
}

/* Writes a map whose page i has the content of seeds[i]; with a base, only pages that differ from
 * former[i] are put. */
static inline PageMap
fixture_write_map (StoreWriter *writer, const guint64 *seeds, guint64 pages, const PageMap *base,
                   const guint64 *former, PageMapStats *stats)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapWriter) map_writer =
      page_map_writer_new (writer, pages * PAGE_SIZE_BYTES, base, &error);
  guint8 page[PAGE_SIZE_BYTES];
  PageMap map;

  g_assert_no_error (error);
  for (guint64 i = 0; i < pages; i++) {
    if (former != NULL && seeds[i] == former[i])
      continue;
    fixture_page (seeds[i], page);
    page_map_writer_put (map_writer, i, page, &error);
    g_assert_no_error (error);
  }
  page_map_writer_finish (map_writer, &map, stats, &error);
  g_assert_no_error (error);
  return map;
}

static inline Manifest *
fixture_manifest_new (const char *guest, gint64 created_us)
{
  Manifest *manifest = manifest_new();

  manifest->guest = g_strdup (guest);
  manifest->guest_uuid = g_strdup (FIXTURE_UUID);
  manifest->host = g_strdup ("host");
  manifest->engine = g_strdup ("stream");
  manifest->mode = g_strdup ("live");
  manifest->created_us = created_us;
  return manifest;
}

/* Commits a checkpoint of one map. */
static inline Manifest *
fixture_commit (StoreWriter *writer, const char *guest, gint64 created_us, const PageMap *map)
{
  g_autoptr (GError) error = NULL;
  Manifest *manifest = fixture_manifest_new (guest, created_us);

  manifest_add_part (manifest, "ram", "pc.ram", map);
  store_writer_commit (writer, manifest, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (manifest->id);
  return manifest;
}

/* A whole checkpoint in one go. */
static inline Manifest *
fixture_checkpoint (Store *store, gint64 created_us, const guint64 *seeds, guint64 pages,
                    const Manifest *parent, const guint64 *former)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  const PageMap *base = NULL;

  g_assert_no_error (error);
  if (parent != NULL)
    base = &manifest_find_part (parent, "ram", NULL)->map;
  PageMap map = fixture_write_map (writer, seeds, pages, base, former, NULL);
  return fixture_commit (writer, "g1", created_us, &map);
}

typedef struct {
  const guint64 *seeds;
  guint64 seen;
} FixtureExpected;

static inline gboolean
fixture_compare_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  FixtureExpected *expected = user_data;
  guint8 wanted[PAGE_SIZE_BYTES];

  g_assert_cmpuint (page, ==, expected->seen);
  expected->seen++;
  fixture_page (expected->seeds[page], wanted);
  if (data == NULL)
    g_assert_cmpuint (expected->seeds[page], ==, 0);
  else
    g_assert_cmpmem (data, PAGE_SIZE_BYTES, wanted, PAGE_SIZE_BYTES);
  return TRUE;
}

/* Reads all of a map and compares it. */
static inline void
fixture_assert_map (Store *store, const PageMap *map, const guint64 *seeds, guint64 pages)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, &error);
  FixtureExpected expected = { seeds, 0 };

  g_assert_no_error (error);
  g_assert_cmpuint (map->length, ==, pages * PAGE_SIZE_BYTES);
  page_map_reader_foreach (reader, TRUE, fixture_compare_page, &expected, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (expected.seen, ==, pages);
}

static inline void
fixture_assert_checkpoint (Store *store, const char *id, const guint64 *seeds, guint64 pages)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = store_manifest_load (store, id, &error);

  g_assert_no_error (error);
  fixture_assert_map (store, &manifest_find_part (manifest, "ram", NULL)->map, seeds, pages);
}

static inline gboolean
fixture_count (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  (*(guint *)user_data)++;
  return TRUE;
}

/* How many objects there are under @prefix. */
static inline guint
fixture_count_objects (Backend *backend, const char *prefix)
{
  g_autoptr (GError) error = NULL;
  guint count = 0;

  backend->ops->list (backend, prefix, fixture_count, &count, &error);
  g_assert_no_error (error);
  return count;
}

/* Puts something else in the place of an object: @len bytes of it, padded with zeros, of which the
 * one at @flip is another (beyond the end: none is). */
static inline void
fixture_spoil (Backend *backend, const char *name, gsize len, gsize flip)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = backend->ops->get (backend, name, 0, G_MAXSIZE, &error);
  g_autofree guint8 *data = g_malloc0 (len + 1);
  gboolean existed;

  g_assert_no_error (error);
  memcpy (data, g_bytes_get_data (bytes, NULL), MIN (len, g_bytes_get_size (bytes)));
  if (flip < len)
    data[flip] ^= 1;
  g_assert_true (backend->ops->remove (backend, name, &error));
  g_autoptr (GBytes) spoilt = g_bytes_new (data, len);
  g_assert_true (backend->ops->put_if_absent (backend, name, spoilt, &existed, &error));
}

static inline void
fixture_directory_remove (char *path)
{
  const char *argv[] = { "rm", "-rf", "--", path, NULL };

  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  g_free (path);
}

#define FIXTURE_DIRECTORY_PREFIX "store-test-"

/* TRUE for "store-test-PID-…" of a process that is gone. */
static inline gboolean
fixture_directory_is_left (const char *name)
{
  char *end;

  if (!g_str_has_prefix (name, FIXTURE_DIRECTORY_PREFIX))
    return FALSE;
  long pid = strtol (name + strlen (FIXTURE_DIRECTORY_PREFIX), &end, 10);
  return *end == '-' && pid > 0 && kill (pid, 0) != 0 && errno == ESRCH;
}

/* Removes what tests that were killed have left in @place. */
static inline void
fixture_directory_clean (const char *place)
{
  g_autoptr (GDir) dir = g_dir_open (place, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    if (fixture_directory_is_left (name))
      fixture_directory_remove (g_build_filename (place, name, NULL));
}

/* A directory that a test may fill; fixture_directory_remove() removes it with all in it. In memory
 * where there is such a place: thousands of syncs would wait for the disk of a busy machine. */
static inline char *
fixture_directory_new (void)
{
  const char *place = access ("/dev/shm", W_OK) == 0 ? "/dev/shm" : g_get_tmp_dir();
  static gsize cleaned;

  if (g_once_init_enter (&cleaned)) {
    fixture_directory_clean (place);
    g_once_init_leave (&cleaned, 1);
  }
  char *path = g_strdup_printf ("%s/" FIXTURE_DIRECTORY_PREFIX "%d-XXXXXX", place, (int)getpid());
  g_assert_nonnull (g_mkdtemp (path));
  return path;
}

typedef char FixtureDirectory;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FixtureDirectory, fixture_directory_remove)

static inline Backend *
fixture_directory_backend (const char *path)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, TRUE, &error);

  g_assert_no_error (error);
  return backend;
}
