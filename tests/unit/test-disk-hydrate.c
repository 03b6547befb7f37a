/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing bases in the background: one disk after another, told, tried again, stopped. */
#include "store-fixture.h"

#include <vmckpt/disk/disk-hydrate.h>

#include <glib/gstdio.h>

#define PAGES 500

typedef struct {
  char *dir;
  char *bases[2];
  Store *store;
  guint64 seeds[PAGES];
  Manifest *manifest;
  DiskHydrateDisk disks[2];
  DiskHydrate *hydrate;
  GString *swapped; /* names */
  int refuse;       /* (atomic) swaps fail */
  int failures;     /* (atomic) that were told */
} Fixture;

static gboolean
swap (const char *name, const char *base, GCancellable *cancellable, gpointer user_data,
      GError **error)
{
  Fixture *fixture = user_data;

  /* Whole before it is used. */
  g_assert_true (g_file_test (base, G_FILE_TEST_EXISTS));
  if (g_atomic_int_get (&fixture->refuse)) {
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "refused");
    return FALSE;
  }
  g_string_append_printf (fixture->swapped, "%s ", name);
  return TRUE;
}

static void
ended (const GError *reason, gpointer user_data)
{
  Fixture *fixture = user_data;

  if (reason != NULL)
    g_atomic_int_inc (&fixture->failures);
}

static void
make_hydrate (Fixture *fixture)
{
  const DiskHydrateSetup setup = { fixture->store, fixture->disks, 2, swap, ended, fixture };

  g_clear_pointer (&fixture->hydrate, disk_hydrate_unref);
  fixture->hydrate = disk_hydrate_new (&setup);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = { "disk0", "disk1" };

  fixture->dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  fixture->store = fixture_store_new (backend_memory_new());
  for (guint i = 0; i < PAGES; i++)
    fixture->seeds[i] = i;
  fixture->manifest = fixture_checkpoint (fixture->store, 1, fixture->seeds, PAGES, NULL, NULL);
  for (guint i = 0; i < 2; i++) {
    fixture->bases[i] = g_build_filename (fixture->dir, names[i], NULL);
    fixture->disks[i] =
        (DiskHydrateDisk){ names[i], fixture->bases[i],
                           manifest_find_part (fixture->manifest, "ram", NULL)->map };
  }
  fixture->swapped = g_string_new ("");
  make_hydrate (fixture);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  disk_hydrate_stop (fixture->hydrate);
  disk_hydrate_unref (fixture->hydrate);
  for (guint i = 0; i < 2; i++) {
    g_unlink (fixture->bases[i]);
    g_free (fixture->bases[i]);
  }
  g_assert_cmpint (g_rmdir (fixture->dir), ==, 0);
  g_free (fixture->dir);
  manifest_free (fixture->manifest);
  store_unref (fixture->store);
  g_string_free (fixture->swapped, TRUE);
}

static void
wait_until_complete (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  DiskHydrateStatus status;

  g_assert_true (disk_hydrate_wait (fixture->hydrate, NULL, NULL, &error));
  g_assert_no_error (error);
  disk_hydrate_status (fixture->hydrate, &status);
  g_assert_true (status.complete);
  g_assert_cmpuint (status.done, ==, status.bytes);
  g_assert_cmpuint (status.bytes, ==, 2 * PAGES * PAGE_SIZE_BYTES);
  g_assert_cmpstr (fixture->swapped->str, ==, "disk0 disk1 ");
}

static void
test_all (Fixture *fixture, gconstpointer data)
{
  g_assert_true (disk_hydrate_run (fixture->hydrate));
  g_assert_false (disk_hydrate_run (fixture->hydrate));
  wait_until_complete (fixture);
}

/* A base that is there is not written again: it would have another inode. */
static void
test_there (Fixture *fixture, gconstpointer data)
{
  g_autofree char *text = NULL;

  g_assert_true (g_file_set_contents (fixture->bases[0], "whole", -1, NULL));
  make_hydrate (fixture);
  disk_hydrate_run (fixture->hydrate);
  wait_until_complete (fixture);
  g_assert_true (g_file_get_contents (fixture->bases[0], &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "whole");
}

/* A file that gets there under the name of a base is somebody else's: no disk's content. */
static void
test_foreign (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;

  g_assert_true (g_file_set_contents (fixture->bases[0], "foreign", -1, NULL));
  disk_hydrate_run (fixture->hydrate);
  g_assert_false (disk_hydrate_wait (fixture->hydrate, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS);
  g_assert_cmpstr (fixture->swapped->str, ==, "");
  g_assert_true (g_file_get_contents (fixture->bases[0], &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "foreign");
}

static void
test_retry (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_atomic_int_set (&fixture->refuse, TRUE);
  disk_hydrate_run (fixture->hydrate);
  g_assert_false (disk_hydrate_wait (fixture->hydrate, NULL, NULL, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  g_atomic_int_set (&fixture->refuse, FALSE);
  disk_hydrate_retry (fixture->hydrate, fixture->store);
  wait_until_complete (fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture->failures), ==, 1);
}

/* Who waits is told; nothing half written stays (tear_down()). */
static void
test_stopped (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_atomic_int_set (&fixture->refuse, TRUE);
  disk_hydrate_run (fixture->hydrate);
  disk_hydrate_stop (fixture->hydrate);
  g_assert_false (disk_hydrate_wait (fixture->hydrate, NULL, NULL, &error));
  g_assert_nonnull (error);
  g_assert_false (disk_hydrate_run (fixture->hydrate));
}

#define ADD(name, func) g_test_add ("/disk-hydrate/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("all", test_all);
  ADD ("there", test_there);
  ADD ("foreign", test_foreign);
  ADD ("retry", test_retry);
  ADD ("stopped", test_stopped);
  return g_test_run();
}
