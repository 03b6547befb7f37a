/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast the store is on this machine: store-speed DIRECTORY [MIB]. Prints, never judges.
 * The pages are half random, half zeros, so they compress to about a half.
 */
#include <vmckpt/store/writer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
  Store *store;
  guint64 pages;
  guint8 *memory; /* of the imaginary guest */
} Speed;

static void
fail (GError *error)
{
  if (error == NULL)
    return;
  fprintf (stderr, "store-speed: %s\n", error->message);
  exit (1);
}

/* Seconds of all threads of this process: what another process took does not count. */
static double
cpu_seconds (void)
{
  return (double)clock() / CLOCKS_PER_SEC;
}

static void
fill_page (guint8 *page, guint64 seed)
{
  guint64 state = seed * 0x9e3779b97f4a7c15u + 1;

  for (guint i = 0; i < PAGE_SIZE_BYTES / 2; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy (page + i, &state, 8);
  }
}

/* Writes all pages and commits; prints the rate. */
static Manifest *
write_all (Speed *speed, const char *what, const Manifest *parent)
{
  g_autoptr (GError) error = NULL;
  gint64 start = g_get_monotonic_time();
  double cpu = cpu_seconds();
  g_autoptr (StoreWriter) writer = store_writer_begin (speed->store, &error);
  fail (error);
  const PageMap *base = parent != NULL ? &manifest_find_part (parent, "ram", NULL)->map : NULL;
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, speed->pages * PAGE_SIZE_BYTES, base, &error);
  fail (error);
  for (guint64 i = 0; i < speed->pages; i++) {
    page_map_writer_put (pages, i, speed->memory + i * PAGE_SIZE_BYTES, &error);
    fail (error);
  }
  Manifest *manifest = manifest_new();
  PageMapStats stats;
  StoreWriterStats totals;
  PageMap map;
  page_map_writer_finish (pages, &map, &stats, &error);
  fail (error);
  double piped = (g_get_monotonic_time() - start) / 1e6;
  manifest->guest = g_strdup ("speed");
  manifest->guest_uuid = g_uuid_string_random();
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  store_writer_commit (writer, manifest, NULL, &error);
  fail (error);
  double all = (g_get_monotonic_time() - start) / 1e6;
  store_writer_stats (writer, &totals);
  double mb = speed->pages * PAGE_SIZE_BYTES / 1e6;
  printf (
      "%-28s %7.0f MB/s (%.0f with commit, %.0f per second of one core), fresh %" G_GUINT64_FORMAT
      " unchanged %" G_GUINT64_FORMAT ", stored %.1f MB, metadata %.3f MB\n",
      what, mb / piped, mb / all, mb / (cpu_seconds() - cpu), stats.fresh, stats.unchanged,
      totals.stored_bytes / 1e6, totals.metadata_bytes / 1e6);
  return manifest;
}

static gboolean
ignore_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  return TRUE;
}

static void
read_all (Speed *speed, const Manifest *manifest)
{
  g_autoptr (GError) error = NULL;
  gint64 start = g_get_monotonic_time();
  double cpu = cpu_seconds();
  const PageMap *map = &manifest_find_part (manifest, "ram", NULL)->map;
  g_autoptr (PageMapReader) reader = page_map_reader_new (speed->store, map, &error);

  fail (error);
  page_map_reader_foreach (reader, TRUE, ignore_page, NULL, NULL, NULL, &error);
  fail (error);
  double seconds = (g_get_monotonic_time() - start) / 1e6;
  double mb = speed->pages * PAGE_SIZE_BYTES / 1e6;
  printf ("%-28s %7.0f MB/s (%.0f per second of one core)\n", "read and verify", mb / seconds,
          mb / (cpu_seconds() - cpu));
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  Speed speed = { 0 };
  guint64 mib = argc > 2 ? strtoull (argv[2], NULL, 10) : 1024;

  if (argc < 2) {
    fprintf (stderr, "store-speed DIRECTORY [MIB]\n");
    return 2;
  }
  speed.pages = mib * 256;
  speed.memory = g_malloc0 (speed.pages * PAGE_SIZE_BYTES);
  for (guint64 i = 0; i < speed.pages; i++)
    fill_page (speed.memory + i * PAGE_SIZE_BYTES, i + 1);
  Backend *backend = backend_directory_open (argv[1], TRUE, &error);
  fail (error);
  store_init (backend, &error);
  fail (error);
  speed.store = store_open (backend, &error);
  fail (error);

  g_autoptr (Manifest) first = write_all (&speed, "new pages", NULL);
  g_autoptr (Manifest) second = write_all (&speed, "unchanged, with a base", first);
  g_autoptr (Manifest) third = write_all (&speed, "known, without a base", NULL);
  for (guint64 i = 0; i < speed.pages; i += 79)
    fill_page (speed.memory + i * PAGE_SIZE_BYTES, i + 1000000000);
  g_autoptr (Manifest) fourth = write_all (&speed, "1.3% changed, with a base", second);
  read_all (&speed, fourth);
  memset (speed.memory, 0, speed.pages * PAGE_SIZE_BYTES);
  g_autoptr (Manifest) fifth = write_all (&speed, "zeros", NULL);
  store_unref (speed.store);
  g_free (speed.memory);
  return 0;
}
