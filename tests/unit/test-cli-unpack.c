/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories out of tar streams that mean harm: nothing is written outside, nothing is left. */
#include "cli-error.h"
#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ROOM (1024 * 1024)

typedef struct {
  const char *name;
  mode_t mode;        /* with the type */
  const char *target; /* of a link; with S_IFREG: of a hard link */
} Entry;

/* @entries, ended by one without a name, as tar; each file holds its own name. */
static GBytes *
make_tar (const Entry *entries)
{
  g_autofree guint8 *data = g_malloc (ROOM);
  struct archive *archive = archive_write_new();
  size_t used;

  archive_write_set_format_pax_restricted (archive);
  g_assert_cmpint (archive_write_open_memory (archive, data, ROOM, &used), ==, ARCHIVE_OK);
  for (; entries->name != NULL; entries++) {
    struct archive_entry *entry = archive_entry_new();
    gsize len = S_ISREG (entries->mode) && entries->target == NULL ? strlen (entries->name) : 0;
    archive_entry_set_pathname (entry, entries->name);
    archive_entry_set_mode (entry, entries->mode);
    archive_entry_set_mtime (entry, 1000000000, 0);
    archive_entry_set_size (entry, len);
    if (S_ISLNK (entries->mode))
      archive_entry_set_symlink (entry, entries->target);
    else if (entries->target != NULL)
      archive_entry_set_hardlink (entry, entries->target);
    g_assert_cmpint (archive_write_header (archive, entry), ==, ARCHIVE_OK);
    archive_write_data (archive, entries->name, len);
    archive_entry_free (entry);
  }
  g_assert_cmpint (archive_write_close (archive), ==, ARCHIVE_OK);
  archive_write_free (archive);
  return g_bytes_new (data, used);
}

typedef struct {
  char *directory, *outside, *path;
} Place;

static void
set_up (Place *place, gconstpointer data)
{
  place->directory = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  place->outside = g_build_filename (place->directory, "outside", NULL);
  place->path = g_build_filename (place->directory, "copy", NULL);
  g_assert_true (g_file_set_contents (place->outside, "untouched", -1, NULL));
}

static int
remove_one (const char *path, const struct stat *st, int flag, struct FTW *at)
{
  return remove (path);
}

static guint
count_entries (const Place *place)
{
  g_autoptr (GDir) dir = g_dir_open (place->directory, 0, NULL);
  guint count = 0;

  while (g_dir_read_name (dir) != NULL)
    count++;
  return count;
}

static void
tear_down (Place *place, gconstpointer data)
{
  g_autofree char *content = NULL;

  g_assert_true (g_file_get_contents (place->outside, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "untouched");
  nftw (place->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  g_free (place->directory);
  g_free (place->outside);
  g_free (place->path);
}

/* Unpacks the first @len bytes of @tar in small pieces. */
static gboolean
unpack_bytes (const Place *place, GBytes *tar, gsize len, guint *left_out, GError **error)
{
  g_autoptr (Unpack) unpack = unpack_begin (place->path, error);
  const guint8 *data = g_bytes_get_data (tar, NULL);

  if (unpack == NULL)
    return FALSE;
  for (gsize at = 0; at < len; at += 1000)
    if (!unpack_write (unpack, data + at, MIN (1000, len - at), error))
      return FALSE;
  return unpack_finish (unpack, left_out, error);
}

static gboolean
unpack_all (const Place *place, const Entry *entries, guint *left_out, GError **error)
{
  g_autoptr (GBytes) tar = make_tar (entries);
  return unpack_bytes (place, tar, g_bytes_get_size (tar), left_out, error);
}

static void
test_good (Place *place, gconstpointer data)
{
  static const Entry entries[] = { { "./", S_IFDIR | 0755, NULL },
                                   { "./closed", S_IFDIR | 0500, NULL },
                                   { "./closed/file", S_IFREG | 06755, NULL },
                                   { "./again", S_IFREG | 0644, "./closed/file" },
                                   { "./link", S_IFLNK | 0777, "/etc/passwd" },
                                   { "./fifo", S_IFIFO | 0644, NULL },
                                   { "./null", S_IFCHR | 0666, NULL },
                                   { NULL } };
  g_autoptr (GError) error = NULL;
  g_autofree char *file = g_build_filename (place->path, "closed/file", NULL);
  g_autofree char *link = g_build_filename (place->path, "link", NULL);
  g_autofree char *fifo = g_build_filename (place->path, "fifo", NULL);
  g_autofree char *content = NULL;
  guint left_out = 0;
  struct stat st;

  g_assert_true (unpack_all (place, entries, &left_out, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (left_out, ==, 2);
  g_assert_true (g_file_get_contents (file, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "./closed/file");
  g_assert_cmpint (stat (file, &st), ==, 0);
  g_assert_cmpuint (st.st_mode & 07777, ==, 0755); /* no set-id bits */
  g_assert_cmpint (st.st_mtime, ==, 1000000000);
  g_assert_cmpuint (st.st_nlink, ==, 2);
  g_assert_cmpint (lstat (link, &st), ==, 0);
  g_assert_true (S_ISLNK (st.st_mode));
  g_assert_cmpint (lstat (fifo, &st), ==, -1);
  g_assert_cmpuint (count_entries (place), ==, 2);
}

/* Each would write outside; it ends the copy and nothing of it stays. */
static void
test_hostile (Place *place, gconstpointer data)
{
  static const Entry cases[][4] = {
    { { "../outside", S_IFREG | 0644, NULL }, { NULL } },
    { { "a/../../outside", S_IFREG | 0644, NULL }, { NULL } },
    { { "/tmp/vmckpt-outside", S_IFREG | 0644, NULL }, { NULL } },
    { { "up", S_IFLNK | 0777, ".." }, { "up/outside", S_IFREG | 0644, NULL }, { NULL } },
    { { "a", S_IFREG | 0644, "../outside" }, { NULL } },
    { { "a", S_IFREG | 0644, "/etc/passwd" }, { NULL } },
    { { "d", S_IFDIR | 0755, NULL },
      { "d/up", S_IFLNK | 0777, "../.." },
      { "d/up/outside", S_IFREG | 0644, NULL },
      { NULL } },
    { { "up", S_IFLNK | 0777, ".." }, { "a", S_IFREG | 0644, "up/outside" }, { NULL } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    guint left_out;
    gboolean done = unpack_all (place, cases[i], &left_out, &error);
    if (done) {
      g_test_message ("case %u was unpacked", i);
      g_test_fail();
      nftw (place->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    g_assert_cmpuint (count_entries (place), ==, 1);
    g_assert_false (g_file_test ("/tmp/vmckpt-outside", G_FILE_TEST_EXISTS));
  }
}

/* A stream that ends too early, wherever, makes no directory. */
static void
test_cut (Place *place, gconstpointer data)
{
  static const Entry entries[] = { { "./", S_IFDIR | 0755, NULL },
                                   { "./file", S_IFREG | 0644, NULL },
                                   { NULL } };
  g_autoptr (GBytes) tar = make_tar (entries);

  for (gsize len = 100; len < 1500; len += 100) {
    g_autoptr (GError) error = NULL;
    guint left_out;
    if (len % 512 == 0)
      continue; /* tar cannot tell that from its end */
    g_assert_false (unpack_bytes (place, tar, len, &left_out, &error));
    g_assert_nonnull (error);
    g_assert_cmpuint (count_entries (place), ==, 1);
  }
}

static void
test_exists (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (g_mkdir (place->path, 0700), ==, 0);
  g_assert_null (unpack_begin (place->path, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_CONFLICT);
  g_assert_cmpuint (count_entries (place), ==, 2);
}

int
main (int argc, char **argv)
{
  signal (SIGPIPE, SIG_IGN);
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/cli-unpack/good", Place, NULL, set_up, test_good, tear_down);
  g_test_add ("/cli-unpack/hostile", Place, NULL, set_up, test_hostile, tear_down);
  g_test_add ("/cli-unpack/cut", Place, NULL, set_up, test_cut, tear_down);
  g_test_add ("/cli-unpack/exists", Place, NULL, set_up, test_exists, tear_down);
  return g_test_run();
}
