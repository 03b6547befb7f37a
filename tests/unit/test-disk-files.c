/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks of a checkpoint as files: what they hold, sparse, whole or not there at all. */
#include "store-fixture.h"

#include <vmckpt/disk/disk-files.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PAGES 3000

typedef struct {
  char *dir, *path;
  Store *store;
  guint64 *seeds;
  Manifest *manifest;
  DiskFile file;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  fixture->path = g_build_filename (fixture->dir, "disk0.raw", NULL);
  fixture->store = fixture_store_new (backend_memory_new());
  fixture->seeds = g_new0 (guint64, PAGES);
  /* Most of it is empty. */
  for (guint i = 0; i < PAGES; i += i % 64 == 9 ? 500 : 1)
    fixture->seeds[i] = i + 1;
  fixture->manifest = fixture_checkpoint (fixture->store, 1, fixture->seeds, PAGES, NULL, NULL);
  fixture->file = (DiskFile){
    fixture->store, "disk0",       manifest_find_part (fixture->manifest, "ram", NULL)->map,
    fixture->path,  DISK_FILE_RAW, FALSE
  };
}

/* Whatever is left must be nothing but @path. */
static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_unlink (fixture->path);
  g_assert_cmpint (g_rmdir (fixture->dir), ==, 0);
  g_free (fixture->dir);
  g_free (fixture->path);
  manifest_free (fixture->manifest);
  store_unref (fixture->store);
  g_free (fixture->seeds);
}

static void
write_whole (const DiskFile *file)
{
  g_autoptr (GError) error = NULL;

  disk_file_write (file, NULL, NULL, &error);
  g_assert_no_error (error);
}

static void
assert_content (Fixture *fixture)
{
  g_autofree char *text = NULL;
  guint8 page[PAGE_SIZE_BYTES];
  gsize len;

  g_assert_true (g_file_get_contents (fixture->path, &text, &len, NULL));
  g_assert_cmpuint (len, ==, (gsize)PAGES * PAGE_SIZE_BYTES);
  for (guint i = 0; i < PAGES; i++) {
    fixture_page (fixture->seeds[i], page);
    g_assert_cmpmem (text + (gsize)i * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES, page, PAGE_SIZE_BYTES);
  }
}

static void
test_raw (Fixture *fixture, gconstpointer data)
{
  struct stat st;

  write_whole (&fixture->file);
  assert_content (fixture);
  g_assert_cmpint (stat (fixture->path, &st), ==, 0);
  g_assert_cmpint (st.st_blocks * 512, <, st.st_size);
}

static void
test_qcow2 (Fixture *fixture, gconstpointer data)
{
  g_autofree char *converted = g_strconcat (fixture->path, ".again", NULL);
  g_autofree char *command =
      g_strdup_printf ("qemu-img convert -f qcow2 -O raw %s %s", fixture->path, converted);

  fixture->file.format = DISK_FILE_QCOW2;
  write_whole (&fixture->file);
  g_assert_true (g_spawn_command_line_sync (command, NULL, NULL, NULL, NULL));
  g_assert_cmpint (g_rename (converted, fixture->path), ==, 0);
  assert_content (fixture);
}

/* What is there stays as it was, unless it is to be replaced; then owner and mode stay. */
static void
test_existing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  struct stat st;

  g_assert_true (g_file_set_contents (fixture->path, "mine", -1, NULL));
  g_assert_cmpint (g_chmod (fixture->path, 0640), ==, 0);
  g_assert_false (disk_file_write (&fixture->file, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS);
  g_assert_true (g_file_get_contents (fixture->path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "mine");
  fixture->file.replace = TRUE;
  write_whole (&fixture->file);
  assert_content (fixture);
  g_assert_cmpint (stat (fixture->path, &st), ==, 0);
  g_assert_cmpuint (st.st_mode & 07777, ==, 0640);
}

/* A cancelled one leaves nothing; tear_down() sees to that. */
static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_false (disk_file_write (&fixture->file, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* A step that fails, the disk full among them, leaves nothing, and says of what it is. A plan for
 * faults is read once per process, so each has one. */
static void
test_failure (Fixture *fixture, gconstpointer plan)
{
  g_autoptr (GError) error = NULL;

  if (!g_test_subprocess()) {
    g_setenv ("VMCKPT_FAULT", plan, TRUE);
    g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_unsetenv ("VMCKPT_FAULT");
    g_test_trap_assert_passed();
    return;
  }
  g_assert_false (disk_file_write (&fixture->file, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_nonnull (strstr (error->message, "disk0"));
  g_assert_false (g_file_test (fixture->path, G_FILE_TEST_EXISTS));
}

/* What a killed writer left is begun anew; a living one's is left alone. */
static void
test_partial (Fixture *fixture, gconstpointer data)
{
  g_autofree char *partial = g_strconcat (fixture->path, ".partial", NULL);
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = open (partial, O_RDWR | O_CREAT, 0600);

  g_assert_cmpint (flock (fd, LOCK_EX), ==, 0);
  g_assert_true (write (fd, "rest", 4) == 4);
  g_assert_false (disk_file_write (&fixture->file, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BUSY);
  fd_close (&fd);
  write_whole (&fixture->file);
  assert_content (fixture);
}

/* One byte makes the difference; overwriting takes it away. */
static void
test_compare (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  gboolean same = FALSE;

  write_whole (&fixture->file);
  g_assert_true (disk_file_compare (&fixture->file, &same, NULL, NULL, &error));
  g_assert_true (same);
  g_auto (AutoFd) fd = open (fixture->path, O_RDWR);
  g_assert_true (pwrite (fd, "x", 1, (off_t)PAGES * PAGE_SIZE_BYTES - 1) == 1);
  g_assert_true (disk_file_compare (&fixture->file, &same, NULL, NULL, &error));
  g_assert_false (same);
  g_assert_true (disk_file_overwrite (&fixture->file, NULL, NULL, &error));
  assert_content (fixture);
  g_assert_cmpint (ftruncate (fd, 4096), ==, 0);
  g_assert_true (disk_file_compare (&fixture->file, &same, NULL, NULL, &error));
  g_assert_false (same);
  g_assert_false (disk_file_overwrite (&fixture->file, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

#define ADD(name, func) g_test_add ("/disk-files/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("raw", test_raw);
  ADD ("qcow2", test_qcow2);
  ADD ("existing", test_existing);
  ADD ("cancelled", test_cancelled);
  g_test_add ("/disk-files/full", Fixture, "file-written:enospc", set_up, test_failure, tear_down);
  g_test_add ("/disk-files/full-at-sync", Fixture, "file-synced:enospc", set_up, test_failure,
              tear_down);
  ADD ("partial", test_partial);
  ADD ("compare", test_compare);
  return g_test_run();
}
