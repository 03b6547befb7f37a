/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories of restored disks: one for each restore, and files that forks share stay for them. */
#include "disk-homes.h"

#include <glib/gstdio.h>

typedef struct {
  char *disks;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->disks = g_dir_make_tmp ("vmckpt-homes-XXXXXX", NULL);
}

/* What a test leaves is a failure: the directory must be empty. */
static void
tear_down (Fixture *f, gconstpointer data)
{
  g_assert_cmpint (g_rmdir (f->disks), ==, 0);
  g_free (f->disks);
}

static char *
make (const Fixture *f, const char *name)
{
  g_autoptr (GError) error = NULL;
  char *home = disk_home_make (f->disks, name, &error);

  g_assert_no_error (error);
  return home;
}

/* A name that is taken gets a number, and so do those that mean something else there. */
static void
test_make (Fixture *f, gconstpointer data)
{
  static const char *const wanted[][2] = { { "g1", "g1" },
                                           { "g1", "g1.2" },
                                           { "g1", "g1.3" },
                                           { "left", "left.2" },
                                           { "temporary", "temporary.2" } };

  for (guint i = 0; i < G_N_ELEMENTS (wanted); i++) {
    g_autofree char *home = make (f, wanted[i][0]);
    g_autofree char *name = g_path_get_basename (home);
    g_assert_cmpstr (name, ==, wanted[i][1]);
    g_assert_true (disk_home_has (f->disks, home));
  }
  for (guint i = 0; i < G_N_ELEMENTS (wanted); i++) {
    g_autofree char *home = g_build_filename (f->disks, wanted[i][1], NULL);
    g_rmdir (home);
  }
}

static void
test_has (Fixture *f, gconstpointer data)
{
  g_autofree char *beside = g_strconcat (f->disks, "-too", NULL);

  g_assert_false (disk_home_has (f->disks, NULL));
  g_assert_false (disk_home_has (f->disks, f->disks));
  g_assert_false (disk_home_has (f->disks, beside));
  g_assert_false (disk_home_has (f->disks, "/elsewhere/disk0"));
}

/* A guest with an overlay in @home above the file that all forks have below theirs. */
static GuestSpec *
make_fork (const char *home, const char *name, const char *shared)
{
  GuestSpec *spec = guest_spec_new (name);
  g_autofree char *last = g_strdup_printf ("%s-disk0.qcow2", name);
  g_autofree char *overlay = g_build_filename (home, last, NULL);
  GuestDisk *disk = guest_disk_new (overlay);

  g_ptr_array_add (disk->backing, disk_layer_new (shared, "raw", DISK_STORAGE_FILE));
  g_ptr_array_add (spec->disks, disk);
  /* Others are not looked at: neither theirs, nor what no checkpoint has. */
  g_ptr_array_add (spec->disks, guest_disk_new ("/elsewhere/disk1"));
  g_assert_true (g_file_set_contents (overlay, "x", 1, NULL));
  return spec;
}

static void
remove_files (const Fixture *f, const GuestSpec *spec)
{
  g_autoptr (GPtrArray) files = disk_home_files (f->disks, spec);

  g_assert_cmpuint (files->len, ==, 2);
  disk_home_remove_own (f->disks, spec);
  disk_home_remove_shared (f->disks, files);
}

/* The last one takes the rest along. */
static void
test_forks (Fixture *f, gconstpointer data)
{
  g_autofree char *home = make (f, "g1-forks");
  g_autofree char *shared = g_build_filename (home, "disk0.raw", NULL);
  g_autoptr (GuestSpec) one = make_fork (home, "g1-1", shared);
  g_autoptr (GuestSpec) other = make_fork (home, "g1-2", shared);

  g_assert_true (g_file_set_contents (shared, "x", 1, NULL));
  g_assert_true (disk_home_has_overlays (home));
  remove_files (f, one);
  g_assert_true (disk_home_has_overlays (home));
  g_assert_true (g_file_test (shared, G_FILE_TEST_EXISTS));
  remove_files (f, other);
  g_assert_false (g_file_test (home, G_FILE_TEST_EXISTS));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func)                                                                            \
  g_test_add ("/daemon/disk-homes/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("make", test_make);
  ADD ("has", test_has);
  ADD ("forks", test_forks);
  return g_test_run();
}
