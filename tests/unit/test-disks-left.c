/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When the disks that a guest has left may be used, or replaced, unread: only if they look exactly
 * as they were left. Whatever is wrong with the record, they may not. */
#include "disks-left.h"

#include "api-error.h"
#include "store-fixture.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <vmckpt/util/fd.h>

#define PAGES 4
#define NOTED_NS 11
#define QEMU_LOCK_BYTE 101 /* of those that QEMU locks of an image that it has open */

static const guint64 seeds[PAGES] = { 3, 0, 5, 7 };
static const UnitWatcher nobody = { 0 };

typedef struct {
  char *top, *image, *base;
  Runtime *runtime;
  Store *store;
  Manifest *manifest;
  GuestSpec *spec;
  RestoreDisks planned; /* disk0, in place */
} Host;

static void
set_time (const char *path, long ns)
{
  const struct timespec time = { .tv_sec = 1600000000, .tv_nsec = ns };
  const struct timespec times[] = { time, time };

  g_assert_no_errno (utimensat (AT_FDCWD, path, times, 0));
}

/* A file of those pages. */
static void
write_image (const char *path, const guint64 *pages)
{
  guint8 data[PAGES * PAGE_SIZE_BYTES];

  for (guint i = 0; i < PAGES; i++)
    fixture_page (pages[i], data + i * PAGE_SIZE_BYTES);
  g_assert_true (g_file_set_contents (path, (char *)data, sizeof data, NULL));
  set_time (path, NOTED_NS);
}

static Manifest *
make_manifest (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMap map = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  Manifest *manifest = fixture_manifest_new ("g", 1);

  manifest_add_part (manifest, "disk", "disk0", &map);
  store_writer_commit (writer, manifest, NULL, &error);
  g_assert_no_error (error);
  return manifest;
}

static void
plan (Host *host)
{
  RestoredDisk *disk = g_new0 (RestoredDisk, 1);

  *disk = (RestoredDisk){ .name = (char *)"disk0",
                          .map = manifest_find_part (host->manifest, "disk", "disk0")->map,
                          .path = host->image,
                          .format = (char *)"raw" };
  host->planned.way = RESTORE_DISKS_IN_PLACE;
  host->planned.disks = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (host->planned.disks, disk);
}

/* A guest with a raw image, whose content is the checkpoint's, and one behind it. */
static void
set_up (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  GuestDisk *disk;

  host->top = fixture_directory_new();
  host->image = g_build_filename (host->top, "image", NULL);
  host->base = g_build_filename (host->top, "base", NULL);
  write_image (host->image, seeds);
  write_image (host->base, seeds);
  host->runtime = runtime_open (host->top, NULL, &error);
  g_assert_no_error (error);
  host->store = fixture_store_new (backend_memory_new());
  host->manifest = make_manifest (host->store);
  plan (host);
  host->spec = guest_spec_new ("g");
  host->spec->uuid = g_strdup (FIXTURE_UUID);
  disk = guest_disk_new (host->image);
  disk->name = g_strdup ("disk0");
  disk->format = g_strdup ("raw");
  g_ptr_array_add (disk->backing, disk_layer_new (host->base, "raw", DISK_STORAGE_FILE));
  g_ptr_array_add (host->spec->disks, disk);
}

static void
tear_down (Host *host, gconstpointer data)
{
  g_ptr_array_unref (host->planned.disks);
  guest_spec_free (host->spec);
  manifest_free (host->manifest);
  store_unref (host->store);
  runtime_free (host->runtime);
  g_free (host->image);
  g_free (host->base);
  fixture_directory_remove (host->top);
}

static void
note_suspended (Host *host)
{
  disks_left_note (host->runtime, host->spec, store_id (host->store), host->manifest->id);
}

/* @why: a piece of the reason; NULL: they are as they were. */
static void
assert_suspended (Host *host, const char *why)
{
  g_autofree char *reason =
      disks_left_as_suspended (host->runtime, host->spec, host->store, host->manifest, &nobody);

  if (why == NULL)
    g_assert_cmpstr (reason, ==, NULL);
  else if (reason == NULL || strstr (reason, why) == NULL)
    g_error ("the reason should say '%s', but it is: %s", why, reason);
}

static void
assert_replaceable (Host *host, gboolean expected)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (disks_left_check_in_place (host->runtime, FIXTURE_UUID, &host->planned,
                                              host->store, &nobody, &error),
                   ==, expected);
  if (!expected)
    g_assert_error (error, API_ERROR, API_CONFLICT);
}

static void
test_suspended_disks_are_as_left (Host *host, gconstpointer data)
{
  assert_suspended (host, "not known here");
  note_suspended (host);
  assert_suspended (host, NULL);
  disks_left_forget (host->runtime, FIXTURE_UUID);
  assert_suspended (host, "not known here");
}

/* The same disks, but not what this checkpoint has. */
static void
test_other_checkpoints_disks_are_not (Host *host, gconstpointer data)
{
  disks_left_note (host->runtime, host->spec, store_id (host->store), "another");
  assert_suspended (host, "another checkpoint");
  disks_left_note (host->runtime, host->spec, "another", host->manifest->id);
  assert_suspended (host, "another checkpoint");
  disks_left_note (host->runtime, host->spec, NULL, NULL);
  assert_suspended (host, "another checkpoint");
}

static void
change_time (const char *path)
{
  set_time (path, NOTED_NS + 1);
}

static void
change_size (const char *path)
{
  g_assert_no_errno (truncate (path, PAGE_SIZE_BYTES));
  set_time (path, NOTED_NS);
}

/* Another file, of the same content and time. */
static void
change_file (const char *path)
{
  g_autofree char *other = g_strconcat (path, ".other", NULL);

  write_image (other, seeds);
  g_assert_no_errno (g_rename (other, path));
}

static void
remove_file (const char *path)
{
  g_assert_no_errno (g_unlink (path));
}

static void
test_any_change_is_seen (Host *host, gconstpointer data)
{
  static void (*const changes[]) (const char *) = { change_time, change_size, change_file,
                                                    remove_file };
  const char *const files[] = { host->image, host->base };

  for (guint i = 0; i < G_N_ELEMENTS (changes); i++)
    for (guint j = 0; j < G_N_ELEMENTS (files); j++) {
      write_image (host->image, seeds);
      write_image (host->base, seeds);
      note_suspended (host);
      assert_suspended (host, NULL);
      changes[i](files[j]);
      assert_suspended (host, "not as it was left");
    }
}

/* It was never whole: without its server it is nothing. */
static void
test_disk_that_still_came_from_the_store (Host *host, gconstpointer data)
{
  GuestDisk *disk = host->spec->disks->pdata[0];

  note_suspended (host);
  ((DiskLayer *)disk->backing->pdata[0])->storage = DISK_STORAGE_NBD;
  assert_suspended (host, "still read from the store");
}

/* A record that is cut, of wrong types, or too large says nothing. */
static void
test_bad_records (Host *host, gconstpointer data)
{
  static const char *const disks[] = {
    "1",
    "[1, [], {}]",
    "[{\"name\": \"disk0\", \"files\": 1}]",
    "[{\"name\": \"disk0\", \"files\": []}]",
    "[{\"name\": \"disk0\", \"files\": [1]}]",
    "[{\"name\": \"disk0\", \"files\": [{}]}]",
    "[{\"name\": {}, \"files\": [{\"path\": 1}]}]",
  };
  g_autofree char *path =
      g_build_filename (host->runtime->disks, "left", FIXTURE_UUID ".json", NULL);
  g_autofree char *good = NULL;

  note_suspended (host);
  g_assert_true (g_file_get_contents (path, &good, NULL, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (disks); i++) {
    g_autofree char *text =
        g_strdup_printf ("{\"store\": \"%s\", \"checkpoint\": \"%s\", \"disks\": %s}",
                         store_id (host->store), host->manifest->id, disks[i]);
    g_assert_true (g_file_set_contents (path, text, -1, NULL));
    assert_suspended (host, "not as it was left");
  }
  g_assert_true (g_file_set_contents (path, good, (gssize)strlen (good) / 2, NULL));
  assert_suspended (host, "not known here");
  g_autofree char *spaces = g_strnfill (256 * 1024, ' ');
  g_autofree char *large = g_strconcat (good, spaces, NULL);
  g_assert_true (g_file_set_contents (path, large, -1, NULL));
  assert_suspended (host, "not known here");
}

/* What is replaced is nothing that somebody may still want. */
static void
test_in_place (Host *host, gconstpointer data)
{
  static const guint64 other[PAGES] = { 3, 0, 5, 8 };
  g_autofree char *elsewhere = g_build_filename (host->top, "elsewhere", NULL);
  RestoredDisk *disk = host->planned.disks->pdata[0];

  assert_replaceable (host, TRUE); /* the checkpoint has it */
  write_image (host->image, other);
  assert_replaceable (host, FALSE);
  disks_left_note (host->runtime, host->spec, NULL, NULL);
  assert_replaceable (host, TRUE); /* its guest has left it */
  disk->path = elsewhere;
  assert_replaceable (host, TRUE); /* there is nothing */
  write_image (elsewhere, other);
  assert_replaceable (host, FALSE); /* that is not what the guest has left */
}

static void
test_in_place_not_while_in_use (Host *host, gconstpointer data)
{
  struct flock lock = {
    .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = QEMU_LOCK_BYTE, .l_len = 1
  };
  g_auto (AutoFd) fd = open (host->image, O_RDWR | O_CLOEXEC);

  disks_left_note (host->runtime, host->spec, NULL, NULL);
  g_assert_no_errno (fcntl (fd, F_OFD_SETLK, &lock));
  assert_replaceable (host, FALSE);
  fd_close (&fd);
  assert_replaceable (host, TRUE);
}

#define ADD(name, func) g_test_add ("/disks-left/" name, Host, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("suspended", test_suspended_disks_are_as_left);
  ADD ("other-checkpoint", test_other_checkpoints_disks_are_not);
  ADD ("any-change", test_any_change_is_seen);
  ADD ("still-from-store", test_disk_that_still_came_from_the_store);
  ADD ("bad-records", test_bad_records);
  ADD ("in-place", test_in_place);
  ADD ("in-use", test_in_place_not_while_in_use);
  return g_test_run();
}
