/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-files.h>

#include "qemu-img.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* QEMU's image locks: bytes 100 … for permissions in use, 200 … for those not shared
 * (block/file-posix.c). */
#define QEMU_LOCK_FIRST 100
#define QEMU_LOCK_COUNT 164

#define WINDOW_BYTES (1024 * 1024) /* of a file that is compared, read at once */

const char *
disk_file_format_name (DiskFileFormat format)
{
  return format == DISK_FILE_QCOW2 ? "qcow2" : "raw";
}

/* ---- A new file ---- */

/* A file that is being written: removed unless it was renamed. */
typedef struct {
  char *path;
  AutoFd fd;
} PartialFile;

static void
partial_clear (PartialFile *partial)
{
  if (partial->fd >= 0 && partial->path != NULL)
    unlink (partial->path);
  g_free (partial->path);
  fd_close (&partial->fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PartialFile, partial_clear)

/* Whether @fd is what is at @path now: who had the lock before may have renamed or removed it. */
static gboolean
is_at (int fd, const char *path)
{
  struct stat open_one, named;

  return fstat (fd, &open_one) == 0 && lstat (path, &named) == 0 &&
         open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

/* Empty, and locked for as long as it is open, so that nobody else writes to it. */
static gboolean
partial_begin (PartialFile *partial, const char *path, const char *end, GError **error)
{
  partial->path = g_strconcat (path, end, NULL);
  for (;;) {
    g_auto (AutoFd) fd = open (partial->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
      return fd_set_errno_error (error, "making %s", partial->path);
    if (flock (fd, LOCK_EX | LOCK_NB) < 0) {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_BUSY, "%s is being written by somebody else",
                   partial->path);
      return FALSE;
    }
    if (!is_at (fd, partial->path))
      continue;
    partial->fd = fd_steal (&fd);
    if (ftruncate (partial->fd, 0) < 0)
      return fd_set_errno_error (error, "emptying %s", partial->path);
    return TRUE;
  }
}

static gboolean
write_raw (const DiskFile *file, int fd, const Progress *progress, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (PageMapReader) reader = page_map_reader_new (file->store, &file->map, error);

  if (reader == NULL)
    return FALSE;
  if (ftruncate (fd, file->map.length) < 0)
    return fd_set_errno_error (error, "setting its size");
  return page_map_reader_write_file (reader, fd, progress, cancellable, error) &&
         fault_visit (FAULT_FILE_WRITTEN, error);
}

/* Through a raw file beside it, which is removed again. */
static gboolean
write_qcow2 (const DiskFile *file, const char *path, const Progress *progress,
             GCancellable *cancellable, GError **error)
{
  g_auto (PartialFile) raw = { .fd = -1 };

  if (!partial_begin (&raw, file->path, ".raw.partial", error) ||
      !write_raw (file, raw.fd, progress, cancellable, error))
    return FALSE;
  const char *const args[] = { "convert",   "-f", "raw",       "-O",     "qcow2", "-t",
                               "writeback", "-T", "writeback", raw.path, path,    NULL };
  return qemu_img_run (args, cancellable, error);
}

/* The new file is the former one's successor in who may open it, too. */
static gboolean
take_after (const char *path, int fd, GError **error)
{
  struct stat former;

  if (stat (path, &former) < 0)
    return errno == ENOENT || fd_set_errno_error (error, "looking at the former file");
  if (fchown (fd, former.st_uid, former.st_gid) < 0 || fchmod (fd, former.st_mode & 07777) < 0)
    return fd_set_errno_error (error, "giving it the owner and mode of the former file");
  return TRUE;
}

static gboolean
sync_directory_of (const char *path, GError **error)
{
  g_autofree char *name = g_path_get_dirname (path);
  g_auto (AutoFd) directory = open (name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (directory < 0 || fsync (directory) < 0)
    return fd_set_errno_error (error, "syncing directory %s", name);
  return TRUE;
}

static gboolean
publish (const DiskFile *file, PartialFile *partial, GError **error)
{
  if (file->replace && !take_after (file->path, partial->fd, error))
    return FALSE;
  if (fsync (partial->fd) < 0)
    return fd_set_errno_error (error, "syncing it");
  if (!fault_visit (FAULT_FILE_SYNCED, error))
    return FALSE;
  if (renameat2 (AT_FDCWD, partial->path, AT_FDCWD, file->path,
                 file->replace ? 0 : RENAME_NOREPLACE) < 0)
    return fd_set_errno_error (error, "naming it");
  g_clear_pointer (&partial->path, g_free);
  return sync_directory_of (file->path, error) && fault_visit (FAULT_FILE_NAMED, error);
}

gboolean
disk_file_write (const DiskFile *file, const Progress *progress, GCancellable *cancellable,
                 GError **error)
{
  ERROR_PREFIX (error, "writing disk %s to %s", file->name, file->path);
  g_auto (PartialFile) partial = { .fd = -1 };

  if (!file->replace && g_file_test (file->path, G_FILE_TEST_EXISTS)) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_EXISTS, "there is a file of that name");
    return FALSE;
  }
  if (!partial_begin (&partial, file->path, ".partial", error))
    return FALSE;
  gboolean written = file->format == DISK_FILE_RAW
                         ? write_raw (file, partial.fd, progress, cancellable, error)
                         : write_qcow2 (file, partial.path, progress, cancellable, error);
  return written && publish (file, &partial, error);
}

/* ---- A file that is there ---- */

/* Holds pages of a map against a file, and may put them there. */
typedef struct {
  const DiskFile *file;
  int fd;
  gboolean write;
  gboolean differs;
  guint8 *window; /* WINDOW_BYTES of the file from @from */
  guint64 from;
  guint64 have; /* bytes in it */
} Holding;

/* The file's bytes at @at, borrowed; pages come in order. */
static const guint8 *
look (Holding *holding, guint64 at, gsize len, GError **error)
{
  if (at < holding->from || at + len > holding->from + holding->have) {
    ssize_t got = pread (holding->fd, holding->window, WINDOW_BYTES, at);
    if (got < (ssize_t)len) {
      errno = got < 0 ? errno : EIO;
      fd_set_errno_error (error, "reading it at byte %" G_GUINT64_FORMAT, at);
      return NULL;
    }
    holding->from = at;
    holding->have = got;
  }
  return holding->window + (at - holding->from);
}

/* A PageFunc. */
static gboolean
hold_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  static const guint8 zeros[PAGE_SIZE_BYTES];
  Holding *holding = user_data;
  guint64 at = page * PAGE_SIZE_BYTES;
  gsize len = MIN (PAGE_SIZE_BYTES, holding->file->map.length - at);
  const guint8 *there = look (holding, at, len, error);

  if (there == NULL)
    return FALSE;
  if (memcmp (there, data != NULL ? data : zeros, len) == 0)
    return TRUE;
  holding->differs = TRUE;
  if (!holding->write) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "it holds something else");
    return FALSE;
  }
  if (pwrite (holding->fd, data != NULL ? data : zeros, len, at) != (ssize_t)len)
    return fd_set_errno_error (error, "writing it at byte %" G_GUINT64_FORMAT, at);
  return TRUE;
}

/* @size: (out): bytes, of a regular file or block device. */
static gboolean
measure (int fd, guint64 *size)
{
  struct stat st;

  if (fstat (fd, &st) < 0)
    return FALSE;
  *size = st.st_size;
  return !S_ISBLK (st.st_mode) || ioctl (fd, BLKGETSIZE64, size) == 0;
}

static gboolean
is_device (const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 && S_ISBLK (st.st_mode);
}

static gboolean
hold (Holding *holding, const Progress *progress, GCancellable *cancellable, GError **error)
{
  const DiskFile *file = holding->file;
  g_autoptr (PageMapReader) reader = page_map_reader_new (file->store, &file->map, error);
  g_autofree guint8 *window = g_malloc (WINDOW_BYTES);

  holding->window = window;
  return reader != NULL &&
         page_map_reader_foreach (reader, TRUE, hold_page, holding, progress, cancellable, error);
}

gboolean
disk_file_compare (const DiskFile *file, gboolean *same, const Progress *progress,
                   GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "comparing disk %s with %s", file->name, file->path);
  g_auto (AutoFd) fd = open (file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  Holding holding = { .file = file, .fd = fd };
  g_autoptr (GError) cause = NULL;
  guint64 size;

  if (fd < 0 || !measure (fd, &size))
    return fd_set_errno_error (error, "opening it");
  *same = size == file->map.length && hold (&holding, progress, cancellable, &cause);
  if (cause == NULL || holding.differs)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

gboolean
disk_file_in_use (const char *path)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct flock lock = {
    .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_LOCK_FIRST, .l_len = QEMU_LOCK_COUNT
  };

  return fd >= 0 && fcntl (fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

gboolean
disk_file_overwrite (const DiskFile *file, const Progress *progress, GCancellable *cancellable,
                     GError **error)
{
  ERROR_PREFIX (error, "writing disk %s to %s", file->name, file->path);
  /* For a device that means: not while something on it is mounted, or it is part of another. */
  int alone = is_device (file->path) ? O_EXCL : 0;
  g_auto (AutoFd) fd = open (file->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | alone);
  Holding holding = { .file = file, .fd = fd, .write = TRUE };
  guint64 size;

  if (fd < 0 || !measure (fd, &size))
    return fd_set_errno_error (error, "opening it");
  if (size != file->map.length) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                 "it has %" G_GUINT64_FORMAT " bytes, the disk %" G_GUINT64_FORMAT, size,
                 file->map.length);
    return FALSE;
  }
  if (!hold (&holding, progress, cancellable, error))
    return FALSE;
  return fsync (fd) == 0 || fd_set_errno_error (error, "syncing it");
}
