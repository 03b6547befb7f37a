/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the store behaves when it is large, for tests/bench/store-scale:
 *
 *   store-scale fill DIR GIB     a new store whose index lists GIB of made-up pages (tables only)
 *   store-scale write DIR GIB    writes an image of GIB of distinct pages into it
 *
 * Prints one JSON object of figures (and to stderr how far it is), never judges. The pages are a
 * number each, so that they cost the disk little; for names, index and memory they are like any
 * others.
 */
#include "index.h"
#include "store-private.h"

#include <vmckpt/store/writer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_PER_GIB (1024 * 1024 * 1024 / PAGE_SIZE_BYTES)
#define TABLE_ENTRIES (2 * 1024 * 1024)
#define FRAME_CHUNKS 16
#define PACK_CHUNKS 2048

static void
fail (GError *error)
{
  g_printerr ("store-scale: %s\n", error->message);
  exit (1);
}

static guint64
next_random (guint64 *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static ChunkName
random_name (guint64 *state)
{
  ChunkName name;

  for (guint i = 0; i < sizeof name; i += 8) {
    guint64 value = next_random (state);
    memcpy (name.bytes + i, &value, 8);
  }
  return name;
}

/* A table of @count chunks that no pack has. */
static IndexContents *
make_up (guint64 *state, guint count)
{
  IndexContents *contents = index_contents_new();

  for (guint i = 0; i < count; i++) {
    if (i % PACK_CHUNKS == 0) {
      IndexPack pack = { random_name (state), 8 * 1024 * 1024, PACK_CHUNKS, PACK_DATA };
      g_array_append_val (contents->packs, pack);
    }
    if (i % FRAME_CHUNKS == 0) {
      guint32 offset = 16 + i % PACK_CHUNKS / FRAME_CHUNKS * 60000;
      IndexFrame frame = { contents->packs->len - 1,
                           { offset, 60000, FRAME_CHUNKS * PAGE_SIZE_BYTES, FRAME_CHUNKS,
                             FRAME_ZSTD } };
      g_array_append_val (contents->frames, frame);
    }
    IndexEntry entry = { random_name (state), contents->frames->len - 1,
                         i % FRAME_CHUNKS * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES };
    g_array_append_val (contents->entries, entry);
  }
  return contents;
}

static gboolean
yes (gpointer user_data)
{
  return TRUE;
}

static guint64
peak_kib (void)
{
  g_autofree char *status = NULL;

  if (!g_file_get_contents ("/proc/self/status", &status, NULL, NULL))
    return 0;
  const char *line = strstr (status, "VmHWM:");
  return line != NULL ? g_ascii_strtoull (line + 6, NULL, 10) : 0;
}

/* The high-water mark starts anew from here. */
static void
reset_peak (void)
{
  FILE *file = fopen ("/proc/self/clear_refs", "w");

  if (file == NULL)
    return;
  fputs ("5", file);
  fclose (file);
}

static void
fill (const char *path, guint64 gib)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, TRUE, &error);
  guint64 state = 88172645463325252u, left = gib * PAGES_PER_GIB, merged = 0;

  if (backend == NULL || !store_init (backend, &error))
    fail (error);
  g_autoptr (Store) store = store_open (backend, &error);
  if (store == NULL)
    fail (error);
  while (left > 0) {
    guint count = MIN (left, TABLE_ENTRIES);
    g_autoptr (IndexContents) contents = make_up (&state, count);
    if (!index_publish (store->index, contents, NULL, NULL, &error))
      fail (error);
    left -= count;
  }
  guint64 built_kib = peak_kib();
  reset_peak();
  g_autoptr (IndexView) view = index_reload (store->index, &error);
  if (view == NULL || !index_merge (store->index, view, yes, NULL, &merged, NULL, &error))
    fail (error);
  printf ("{\"entries\": %" G_GUINT64_FORMAT ", \"built_kib\": %" G_GUINT64_FORMAT
          ", \"merged_bytes\": %" G_GUINT64_FORMAT ", \"merge_kib\": %" G_GUINT64_FORMAT "}\n",
          gib * PAGES_PER_GIB, built_kib, merged, peak_kib());
}

static void
put_pages (StoreWriter *writer, guint64 pages, PageMap *map)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapWriter) map_writer =
      page_map_writer_new (writer, pages * PAGE_SIZE_BYTES, NULL, &error);
  guint64 page[PAGE_SIZE_BYTES / 8] = { 0 };
  gint64 start = g_get_monotonic_time();

  if (map_writer == NULL)
    fail (error);
  for (guint64 i = 0; i < pages; i++) {
    page[0] = page[1] = i + 1;
    if (!page_map_writer_put (map_writer, i, (guint8 *)page, &error))
      fail (error);
    if ((i + 1) % (4 * PAGES_PER_GIB) == 0)
      g_printerr ("store-scale: %" G_GUINT64_FORMAT " GiB after %.0f s, at most %" G_GUINT64_FORMAT
                  " KiB\n",
                  (i + 1) / PAGES_PER_GIB, (g_get_monotonic_time() - start) / 1e6, peak_kib());
  }
  if (!page_map_writer_finish (map_writer, map, NULL, &error))
    fail (error);
}

static void
write_image (const char *path, guint64 gib)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, FALSE, &error);
  guint64 pages = gib * PAGES_PER_GIB;
  gint64 start = g_get_monotonic_time();
  g_autoptr (Manifest) manifest = manifest_new();
  StoreWriterStats stats;
  BlockCacheStats cache;
  PageMap map;

  g_autoptr (Store) store = backend != NULL ? store_open (backend, &error) : NULL;
  g_autoptr (StoreWriter) writer = store != NULL ? store_writer_begin (store, &error) : NULL;
  if (writer == NULL)
    fail (error);
  gint64 opened = g_get_monotonic_time();
  put_pages (writer, pages, &map);
  manifest->guest = g_strdup ("scale");
  manifest->guest_uuid = g_uuid_string_random();
  manifest->host = g_strdup ("host");
  manifest->engine = g_strdup ("stream");
  manifest->mode = g_strdup ("live");
  manifest->created_us = g_get_real_time();
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  if (!store_writer_commit (writer, manifest, NULL, &error))
    fail (error);
  store_writer_stats (writer, &stats);
  index_cache_stats (store->index, &cache);
  g_autoptr (IndexView) view = index_view (store->index, NULL);
  printf (
      "{\"pages\": %" G_GUINT64_FORMAT ", \"open_ms\": %.1f, \"write_s\": %.1f, "
      "\"peak_kib\": %" G_GUINT64_FORMAT ", \"tables\": %u, \"blocks_per_page\": %.2f, "
      "\"reads_per_page\": %.2f, \"read_bytes_per_page\": %.0f, \"cache_bytes\": %" G_GUINT64_FORMAT
      ", \"map_bytes_per_page\": %.1f, \"index_bytes_per_page\": %.1f}\n",
      pages, (opened - start) / 1000.0, (g_get_monotonic_time() - opened) / 1e6, peak_kib(),
      view->tables->len, (double)cache.lookups / pages, (double)cache.reads / pages,
      (double)cache.read_bytes / pages, cache.kept_bytes, (double)stats.metadata_bytes / pages,
      (double)stats.index_bytes / pages);
}

int
main (int argc, char **argv)
{
  if (argc != 4 || (strcmp (argv[1], "fill") != 0 && strcmp (argv[1], "write") != 0)) {
    g_printerr ("usage: store-scale fill|write DIR GIB\n");
    return 2;
  }
  guint64 gib = g_ascii_strtoull (argv[3], NULL, 10);
  if (strcmp (argv[1], "fill") == 0)
    fill (argv[2], gib);
  else
    write_image (argv[2], gib);
  return 0;
}
