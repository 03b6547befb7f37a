/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/disk-mark.h>

#include "disk.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMBER "disks" /* of a machine's record: { NAME: { "mark" or "sha256" } } */

#define BLOCK 4096
#define HEAD (64 * 1024)
#define PARTITIONS_AT (1024 * 1024)
#define PARTITIONS (16 * 1024)
#define SPREAD 16

/* ---- Taking ---- */

/* Adds @bytes at @offset, or what there is of them. */
static gboolean
sample (int fd, GChecksum *sum, guint8 *buffer, gsize bytes, guint64 offset)
{
  gssize n = pread (fd, buffer, bytes, offset);

  if (n > 0)
    g_checksum_update (sum, buffer, n);
  return n >= 0;
}

/* Past the page cache, which on another host may hold what was there before. */
static char *
sample_device (int fd, guint64 size)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  guint8 *buffer = aligned_alloc (BLOCK, HEAD);
  guint64 step = size / (SPREAD + 1) / BLOCK * BLOCK;
  gboolean good =
      sample (fd, sum, buffer, HEAD, 0) && sample (fd, sum, buffer, PARTITIONS, PARTITIONS_AT);

  for (guint i = 1; i <= SPREAD && good; i++)
    good = sample (fd, sum, buffer, BLOCK, i * step);
  free (buffer);
  return good ? g_strdup (g_checksum_get_string (sum)) : NULL;
}

static char *
mark_device (int fd)
{
  g_autofree char *hash = NULL;
  guint64 size;

  if (ioctl (fd, BLKGETSIZE64, &size) < 0 || (hash = sample_device (fd, size)) == NULL)
    return NULL;
  return g_strdup_printf ("%" G_GUINT64_FORMAT " bytes, sample %s", size, hash);
}

static char *
mark_file (const struct stat *st)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (st->st_mtim.tv_sec);
  g_autofree char *text = time != NULL ? g_date_time_format (time, "%Y-%m-%d %H:%M:%S")
                                       : g_strdup_printf ("%lld", (long long)st->st_mtim.tv_sec);

  return g_strdup_printf ("%lld bytes, last written %s.%09ld UTC", (long long)st->st_size, text,
                          st->st_mtim.tv_nsec);
}

char *
disk_mark_take (const GuestDisk *disk, GError **error)
{
  gboolean device = disk->storage == DISK_STORAGE_BLOCK;
  char *mark = NULL;
  struct stat st;

  if (disk->path == NULL || disk->storage == DISK_STORAGE_NBD)
    return NULL;
  g_auto (AutoFd) fd =
      open (disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (device ? O_DIRECT : 0));
  if (fd >= 0 && fstat (fd, &st) == 0)
    mark = device ? mark_device (fd) : mark_file (&st);
  if (mark == NULL)
    fd_set_errno_error (error, "looking at disk %s ('%s')", disk->name, disk->path);
  return mark;
}

/* ---- The record ---- */

/* What is said of disk @name in @machine; made if it is not there. */
static JsonObject *
record_of (JsonObject *machine, const char *name)
{
  JsonObject *disks, *object;

  if (!json_object_has_member (machine, MEMBER))
    json_object_set_object_member (machine, MEMBER, json_object_new());
  disks = json_object_get_object_member (machine, MEMBER);
  if (!json_object_has_member (disks, name))
    json_object_set_object_member (disks, name, json_object_new());
  object = json_object_get_object_member (disks, name);
  return object;
}

gboolean
disk_marks_record (const GuestSpec *spec, JsonObject *machine, GError **error)
{
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    g_autoptr (GError) cause = NULL;
    if (disk->mode != DISK_SHARED)
      continue;
    g_autofree char *mark = disk_mark_take (disk, &cause);
    if (cause != NULL) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    if (mark != NULL)
      json_object_set_string_member (record_of (machine, disk->name), "mark", mark);
  }
  return TRUE;
}

void
disk_hashes_record (const GuestSpec *spec, FileHashes *hashes, JsonObject *machine)
{
  for (guint i = 0; i < spec->disks->len && hashes != NULL; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->mode != DISK_READONLY || disk->path == NULL || disk->storage != DISK_STORAGE_FILE)
      continue;
    g_autofree char *hash = file_hashes_peek (hashes, disk->path);
    if (hash != NULL)
      json_object_set_string_member (record_of (machine, disk->name), "sha256", hash);
  }
}

/* ---- Comparing ---- */

/* (nullable): borrowed. */
static const char *
recorded (JsonObject *machine, const char *name, const char *member)
{
  JsonObject *disks =
      json_object_has_member (machine, MEMBER) ? json_get_object (machine, MEMBER, NULL) : NULL;
  JsonObject *object = disks != NULL && json_object_has_member (disks, name)
                           ? json_get_object (disks, name, NULL)
                           : NULL;

  return object != NULL ? json_get_string_or (object, member, NULL) : NULL;
}

static char *
compare_shared (JsonObject *machine, const GuestDisk *disk)
{
  const char *was = recorded (machine, disk->name, "mark");
  g_autoptr (GError) cause = NULL;

  if (was == NULL)
    return NULL;
  g_autofree char *is = disk_mark_take (disk, &cause);
  if (g_strcmp0 (was, is) == 0)
    return NULL;
  return g_strdup_printf ("disk %s ('%s', shared) has moved on: at the checkpoint it was %s, and "
                          "now it is %s",
                          disk->name, disk->path, was, is != NULL ? is : cause->message);
}

/* The same bytes may have another time, as copies have. */
static char *
compare_hash (JsonObject *machine, const GuestDisk *disk, FileHashes *hashes)
{
  const char *was = recorded (machine, disk->name, "sha256");
  g_autoptr (GError) cause = NULL;

  if (was == NULL)
    return g_strdup_printf ("disk %s ('%s', readonly) was changed since the guest was started, as "
                            "far as its time of last change says; its hash was not known yet",
                            disk->name, disk->path);
  g_autofree char *is = file_hashes_get (hashes, disk->path, NULL, &cause);
  if (g_strcmp0 (was, is) == 0)
    return NULL;
  return g_strdup_printf ("disk %s ('%s', readonly) was changed: its SHA-256 was %s, and is %s",
                          disk->name, disk->path, was, is != NULL ? is : cause->message);
}

char *
disk_mark_compare (JsonObject *machine, const GuestDisk *disk, FileHashes *hashes)
{
  /* Flash memory's content is in the guest's RAM. */
  if (disk->path == NULL || disk->bus == DISK_BUS_PFLASH)
    return NULL;
  if (disk->mode == DISK_SHARED)
    return compare_shared (machine, disk);
  if (disk->mode == DISK_READONLY && disk->storage == DISK_STORAGE_FILE &&
      disk_last_change_us (disk->path) != disk->mtime_us)
    return compare_hash (machine, disk, hashes);
  return NULL;
}
