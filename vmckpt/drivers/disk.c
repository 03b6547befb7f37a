/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk.h"

#include "disk-image.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The first bytes of a qcow2 image (QEMU: docs/interop/qcow2.txt). */
static const char qcow2_magic[4] = { 'Q', 'F', 'I', '\xfb' };

/* What was taken for a part of the path may have been meant as an option. */
static void
set_not_found (GError **error, const GuestDisk *disk, int number)
{
  const char *comma = strrchr (disk->path, ',');

  if (comma == NULL)
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "disk '%s': %s", disk->path,
                 g_strerror (number));
  else
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND,
                 "disk '%s': %s ('%s' is none of capture, shared, readonly, exclude, bus=, "
                 "format=, name=, cdrom, iothread, or one too many of these)",
                 disk->path, g_strerror (number), comma + 1);
}

gint64
disk_last_change_us (const char *path)
{
  struct stat st;

  if (stat (path, &st) < 0 || !S_ISREG (st.st_mode))
    return 0;
  return (gint64)st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
}

static const char *
guess_format (const char *path)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char head[sizeof qcow2_magic];

  return fd >= 0 && fd_read_full (fd, head, sizeof head, NULL) == sizeof head &&
                 memcmp (head, qcow2_magic, sizeof head) == 0
             ? "qcow2"
             : "raw";
}

/* A guest may have written the header of an overlay into its raw disk, to be given what it names.
 */
static gboolean
refuse_guessed_overlay (const GuestDisk *disk, GError **error)
{
  const DiskLayer *layer = disk->backing->pdata[0];

  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
               "disk '%s' begins like a qcow2 image that is an overlay of '%s': write "
               "'%s,format=qcow2' if it is one; if it is a raw disk, then a guest has written that "
               "(format=raw)",
               disk->path, layer->path, disk->path);
  return FALSE;
}

gboolean
disk_measure (GuestDisk *disk, GError **error)
{
  gboolean guessed = disk->format == NULL;

  if (disk->path == NULL)
    return TRUE;
  if (disk->storage != DISK_STORAGE_NBD) {
    if (!disk_storage_of (disk->path, &disk->storage, &disk->size)) {
      set_not_found (error, disk, errno);
      return FALSE;
    }
    disk->mtime_us = disk_last_change_us (disk->path);
    if (disk->format == NULL)
      disk->format = g_strdup (guess_format (disk->path));
  } else if (disk->format == NULL) {
    disk->format = g_strdup ("raw");
  }
  if (disk->storage != DISK_STORAGE_NBD && g_str_equal (disk->format, "raw")) {
    disk->virtual_size = disk->size;
    return TRUE;
  }
  if (!disk_image_read (disk, error))
    return FALSE;
  return !guessed || disk->backing->len == 0 || refuse_guessed_overlay (disk, error);
}

static char *
compare_layers (const GuestDisk *disk)
{
  for (guint i = 0; i < disk->backing->len; i++) {
    const DiskLayer *layer = disk->backing->pdata[i];
    DiskStorage storage;
    guint64 size;

    if (layer->storage != DISK_STORAGE_NBD && !disk_storage_of (layer->path, &storage, &size))
      return g_strdup_printf ("'%s', which disk '%s' is an overlay of, is not here (%s)",
                              layer->path, disk->path, g_strerror (errno));
  }
  return NULL;
}

char *
disk_compare (const GuestDisk *disk)
{
  DiskStorage storage;
  guint64 size;

  if (disk->path == NULL || disk->storage == DISK_STORAGE_NBD)
    return NULL;
  if (!disk_storage_of (disk->path, &storage, &size))
    return g_strdup_printf ("disk '%s' is not here (%s)", disk->path, g_strerror (errno));
  /* A qcow2 file that is written to grows; its guest sees the same disk. */
  if (size != disk->size && (disk->mode == DISK_READONLY || g_strcmp0 (disk->format, "raw") == 0))
    return g_strdup_printf ("disk '%s' has %" G_GUINT64_FORMAT " bytes here and had "
                            "%" G_GUINT64_FORMAT " when the guest was started",
                            disk->path, size, disk->size);
  return compare_layers (disk);
}
