/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/fd.h>
#include <vmckpt/util/file-hashes.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LETTER_A "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define LETTER_B "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"

typedef struct {
  char *directory, *path;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  f->path = g_build_filename (f->directory, "file", NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_unlink (f->path);
  g_assert_cmpint (g_rmdir (f->directory), ==, 0);
  g_free (f->directory);
  g_free (f->path);
}

/* Writes @text and makes it seem to have been there for long. */
static void
write_old (Fixture *f, const char *text, time_t modified)
{
  const struct timespec times[2] = { { .tv_sec = modified }, { .tv_sec = modified } };

  g_assert_true (g_file_set_contents (f->path, text, -1, NULL));
  g_assert_cmpint (utimensat (AT_FDCWD, f->path, times, 0), ==, 0);
}

static void
assert_hash (FileHashes *hashes, Fixture *f, const char *expected)
{
  g_autoptr (GError) error = NULL;
  guint64 size = 0;
  g_autofree char *hash = file_hashes_get (hashes, f->path, &size, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (hash, ==, expected);
  g_assert_cmpuint (size, ==, 1);
}

/* Whatever changes, and however soon after the last change: the answer is that of now. */
static void
test_changes (Fixture *f, gconstpointer data)
{
  g_autoptr (FileHashes) hashes = file_hashes_new();

  for (guint i = 0; i < 50; i++) {
    write_old (f, i % 2 == 0 ? "a" : "b", 1000000);
    assert_hash (hashes, f, i % 2 == 0 ? LETTER_A : LETTER_B);
  }
  assert_hash (NULL, f, LETTER_B);
}

/* Counts what this process has read. */
static guint64
bytes_read (void)
{
  g_autofree char *text = NULL;

  g_assert_true (g_file_get_contents ("/proc/self/io", &text, NULL, NULL));
  return g_ascii_strtoull (text + 7, NULL, 10); /* "rchar: N" */
}

/* A file that has been what it is for a while is read once. */
static void
test_read_once (void)
{
  g_autoptr (FileHashes) hashes = file_hashes_new();
  g_autoptr (GError) error = NULL;
  const char *path = "/bin/sh";
  guint64 size;
  g_autofree char *first = file_hashes_get (hashes, path, &size, &error);

  g_assert_no_error (error);
  guint64 before = bytes_read();
  g_autofree char *second = file_hashes_get (hashes, path, NULL, &error);
  guint64 cost = bytes_read() - before;
  g_assert_cmpstr (first, ==, second);
  struct stat st;
  g_assert_cmpint (stat (path, &st), ==, 0);
  if (st.st_ctim.tv_sec + 60 < time (NULL))
    g_assert_cmpuint (cost, <, size);
}

static void
test_errors (Fixture *f, gconstpointer data)
{
  g_autoptr (FileHashes) hashes = file_hashes_new();
  g_autoptr (GError) error = NULL;

  g_assert_null (file_hashes_get (hashes, f->path, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_null (file_hashes_get (hashes, f->directory, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE);
  g_clear_error (&error);
  /* A pipe that nobody writes to is no reason to wait. */
  g_assert_cmpint (mkfifo (f->path, 0600), ==, 0);
  g_assert_null (file_hashes_get (hashes, f->path, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/file-hashes/changes", Fixture, NULL, set_up, test_changes, tear_down);
  g_test_add_func ("/file-hashes/read-once", test_read_once);
  g_test_add ("/file-hashes/errors", Fixture, NULL, set_up, test_errors, tear_down);
  return g_test_run();
}
