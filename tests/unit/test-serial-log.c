/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "serial-log.h"

#include <vmckpt/keeper/keeper.h>

#include <glib/gstdio.h>
#include <string.h>

#define MAX_BYTES 100

typedef struct {
  char *directory;
  char *path;
  char *old_path;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->path = g_build_filename (fixture->directory, GUEST_FILE_LOG, NULL);
  fixture->old_path = g_build_filename (fixture->directory, GUEST_FILE_LOG_OLD, NULL);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_unlink (fixture->path);
  g_unlink (fixture->old_path);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
  g_free (fixture->path);
  g_free (fixture->old_path);
}

static void
append (SerialLog *log, const char *text)
{
  serial_log_append (log, (const guint8 *)text, strlen (text));
}

static void
assert_contents (const char *path, const char *want)
{
  g_autofree char *text = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, want);
}

/* What is there is appended to, also by the next keeper. */
static void
test_append (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (SerialLog) log = serial_log_open (fixture->directory, MAX_BYTES, &error);
    g_assert_no_error (error);
    append (log, "ab");
    append (log, "c");
    g_assert_cmpuint (serial_log_lost (log), ==, 0);
  }
  assert_contents (fixture->path, "abcabc");
  g_assert_false (g_file_test (fixture->old_path, G_FILE_TEST_EXISTS));
}

/* The two files never hold more than their bound, and the newest output is in them. */
static void
test_bound (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SerialLog) log = serial_log_open (fixture->directory, MAX_BYTES, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < 35; i++) {
    g_autofree char *line = g_strdup_printf ("line %4u\n", i);
    append (log, line);
  }
  g_autofree char *now = NULL;
  g_autofree char *before = NULL;
  gsize len;
  g_assert_true (g_file_get_contents (fixture->path, &now, &len, NULL));
  g_assert_cmpuint (len, ==, 50);
  g_assert_true (g_str_has_suffix (now, "line   34\n"));
  g_assert_true (g_file_get_contents (fixture->old_path, &before, &len, NULL));
  g_assert_cmpuint (len, ==, MAX_BYTES);
  g_assert_true (g_str_has_prefix (before, "line   20\n"));
}

/* A log that cannot be written loses what is printed meanwhile, and goes on after. */
static void
test_unwritable (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SerialLog) log = serial_log_open (fixture->directory, 2, &error);

  g_assert_no_error (error);
  append (log, "ab");
  /* The next piece needs a new file, and its name is taken by a directory. */
  g_assert_cmpint (g_unlink (fixture->path), ==, 0);
  g_assert_cmpint (g_mkdir (fixture->path, 0700), ==, 0);
  g_assert_cmpint (g_mkdir (fixture->old_path, 0700), ==, 0);
  g_autofree char *block = g_build_filename (fixture->old_path, "x", NULL);
  g_assert_true (g_file_set_contents (block, "", 0, NULL));
  append (log, "cd");
  g_assert_cmpuint (serial_log_lost (log), ==, 2);
  g_unlink (block);
  g_rmdir (fixture->old_path);
  g_rmdir (fixture->path);
  append (log, "ef");
  assert_contents (fixture->path, "ef");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/serial-log/append", Fixture, NULL, set_up, test_append, tear_down);
  g_test_add ("/serial-log/bound", Fixture, NULL, set_up, test_bound, tear_down);
  g_test_add ("/serial-log/unwritable", Fixture, NULL, set_up, test_unwritable, tear_down);
  return g_test_run();
}
