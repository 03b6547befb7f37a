/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One measured step of the store, in a process of its own, for tests/bench/store:
 *
 *   store-speed init STORE
 *   store-speed write STORE FILE [--base ID] [--dirty LIST] [--delta auto|never|always]
 *                                                             prints the id and the counts as JSON
 *   store-speed restore STORE ID FILE
 *   store-speed pages STORE ID COUNT                          reads COUNT random pages, one by one
 *
 * With VMCKPT_KEY_FILE the store is encrypted. Without --dirty every page of FILE is read and
 * compared with the base, where there is one; with it only the pages of LIST: little-endian 64-bit
 * numbers, one after the other. Prints, never judges.
 */
#include <vmckpt/store/key.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_PAGES 64

static void
fail (GError *error)
{
  if (error == NULL)
    return;
  fprintf (stderr, "store-speed: %s\n", error->message);
  exit (1);
}

static void
fail_errno (const char *path)
{
  fprintf (stderr, "store-speed: %s: %s\n", path, g_strerror (errno));
  exit (1);
}

/* The key that VMCKPT_KEY_FILE names: then the store is encrypted. */
static KeyMaterial *
read_key (void)
{
  const char *path = g_getenv ("VMCKPT_KEY_FILE");
  GError *error = NULL;
  KeyMaterial *key = path != NULL ? key_material_read_file (path, &error) : NULL;

  fail (error);
  return key;
}

static Store *
open_store (const char *path)
{
  GError *error = NULL;
  Backend *backend = backend_directory_open (path, FALSE, &error);

  fail (error);
  g_autoptr (KeyMaterial) key = read_key();
  Store *store = store_open_with_key (backend, key, NULL, &error);
  fail (error);
  return store;
}

static void
init_store (const char *path)
{
  GError *error = NULL;
  g_autoptr (Backend) backend = backend_directory_open (path, TRUE, &error);

  fail (error);
  g_autoptr (KeyMaterial) key = read_key();
  if (key != NULL)
    store_init_encrypted (backend, key, NULL, &error);
  else
    store_init (backend, &error);
  fail (error);
}

/* Puts @count pages from @first on; the file's last page is padded with zeros. */
static void
put_pages (PageMapWriter *pages, int fd, guint64 first, guint count)
{
  static guint8 data[READ_PAGES * PAGE_SIZE_BYTES];
  GError *error = NULL;
  ssize_t n = pread (fd, data, (gsize)count * PAGE_SIZE_BYTES, first * PAGE_SIZE_BYTES);

  if (n < 0)
    fail_errno ("reading");
  memset (data + n, 0, (gsize)count * PAGE_SIZE_BYTES - n);
  for (guint i = 0; i < count; i++) {
    page_map_writer_put (pages, first + i, data + (gsize)i * PAGE_SIZE_BYTES, &error);
    fail (error);
  }
}

static void
put_listed (PageMapWriter *pages, int fd, const char *list)
{
  g_autofree char *content = NULL;
  GError *error = NULL;
  gsize len;

  g_file_get_contents (list, &content, &len, &error);
  fail (error);
  for (gsize at = 0; at + 8 <= len; at += 8) {
    guint64 page;
    memcpy (&page, content + at, 8);
    put_pages (pages, fd, GUINT64_FROM_LE (page), 1);
  }
}

static PageMap
map_of (Store *store, const char *id)
{
  GError *error = NULL;
  g_autoptr (Manifest) manifest = store_manifest_find (store, id, &error);

  fail (error);
  return manifest_find_part (manifest, "ram", NULL)->map;
}

static StoreDeltaMode
parse_delta (const char *text)
{
  if (text == NULL || g_str_equal (text, "auto"))
    return STORE_DELTA_AUTO;
  return g_str_equal (text, "never") ? STORE_DELTA_NEVER : STORE_DELTA_ALWAYS;
}

static void
write_file (const char *path, const char *file, const char *base_id, const char *dirty,
            StoreDeltaMode delta)
{
  g_autoptr (Store) store = open_store (path);
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = open (file, O_RDONLY | O_CLOEXEC);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    fail_errno (file);
  PageMap base = { 0 };
  if (base_id != NULL)
    base = map_of (store, base_id);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  fail (error);
  store_writer_set_delta (writer, delta);
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, st.st_size, base_id != NULL ? &base : NULL, &error);
  fail (error);
  guint64 n_pages = (st.st_size + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES;
  if (dirty != NULL)
    put_listed (pages, fd, dirty);
  else
    for (guint64 i = 0; i < n_pages; i += READ_PAGES)
      put_pages (pages, fd, i, MIN (READ_PAGES, n_pages - i));
  g_autoptr (Manifest) manifest = manifest_new();
  PageMapStats counts;
  StoreWriterStats totals;
  PageMap map;
  page_map_writer_finish (pages, &map, &counts, &error);
  fail (error);
  manifest->guest = g_strdup ("speed");
  manifest->guest_uuid = g_uuid_string_random();
  manifest_add_part (manifest, "ram", "file", &map);
  store_writer_commit (writer, manifest, NULL, &error);
  fail (error);
  store_writer_stats (writer, &totals);
  printf ("{\"id\": \"%s\", \"put\": %" G_GUINT64_FORMAT ", \"zero\": %" G_GUINT64_FORMAT
          ", \"unchanged\": %" G_GUINT64_FORMAT ", \"fresh\": %" G_GUINT64_FORMAT
          ", \"deltas\": %" G_GUINT64_FORMAT ", \"stored_bytes\": %" G_GUINT64_FORMAT "}\n",
          manifest->id, counts.put, counts.zero, counts.unchanged, counts.fresh, totals.delta_pages,
          totals.stored_bytes);
}

/* Zeros become holes. */
static void
restore_file (const char *path, const char *id, const char *file)
{
  g_autoptr (Store) store = open_store (path);
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = open (file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  PageMap map = map_of (store, id);
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &map, &error);

  fail (error);
  if (fd < 0)
    fail_errno (file);
  page_map_reader_write_file (reader, fd, NULL, NULL, &error);
  fail (error);
  if (ftruncate (fd, map.length) < 0 || fsync (fd) < 0)
    fail_errno (file);
}

static void
read_random (const char *path, const char *id, guint64 count)
{
  g_autoptr (Store) store = open_store (path);
  g_autoptr (GError) error = NULL;
  PageMap map = map_of (store, id);
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &map, &error);
  guint64 n_pages = (map.length + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES;
  guint8 page[PAGE_SIZE_BYTES];
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  fail (error);
  gint64 start = g_get_monotonic_time();
  for (guint64 i = 0; i < count; i++) {
    page_map_reader_read (reader, g_rand_double (random) * n_pages, page, &error);
    fail (error);
  }
  printf ("{\"pages\": %" G_GUINT64_FORMAT ", \"us_per_page\": %.1f}\n", count,
          (double)(g_get_monotonic_time() - start) / MAX (count, 1));
}

int
main (int argc, char **argv)
{
  g_autofree char *base = NULL, *dirty = NULL, *delta = NULL;
  g_autoptr (GError) error = NULL;
  /* As the daemon does: packs on their way shall not stay in the allocator. */
  mallopt (M_MMAP_THRESHOLD, 1024 * 1024);
  const GOptionEntry options[] = {
    { "base", 0, 0, G_OPTION_ARG_STRING, &base, "", "ID" },
    { "dirty", 0, 0, G_OPTION_ARG_FILENAME, &dirty, "", "LIST" },
    { "delta", 0, 0, G_OPTION_ARG_STRING, &delta, "", "MODE" },
    { 0 },
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("STEP STORE …");

  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_parse (context, &argc, &argv, &error);
  fail (error);
  if (argc == 3 && g_str_equal (argv[1], "init"))
    init_store (argv[2]);
  else if (argc == 4 && g_str_equal (argv[1], "write"))
    write_file (argv[2], argv[3], base, dirty, parse_delta (delta));
  else if (argc == 5 && g_str_equal (argv[1], "restore"))
    restore_file (argv[2], argv[3], argv[4]);
  else if (argc == 5 && g_str_equal (argv[1], "pages"))
    read_random (argv[2], argv[3], g_ascii_strtoull (argv[4], NULL, 10));
  else {
    fprintf (stderr, "store-speed init|write|restore|pages STORE …\n");
    return 2;
  }
  return 0;
}
