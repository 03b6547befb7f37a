/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* restore.json: what the next daemon learns of disks that are still to come, and that it believes
 * nothing that is not whole. */
#include "unfinished.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

#define GUEST "{\"guest\": \"g\", \"uuid\": \"U\"}"
#define DISK "{\"name\": \"disk0\", \"path\": \"/p\"}"
#define PLACE "\"store\": \"/s\", \"store_id\": \"I\", \"checkpoint\": \"C\""

typedef struct {
  char *top, *home, *file;
} Place;

static void
set_up (Place *place, gconstpointer data)
{
  place->top = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  place->home = g_build_filename (place->top, "g", NULL);
  place->file = g_build_filename (place->home, "restore.json", NULL);
  g_assert_no_errno (g_mkdir (place->home, 0700));
}

static void
tear_down (Place *place, gconstpointer data)
{
  g_unlink (place->file);
  g_rmdir (place->home);
  g_assert_no_errno (g_rmdir (place->top)); /* nothing else was left */
  g_free (place->top);
  g_free (place->home);
  g_free (place->file);
}

/* Two forks of a checkpoint, one disk with something to come below it and one without. */
static Unfinished *
make (Place *place)
{
  Unfinished *unfinished = unfinished_new (place->home);

  unfinished_add_guest (unfinished, "one", "uuid-1");
  unfinished_add_guest (unfinished, "two", "uuid-2");
  unfinished->store_path = g_strdup ("/store");
  unfinished->store_id = g_strdup ("store-id");
  unfinished->checkpoint = g_strdup ("checkpoint-id");
  g_autofree char *path = g_build_filename (place->home, "disk0.qcow2", NULL);
  g_autofree char *base = g_build_filename (place->home, "disk0.raw", NULL);
  g_autofree char *whole = g_build_filename (place->home, "disk1.raw", NULL);
  unfinished_add_disk (unfinished, "disk0", path, base);
  unfinished_add_disk (unfinished, "disk1", whole, NULL);
  return unfinished;
}

static void
assert_equal (const Unfinished *is, const Unfinished *wanted)
{
  g_assert_nonnull (is);
  g_assert_cmpstr (is->home, ==, wanted->home);
  g_assert_cmpstr (is->store_path, ==, wanted->store_path);
  g_assert_cmpstr (is->store_id, ==, wanted->store_id);
  g_assert_cmpstr (is->checkpoint, ==, wanted->checkpoint);
  g_assert_cmpint (is->ran, ==, wanted->ran);
  g_assert_cmpuint (is->guests->len, ==, wanted->guests->len);
  g_assert_cmpuint (is->disks->len, ==, wanted->disks->len);
  for (guint i = 0; i < is->guests->len; i++) {
    const UnfinishedGuest *a = is->guests->pdata[i], *b = wanted->guests->pdata[i];
    g_assert_cmpstr (a->guest, ==, b->guest);
    g_assert_cmpstr (a->uuid, ==, b->uuid);
  }
  for (guint i = 0; i < is->disks->len; i++) {
    const UnfinishedDisk *a = is->disks->pdata[i], *b = wanted->disks->pdata[i];
    g_assert_cmpstr (a->name, ==, b->name);
    g_assert_cmpstr (a->path, ==, b->path);
    g_assert_cmpstr (a->base, ==, b->base);
  }
}

static void
test_next_daemon_reads_all_that_was_saved (Place *place, gconstpointer data)
{
  g_autoptr (Unfinished) unfinished = make (place);

  for (unfinished->ran = FALSE;; unfinished->ran = TRUE) {
    g_autoptr (GError) error = NULL;
    unfinished_save (unfinished, &error);
    g_assert_no_error (error);
    g_autoptr (Unfinished) loaded = unfinished_load (place->home);
    assert_equal (loaded, unfinished);
    g_assert_cmpstr (unfinished_guest (loaded), ==, "one");
    if (unfinished->ran)
      break;
  }
}

static void
test_saving_where_nothing_can_be_saved_fails (Place *place, gconstpointer data)
{
  g_autoptr (Unfinished) unfinished = make (place);
  g_autoptr (GError) error = NULL;

  g_assert_null (unfinished_load (place->home));
  g_assert_no_errno (g_rmdir (place->home));
  g_assert_true (g_file_set_contents (place->home, "a file", -1, NULL));
  g_assert_false (unfinished_save (unfinished, &error));
  g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_NOTDIR);
  g_assert_no_errno (g_unlink (place->home));
}

static Unfinished *
load_text (Place *place, const char *text, gssize len)
{
  g_assert_true (g_file_set_contents (place->file, text, len, NULL));
  return unfinished_load (place->home);
}

static void
test_what_is_not_whole_is_left_alone (Place *place, gconstpointer data)
{
  static const char *const bad[] = {
    "",
    "[]",
    "{}",
    "{" PLACE ", \"guests\": [], \"disks\": [" DISK "]}",
    "{" PLACE ", \"guests\": {}, \"disks\": [" DISK "]}",
    "{" PLACE ", \"guests\": [{\"guest\": \"g\"}], \"disks\": [" DISK "]}",
    "{" PLACE ", \"guests\": [" GUEST ", 1], \"disks\": [" DISK "]}",
    "{" PLACE ", \"guests\": [" GUEST "], \"disks\": [1]}",
    "{" PLACE ", \"guests\": [" GUEST "], \"disks\": [{\"name\": \"disk0\"}]}",
    "{" PLACE ", \"guests\": [" GUEST "], \"disks\": [{\"name\": 7, \"path\": \"/p\"}]}",
    "{" PLACE ", \"guests\": [" GUEST "]}",
    "{" PLACE ", \"guests\": [" GUEST "], \"disks\": 7}",
    "{\"store\": \"/s\", \"store_id\": \"I\", \"guests\": [" GUEST "], \"disks\": [" DISK "]}",
    "{\"store\": \"/s\", \"checkpoint\": \"C\", \"guests\": [" GUEST "], \"disks\": [" DISK "]}",
    "{\"store_id\": \"I\", \"checkpoint\": \"C\", \"guests\": [" GUEST "], \"disks\": [" DISK "]}",
  };
  static const char good[] = "{" PLACE ", \"guests\": [" GUEST "], \"disks\": [" DISK "]}";

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (Unfinished) loaded = load_text (place, bad[i], -1);
    if (loaded != NULL)
      g_error ("believed: %s", bad[i]);
    g_assert_true (g_file_test (place->file, G_FILE_TEST_EXISTS));
  }
  g_autoptr (Unfinished) whole = load_text (place, good, -1);
  g_assert_nonnull (whole);
  g_assert_true (whole->ran); /* what is not said: the worse */
  for (guint len = 0; len < sizeof good - 1; len += 20)
    g_assert_null (load_text (place, good, len));
}

static void
test_its_size_is_bounded (Place *place, gconstpointer data)
{
  g_autofree char *spaces = g_strnfill (256 * 1024, ' ');
  g_autofree char *text =
      g_strconcat ("{" PLACE ", \"guests\": [" GUEST "], \"disks\": [" DISK "]}", spaces, NULL);

  g_assert_null (load_text (place, text, -1));
}

static void
touch (const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  g_assert_true (g_file_set_contents (path, "x", -1, NULL));
}

/* Whole and partial files of its own go; then the directory, unless somebody has something there.
 */
static void
test_remove_takes_its_own_alone (Place *place, gconstpointer data)
{
  static const char *const own[] = { "disk0.qcow2",          "disk0.raw",
                                     "disk0.raw.partial",    "disk1.raw",
                                     "disk1.raw.partial",    "disk0.qcow2.partial",
                                     "disk1.raw.raw.partial" };
  g_autoptr (Unfinished) unfinished = make (place);
  g_autofree char *others = g_build_filename (place->home, "disk2.raw", NULL);

  g_assert_true (unfinished_save (unfinished, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (own); i++)
    touch (place->home, own[i]);
  touch (place->home, "disk2.raw");
  unfinished_remove_files (unfinished);
  unfinished_remove (unfinished);
  g_assert_null (unfinished_load (place->home));
  g_assert_true (g_file_test (others, G_FILE_TEST_EXISTS));
  g_assert_no_errno (g_unlink (others));
  unfinished_remove (unfinished);
  g_assert_false (g_file_test (place->home, G_FILE_TEST_EXISTS));
}

#define ADD(name, func) g_test_add ("/unfinished/" name, Place, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("saved", test_next_daemon_reads_all_that_was_saved);
  ADD ("not-saved", test_saving_where_nothing_can_be_saved_fails);
  ADD ("not-whole", test_what_is_not_whole_is_left_alone);
  ADD ("bounded", test_its_size_is_bounded);
  ADD ("removed", test_remove_takes_its_own_alone);
  return g_test_run();
}
