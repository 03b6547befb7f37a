/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* The first bytes of a qcow2 image (QEMU: docs/interop/qcow2.txt). */
static const char qcow2_magic[4] = { 'Q', 'F', 'I', '\xfb' };

/* @size: (out): bytes; @mtime_us: (out): 0 for a block device, which has no such thing. */
static gboolean
measure (int fd, guint64 *size, gint64 *mtime_us)
{
  struct stat st;

  if (fstat (fd, &st) < 0)
    return FALSE;
  if (S_ISBLK (st.st_mode)) {
    *mtime_us = 0;
    return ioctl (fd, BLKGETSIZE64, size) == 0;
  }
  if (!S_ISREG (st.st_mode)) {
    errno = EINVAL;
    return FALSE;
  }
  *size = st.st_size;
  *mtime_us = (gint64)st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
  return TRUE;
}

gboolean
disk_measure (GuestDisk *disk, GError **error)
{
  if (disk->path == NULL || disk->storage == DISK_STORAGE_NBD)
    return TRUE;
  g_auto (AutoFd) fd = open (disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char head[sizeof qcow2_magic] = { 0 };

  if (fd < 0 || !measure (fd, &disk->size, &disk->mtime_us)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "disk '%s': %s", disk->path,
                 g_strerror (errno));
    return FALSE;
  }
  if (disk->format == NULL) {
    gboolean qcow2 = fd_read_full (fd, head, sizeof head, NULL) == sizeof head &&
                     memcmp (head, qcow2_magic, sizeof head) == 0;
    disk->format = g_strdup (qcow2 ? "qcow2" : "raw");
  }
  return TRUE;
}

char *
disk_compare (const GuestDisk *disk)
{
  if (disk->path == NULL || disk->storage == DISK_STORAGE_NBD)
    return NULL;
  g_auto (AutoFd) fd = open (disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  guint64 size;
  gint64 mtime_us;

  if (fd < 0 || !measure (fd, &size, &mtime_us))
    return g_strdup_printf ("disk '%s' is not here (%s)", disk->path, g_strerror (errno));
  /* A qcow2 file that is written to grows; its guest sees the same disk. */
  if (size != disk->size && (disk->mode == DISK_READONLY || g_strcmp0 (disk->format, "raw") == 0))
    return g_strdup_printf ("disk '%s' has %" G_GUINT64_FORMAT " bytes here and had "
                            "%" G_GUINT64_FORMAT " when the guest was started",
                            disk->path, size, disk->size);
  if (disk->mode == DISK_READONLY && mtime_us != disk->mtime_us)
    return g_strdup_printf ("disk '%s' was changed since the guest was started", disk->path);
  return NULL;
}
