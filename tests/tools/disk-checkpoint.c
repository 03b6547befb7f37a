/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk-checkpoint STORE GUEST NAME=FILE…: a checkpoint of a guest that never ran, with these files
 * as its disks, for tests of what is done with disks alone. Prints its id.
 */
#include <vmckpt/store/writer.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
fail (const GError *error)
{
  if (error == NULL)
    return;
  fprintf (stderr, "disk-checkpoint: %s\n", error->message);
  exit (1);
}

static PageMap
put_file (StoreWriter *writer, const char *path)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  guint8 page[PAGE_SIZE_BYTES];
  g_autoptr (GError) error = NULL;
  PageMapStats counts;
  struct stat st;
  PageMap map;
  gssize n;

  if (fd < 0 || fstat (fd, &st) < 0) {
    fprintf (stderr, "disk-checkpoint: %s: %s\n", path, g_strerror (errno));
    exit (1);
  }
  g_autoptr (PageMapWriter) pages = page_map_writer_new (writer, st.st_size, NULL, &error);
  fail (error);
  for (guint64 i = 0; (n = fd_read_full (fd, page, sizeof page, &error)) > 0; i++) {
    memset (page + n, 0, sizeof page - n);
    page_map_writer_put (pages, i, page, &error);
    fail (error);
  }
  page_map_writer_finish (pages, &map, &counts, &error);
  fail (error);
  return map;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = manifest_new();

  if (argc < 3) {
    fprintf (stderr, "disk-checkpoint STORE GUEST NAME=FILE…\n");
    return 2;
  }
  Backend *backend = backend_directory_open (argv[1], FALSE, &error);
  fail (error);
  g_autoptr (Store) store = store_open (backend, &error);
  fail (error);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  fail (error);
  manifest->guest = g_strdup (argv[2]);
  manifest->guest_uuid = g_uuid_string_random();
  manifest->created_us = g_get_real_time();
  for (int i = 3; i < argc; i++) {
    g_auto (GStrv) disk = g_strsplit (argv[i], "=", 2);
    PageMap map = put_file (writer, disk[1]);
    manifest_add_part (manifest, "disk", disk[0], &map);
  }
  store_writer_commit (writer, manifest, NULL, &error);
  fail (error);
  puts (manifest->id);
  return 0;
}
