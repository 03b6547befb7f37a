/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-image.h"
#include "disk.h"

#include <vmckpt/drivers/guest-spec.h>

#include <glib/gstdio.h>
#include <string.h>

#define SIZE (1 << 20)

typedef struct {
  char *directory;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->directory = g_dir_make_tmp (NULL, NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_autofree char *command = g_strdup_printf ("rm -r '%s'", f->directory);

  g_assert_true (g_spawn_command_line_sync (command, NULL, NULL, NULL, NULL));
  g_free (f->directory);
}

/* Runs qemu-img in the directory. */
static void G_GNUC_PRINTF (2, 3) image (Fixture *f, const char *format, ...)
{
  g_autoptr (GError) error = NULL;
  va_list args;
  int status;

  va_start (args, format);
  g_autofree char *line = g_strdup_vprintf (format, args);
  va_end (args);
  g_auto (GStrv) argv = g_strsplit (line, " ", 0);
  g_spawn_sync (f->directory, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                NULL, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_true (g_spawn_check_wait_status (status, NULL));
}

static GuestDisk *
disk_at (Fixture *f, const char *name, const char *format)
{
  g_autofree char *path = g_build_filename (f->directory, name, NULL);
  GuestDisk *disk = guest_disk_new (path);

  disk->format = g_strdup (format);
  return disk;
}

static void
assert_refused (Fixture *f, const char *name, const char *format, const char *says)
{
  g_autoptr (GuestDisk) disk = disk_at (f, name, format);
  g_autoptr (GError) error = NULL;

  g_assert_false (disk_measure (disk, &error));
  g_assert_nonnull (error);
  if (strstr (error->message, says) == NULL)
    g_error ("%s: should say '%s': %s", name, says, error->message);
}

/* Each image of a chain is known by path and format, as its overlay says them. */
static void
test_chain (Fixture *f, gconstpointer data)
{
  g_autoptr (GuestDisk) disk = disk_at (f, "top", "qcow2");
  g_autoptr (GError) error = NULL;

  image (f, "qemu-img create -q base %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -F raw -b base mid");
  image (f, "qemu-img create -q -f qcow2 -F qcow2 -b mid top %d", 2 * SIZE);
  g_assert_true (disk_measure (disk, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (disk->virtual_size, ==, 2 * SIZE);
  g_assert_cmpuint (disk->backing->len, ==, 2);
  const DiskLayer *mid = disk->backing->pdata[0];
  const DiskLayer *base = disk->backing->pdata[1];
  g_assert_true (g_str_has_suffix (mid->path, "/mid"));
  g_assert_cmpstr (mid->format, ==, "qcow2");
  g_assert_true (g_str_has_suffix (base->path, "/base"));
  g_assert_cmpstr (base->format, ==, "raw");

  g_autofree char *same = disk_compare (disk);
  g_assert_null (same);
  g_assert_cmpint (g_unlink (base->path), ==, 0);
  g_autofree char *difference = disk_compare (disk);
  g_assert_nonnull (strstr (difference, base->path));
  assert_refused (f, "top", "qcow2", "backing file '");
}

/* A disk that is elsewhere has other images behind it. */
static void
test_move (Fixture *f, gconstpointer data)
{
  g_autoptr (GuestDisk) disk = disk_at (f, "old", "qcow2");
  g_autofree char *path = g_build_filename (f->directory, "top", NULL);
  g_autoptr (GError) error = NULL;

  image (f, "qemu-img create -q base %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -F raw -b base top");
  g_ptr_array_add (disk->backing, disk_layer_new ("/old", "raw", DISK_STORAGE_FILE));
  disk->virtual_size = 7;
  guest_disk_move (disk, path);
  g_assert_cmpstr (disk->path, ==, path);
  g_assert_cmpuint (disk->virtual_size, ==, 0);
  g_assert_cmpuint (disk->backing->len, ==, 0);
  g_assert_true (disk_image_read (disk, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (disk->backing->len, ==, 1);
  guest_disk_move (disk, "nbd://h/x");
  g_assert_cmpint (disk->storage, ==, DISK_STORAGE_NBD);
  guest_disk_move (disk, "/dev/null");
  g_assert_cmpint (disk->storage, ==, DISK_STORAGE_FILE);
}

/* The format is guessed where nothing but the image itself depends on it. */
static void
test_guess (Fixture *f, gconstpointer data)
{
  g_autoptr (GuestDisk) alone = disk_at (f, "alone", NULL);
  g_autoptr (GuestDisk) raw = disk_at (f, "top", "raw");
  g_autoptr (GError) error = NULL;

  image (f, "qemu-img create -q -f qcow2 alone %d", SIZE);
  image (f, "qemu-img create -q base %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -F raw -b base top");
  g_assert_true (disk_measure (alone, &error));
  g_assert_cmpstr (alone->format, ==, "qcow2");
  g_assert_cmpuint (alone->virtual_size, ==, SIZE);
  g_assert_cmpuint (alone->size, !=, SIZE);
  assert_refused (f, "top", NULL, "format=qcow2");
  /* What was said is not looked at. */
  g_assert_true (disk_measure (raw, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (raw->virtual_size, ==, raw->size);
  g_assert_cmpuint (raw->backing->len, ==, 0);
}

static void
test_refused (Fixture *f, gconstpointer data)
{
  image (f, "qemu-img create -q base %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -u -F vmdk -b base other %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -o data_file=data apart %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -u -F qcow2 -b pool loop %d", SIZE);
  image (f, "qemu-img create -q -f qcow2 -u -F qcow2 -b loop pool %d", SIZE);
  image (f,
         "qemu-img create -q -f qcow2 --object secret,id=s,data=x -o "
         "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 locked %d",
         SIZE);
  assert_refused (f, "base", "qcow2", "not in qcow2 format");
  assert_refused (f, "absent", NULL, "No such file");
  assert_refused (f, "absent,rw", NULL, "'rw' is none of");
  assert_refused (f, "other", "qcow2", "says vmdk");
  assert_refused (f, "apart", "qcow2", "keeps its data in another file");
  assert_refused (f, "locked", "qcow2", "is encrypted");
  assert_refused (f, "loop", "qcow2", "more than 16 images");
}

int
main (int argc, char **argv)
{
  g_autofree char *program = g_find_program_in_path ("qemu-img");

  g_test_init (&argc, &argv, NULL);
  if (program == NULL)
    return 77;
  g_test_add ("/disk-image/chain", Fixture, NULL, set_up, test_chain, tear_down);
  g_test_add ("/disk-image/move", Fixture, NULL, set_up, test_move, tear_down);
  g_test_add ("/disk-image/guess", Fixture, NULL, set_up, test_guess, tear_down);
  g_test_add ("/disk-image/refused", Fixture, NULL, set_up, test_refused, tear_down);
  return g_test_run();
}
