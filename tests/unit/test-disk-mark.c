/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/disk-mark.h>

#include "disk-hashes.h"
#include "disk.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Long ago: what FileHashes relies on. */
#define THEN 1600000000

typedef struct {
  char *path;
  GuestSpec *spec;
  GuestDisk *disk; /* of the spec */
  JsonObject *machine;
  FileHashes *hashes;
} Fixture;

static void
write_file (const Fixture *f, const char *content, gint64 time_s, long ns)
{
  const struct timespec times[2] = { { time_s, ns }, { time_s, ns } };

  g_assert_true (g_file_set_contents (f->path, content, -1, NULL));
  g_assert_cmpint (utimensat (AT_FDCWD, f->path, times, 0), ==, 0);
}

static void
set_up (Fixture *f, gconstpointer mode)
{
  int fd = g_file_open_tmp (NULL, &f->path, NULL);

  g_close (fd, NULL);
  write_file (f, "base", THEN, 1000);
  f->spec = guest_spec_new ("g");
  f->disk = guest_disk_new (f->path);
  f->disk->mode = GPOINTER_TO_INT (mode);
  g_ptr_array_add (f->spec->disks, f->disk);
  g_assert_true (guest_disks_name (f->spec->disks, NULL));
  g_assert_true (disk_measure (f->disk, NULL));
  f->machine = json_object_new();
  f->hashes = file_hashes_new();
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_unlink (f->path);
  guest_spec_free (f->spec);
  json_object_unref (f->machine);
  file_hashes_free (f->hashes);
  g_free (f->path);
}

/* NULL if it is the same, else the sentence, which must have @says. */
static void
assert_differs (Fixture *f, const char *says)
{
  g_autofree char *text = disk_mark_compare (f->machine, f->disk, f->hashes);

  if (says == NULL)
    g_assert_cmpstr (text, ==, NULL);
  else if (text == NULL || strstr (text, says) == NULL)
    g_error ("should say '%s': %s", says, text != NULL ? text : "nothing");
}

static void
test_shared (Fixture *f, gconstpointer data)
{
  g_assert_true (disk_marks_record (f->spec, f->machine, NULL));
  assert_differs (f, NULL);
  /* A copy on another host has another inode. */
  write_file (f, "base", THEN, 1000);
  assert_differs (f, NULL);
  write_file (f, "base", THEN, 1001);
  assert_differs (f,
                  "at the checkpoint it was 4 bytes, last written 2020-09-13 12:26:40.000001000");
  write_file (f, "bases", THEN, 1000);
  assert_differs (f, "now it is 5 bytes");
  g_unlink (f->path);
  assert_differs (f, "No such file");
}

/* What was not marked is not judged: checkpoints from before, NBD, other modes. */
static void
test_unmarked (Fixture *f, gconstpointer data)
{
  assert_differs (f, NULL);
  f->disk->mode = DISK_EXCLUDE;
  g_assert_true (disk_marks_record (f->spec, f->machine, NULL));
  g_assert_cmpuint (json_object_get_size (f->machine), ==, 0);
  f->disk->mode = DISK_SHARED;
  f->disk->storage = DISK_STORAGE_NBD;
  g_assert_true (disk_marks_record (f->spec, f->machine, NULL));
  g_assert_cmpuint (json_object_get_size (f->machine), ==, 0);
}

/* Only another time of change has the content looked at. */
static void
test_readonly (Fixture *f, gconstpointer data)
{
  disk_hashes_record (f->spec, f->hashes, f->machine);
  g_assert_cmpuint (json_object_get_size (f->machine), ==, 0);
  write_file (f, "base", THEN + 1, 0);
  assert_differs (f, "its hash was not known yet");

  g_assert_true (file_hashes_learn (f->hashes, f->path, NULL, NULL));
  /* Its inode was changed a moment ago, so it is not relied on. */
  disk_hashes_record (f->spec, f->hashes, f->machine);
  g_assert_cmpuint (json_object_get_size (f->machine), ==, 0);

  JsonObject *disks = json_object_new();
  JsonObject *record = json_object_new();
  g_autofree char *hash = file_hashes_get (NULL, f->path, NULL, NULL);
  json_object_set_string_member (record, "sha256", hash);
  json_object_set_object_member (disks, "disk0", record);
  json_object_set_object_member (f->machine, "disks", disks);
  assert_differs (f, NULL);
  write_file (f, "bass", THEN + 1, 0);
  assert_differs (f, "its SHA-256 was");
  write_file (f, "bass", THEN, 1000);
  assert_differs (f, NULL);
}

static gboolean
is_known (gpointer user_data)
{
  Fixture *f = user_data;
  g_autofree char *hash = file_hashes_peek (f->hashes, f->path);

  return hash != NULL;
}

/* A thread makes them known, also of a file that was written a moment ago; it ends when it is told
 * to. */
static void
test_background (Fixture *f, gconstpointer data)
{
  gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

  DiskHashes *learning = disk_hashes_begin (f->spec, f->hashes);
  g_assert_nonnull (learning);
  while (!is_known (f) && g_get_monotonic_time() < deadline)
    g_usleep (1000);
  disk_hashes_record (f->spec, f->hashes, f->machine);
  g_assert_cmpuint (json_object_get_size (f->machine), ==, 1);
  disk_hashes_free (learning);
  f->disk->mode = DISK_SHARED;
  g_assert_null (disk_hashes_begin (f->spec, f->hashes));
}

/* What losetup says; NULL: it failed. */
static char *
say (const char *option, const char *argument)
{
  g_autofree char *line = g_strdup_printf ("losetup %s '%s'", option, argument);
  g_autofree char *output = NULL;
  int status;

  if (!g_spawn_command_line_sync (line, &output, NULL, &status, NULL) ||
      !g_spawn_check_wait_status (status, NULL))
    return NULL;
  return g_strdup (g_strstrip (output));
}

/* A sample of a block device: where file systems say that they were mounted, and a little of the
 * rest. */
static void
test_device (Fixture *f, gconstpointer data)
{
  g_assert_cmpint (truncate (f->path, 64 << 20), ==, 0);
  g_autofree char *device = say ("-f --show", f->path);
  if (device == NULL) {
    g_test_skip ("no loop device");
    return;
  }
  g_free (f->disk->path);
  f->disk->path = g_strdup (device);
  g_assert_true (disk_measure (f->disk, NULL));
  g_assert_cmpint (f->disk->storage, ==, DISK_STORAGE_BLOCK);
  g_assert_cmpuint (f->disk->virtual_size, ==, 64 << 20);
  g_assert_true (disk_marks_record (f->spec, f->machine, NULL));
  assert_differs (f, NULL);
  int fd = open (device, O_WRONLY | O_CLOEXEC);
  g_assert_cmpint (pwrite (fd, "x", 1, (1 << 20) + 8192), ==, 1);
  g_assert_cmpint (fsync (fd), ==, 0);
  g_close (fd, NULL);
  assert_differs (f, "67108864 bytes, sample");
  g_autofree char *gone = say ("-d", device);
  g_assert_nonnull (gone);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/disk-mark/shared", Fixture, GINT_TO_POINTER (DISK_SHARED), set_up, test_shared,
              tear_down);
  g_test_add ("/disk-mark/unmarked", Fixture, GINT_TO_POINTER (DISK_SHARED), set_up, test_unmarked,
              tear_down);
  g_test_add ("/disk-mark/readonly", Fixture, GINT_TO_POINTER (DISK_READONLY), set_up,
              test_readonly, tear_down);
  g_test_add ("/disk-mark/background", Fixture, GINT_TO_POINTER (DISK_READONLY), set_up,
              test_background, tear_down);
  g_test_add ("/disk-mark/device", Fixture, GINT_TO_POINTER (DISK_SHARED), set_up, test_device,
              tear_down);
  return g_test_run();
}
