/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory as a backend: an object is a file of the same name.
 *
 * put: tmp/<owner>.<random> is written and synced, then renamed without replacing. So whatever has
 * an object's name is complete and on the medium; only the name itself may be lost in a power cut
 * until sync() has synced the directories that changed.
 *
 * Paths are used, not a descriptor of the directory: an open store must not keep a file system from
 * being unmounted, and once it is, the missing tmp/ is noticed instead of writing to what is below.
 */
#include <vmckpt/store/backend.h>

#include "backend-private.h"
#include "owner.h"

#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef struct {
  Backend backend;
  GMutex lock;
  GHashTable *unsynced; /* (lock) paths of directories that changed since the last sync */
  GMutex sync_lock;     /* held while directories are synced: taken before lock */
  int sync_failures;    /* (atomic) */
  char *temporary;      /* prefix of this process's temporary files */
  int serial;           /* (atomic) */
} DirectoryBackend;

static char *
object_path (Backend *backend, const char *name, GError **error)
{
  if (!backend_name_valid (name, error))
    return NULL;
  return g_build_filename (backend->location, name, NULL);
}

static void
mark_unsynced (DirectoryBackend *self, const char *directory)
{
  g_mutex_lock (&self->lock);
  g_hash_table_add (self->unsynced, g_strdup (directory));
  g_mutex_unlock (&self->lock);
}

/* All directories from @path's own up to the store's: one that another writer made a moment ago, or
 * that holds an object which another put there, is as little synced as our own. */
static void
mark_path_unsynced (DirectoryBackend *self, const char *path)
{
  g_autofree char *directory = g_path_get_dirname (path);
  gsize root = strlen (self->backend.location);

  for (;;) {
    mark_unsynced (self, directory);
    if (strlen (directory) <= root)
      return;
    char *above = g_path_get_dirname (directory);
    g_free (directory);
    directory = above;
  }
}

/* Makes the directories between the store's own and @path. */
static gboolean
make_parents (DirectoryBackend *self, const char *path, GError **error)
{
  gsize root = strlen (self->backend.location);

  for (const char *slash = strchr (path + root + 1, '/'); slash != NULL;
       slash = strchr (slash + 1, '/')) {
    g_autofree char *directory = g_strndup (path, slash - path);
    if (mkdir (directory, 0777) < 0 && errno != EEXIST)
      return fd_set_errno_error (error, "making the directory %s", directory);
  }
  return TRUE;
}

/* A file in tmp/ that has no object's name yet. */
typedef struct {
  BackendStream stream;
  char *path; /* (nullable): it got a name */
  int fd;
} DirectoryStream;

static BackendStream *
directory_stream_begin (Backend *backend, GError **error)
{
  DirectoryBackend *self = (DirectoryBackend *)backend;
  g_autofree char *path = g_strdup_printf ("%s.%d.%08x", self->temporary,
                                           g_atomic_int_add (&self->serial, 1), g_random_int());
  g_auto (AutoFd) fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

  if (fd < 0) {
    fd_set_errno_error (error, "creating %s", path);
    return NULL;
  }
  DirectoryStream *stream = g_new0 (DirectoryStream, 1);
  stream->stream.backend = backend;
  stream->path = g_steal_pointer (&path);
  stream->fd = fd_steal (&fd);
  return &stream->stream;
}

static gboolean
directory_stream_write (BackendStream *stream, const void *data, gsize len, GError **error)
{
  return fd_write_full (((DirectoryStream *)stream)->fd, data, len, error);
}

static void
directory_stream_free (BackendStream *stream)
{
  DirectoryStream *self = (DirectoryStream *)stream;
  int kept = errno;

  if (self->fd >= 0)
    close (self->fd);
  if (self->path != NULL)
    unlink (self->path);
  errno = kept;
  g_free (self->path);
  g_free (self);
}

/* Makes what was written durable, and closes the file. */
static gboolean
finish_stream (DirectoryStream *self, GError **error)
{
  if (!fault_visit (FAULT_OBJECT_WRITTEN, error))
    return FALSE;
  if (fdatasync (self->fd) < 0)
    return fd_set_errno_error (error, "syncing %s", self->path);
  /* Network file systems may report a failed write only now. */
  if (close (fd_steal (&self->fd)) < 0)
    return fd_set_errno_error (error, "closing %s", self->path);
  return fault_visit (FAULT_OBJECT_SYNCED, error);
}

/* Renames without replacing; -1 with errno EEXIST if @to is there. */
static int
rename_new (const char *from, const char *to)
{
  if (renameat2 (AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  if (link (from, to) < 0)
    return -1;
  unlink (from); /* the object is there, whatever becomes of the temporary name: gc removes that */
  return 0;
}

/* TRUE if there is an object at @path already. */
static gboolean
object_there (DirectoryBackend *self, const char *path)
{
  if (access (path, F_OK) != 0)
    return FALSE;
  mark_path_unsynced (self, path); /* whoever put it may not have synced it yet */
  return TRUE;
}

static gboolean
directory_stream_commit (BackendStream *stream, const char *name, gboolean *existed, GError **error)
{
  DirectoryStream *self = (DirectoryStream *)stream;
  DirectoryBackend *directory = (DirectoryBackend *)stream->backend;
  g_autofree char *path = object_path (stream->backend, name, error);

  *existed = path != NULL && object_there (directory, path);
  if (path == NULL || *existed)
    return path != NULL;
  if (!finish_stream (self, error) || !make_parents (directory, path, error))
    return FALSE;
  if (rename_new (self->path, path) < 0) {
    *existed = errno == EEXIST;
    if (*existed)
      mark_path_unsynced (directory, path);
    return *existed || fd_set_errno_error (error, "naming %s", path);
  }
  g_clear_pointer (&self->path, g_free);
  mark_path_unsynced (directory, path);
  if (!fault_visit (FAULT_OBJECT_NAMED, error)) {
    unlink (path);
    return FALSE;
  }
  return TRUE;
}

static gboolean
directory_put (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  g_autofree char *path = object_path (backend, name, error);

  *existed = path != NULL && object_there ((DirectoryBackend *)backend, path);
  if (path == NULL || *existed)
    return path != NULL;
  g_autoptr (BackendStream) stream = directory_stream_begin (backend, error);
  return stream != NULL &&
         directory_stream_write (stream, g_bytes_get_data (data, NULL), g_bytes_get_size (data),
                                 error) &&
         directory_stream_commit (stream, name, existed, error);
}

/* Opens an object for reading; @size: (out). */
static int
open_object (Backend *backend, const char *name, guint64 *size, GError **error)
{
  g_autofree char *path = object_path (backend, name, error);
  struct stat st;

  if (path == NULL)
    return -1;
  /* Without waiting for a writer, should it be a pipe. */
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 || fstat (fd, &st) < 0) {
    fd_set_errno_error (error, "opening %s", path);
    return -1;
  }
  if (!S_ISREG (st.st_mode)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE, "%s is not a file", path);
    return -1;
  }
  *size = st.st_size;
  return fd_steal (&fd);
}

static GBytes *
directory_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  guint64 size;
  g_auto (AutoFd) fd = open_object (backend, name, &size, error);

  if (fd < 0 || !backend_check_range (name, size, offset, &len, error))
    return NULL;
  g_autofree guint8 *data = g_try_malloc (MAX (len, 1));
  if (data == NULL) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "no memory to read %zu bytes of %s", len,
                 name);
    return NULL;
  }
  for (gsize done = 0; done < len;) {
    ssize_t n = pread (fd, data + done, len - done, offset + done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      errno = n == 0 ? EIO : errno;
      fd_set_errno_error (error, "reading %s/%s", backend->location, name);
      return NULL;
    }
    done += n;
  }
  return g_bytes_new_take (g_steal_pointer (&data), len);
}

static gboolean
directory_stat (Backend *backend, const char *name, guint64 *size, GError **error)
{
  g_autofree char *path = object_path (backend, name, error);
  struct stat st;

  if (path == NULL)
    return FALSE;
  if (stat (path, &st) < 0)
    return fd_set_errno_error (error, "looking at %s", path);
  *size = st.st_size;
  return TRUE;
}

typedef struct {
  Backend *backend;
  BackendListFunc func;
  gpointer user_data;
  gboolean stopped;
} Listing;

typedef DIR AutoDir;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (AutoDir, closedir)

/* Lists what is under @prefix ("" or ending in a slash). */
static gboolean
list_directory (Listing *listing, const char *prefix, GError **error)
{
  g_autofree char *path = g_build_filename (listing->backend->location, prefix, NULL);
  g_autoptr (AutoDir) directory = opendir (path);

  if (directory == NULL)
    return (errno == ENOENT && *prefix != 0) || fd_set_errno_error (error, "listing %s", path);
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir (directory);
    if (entry == NULL)
      return errno == 0 || fd_set_errno_error (error, "listing %s", path);
    struct stat st;
    if (entry->d_name[0] == '.')
      continue;
    if (fstatat (dirfd (directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) /* removed meanwhile */
        continue;
      return fd_set_errno_error (error, "looking at %s/%s", path, entry->d_name);
    }
    g_autofree char *name = g_strconcat (prefix, entry->d_name, NULL);
    if (S_ISDIR (st.st_mode)) {
      g_autofree char *below = g_strconcat (name, "/", NULL);
      if (!list_directory (listing, below, error))
        return FALSE;
    } else if (S_ISREG (st.st_mode)) {
      gint64 mtime_us = st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
      listing->stopped = !listing->func (name, st.st_size, mtime_us, listing->user_data);
    }
    if (listing->stopped)
      return TRUE;
  }
}

static gboolean
directory_list (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
                GError **error)
{
  Listing listing = { .backend = backend, .func = func, .user_data = user_data };

  return backend_prefix_valid (prefix, error) && list_directory (&listing, prefix, error);
}

static gboolean
directory_remove (Backend *backend, const char *name, GError **error)
{
  g_autofree char *path = object_path (backend, name, error);

  if (path == NULL)
    return FALSE;
  if (unlink (path) < 0 && errno != ENOENT)
    return fd_set_errno_error (error, "removing %s", path);
  /* Also if somebody else removed it: that may not be synced yet. */
  g_autofree char *parent = g_path_get_dirname (path);
  mark_unsynced ((DirectoryBackend *)backend, parent);
  return TRUE;
}

static gboolean
sync_directory (const char *path, GError **error)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  /* One that is gone holds no names. */
  if (fd < 0 && errno == ENOENT)
    return TRUE;
  if (fd < 0 || fsync (fd) < 0)
    return fd_set_errno_error (error, "syncing the directory %s", path);
  return TRUE;
}

/* With the sync lock held. */
static gboolean
sync_unsynced (DirectoryBackend *self, GError **error)
{
  GHashTableIter iter;
  gpointer path;

  g_mutex_lock (&self->lock);
  g_autoptr (GHashTable) unsynced = g_steal_pointer (&self->unsynced);
  self->unsynced = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_mutex_unlock (&self->lock);
  g_hash_table_iter_init (&iter, unsynced);
  while (g_hash_table_iter_next (&iter, &path, NULL)) {
    if (sync_directory (path, error))
      continue;
    /* Whatever was not synced must be synced by the next call. */
    g_hash_table_iter_init (&iter, unsynced);
    while (g_hash_table_iter_next (&iter, &path, NULL))
      mark_unsynced (self, path);
    return FALSE;
  }
  return TRUE;
}

static gboolean
directory_sync (Backend *backend, GError **error)
{
  DirectoryBackend *self = (DirectoryBackend *)backend;
  int failures = g_atomic_int_get (&self->sync_failures);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->sync_lock);

  /* Another thread's sync may have taken our directories along. If it failed, so did ours: the
   * kernel tells of a failed write-back only once, a second fsync(2) would succeed. */
  if (g_atomic_int_get (&self->sync_failures) != failures) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED,
                 "syncing %s: it failed for another writer at the same time", backend->location);
    return FALSE;
  }
  if (sync_unsynced (self, error))
    return TRUE;
  g_atomic_int_inc (&self->sync_failures);
  return FALSE;
}

static gboolean
directory_space (Backend *backend, guint64 *available, GError **error)
{
  struct statvfs st;

  if (statvfs (backend->location, &st) < 0)
    return fd_set_errno_error (error, "looking at %s", backend->location);
  *available = (guint64)st.f_bavail * st.f_frsize;
  return TRUE;
}

static void
directory_free (Backend *backend)
{
  DirectoryBackend *self = (DirectoryBackend *)backend;

  g_hash_table_unref (self->unsynced);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->sync_lock);
  g_free (self->temporary);
  g_free (backend->location);
  g_free (self);
}

static const BackendOps directory_ops = {
  .put_if_absent = directory_put,
  .get = directory_get,
  .stat = directory_stat,
  .list = directory_list,
  .remove = directory_remove,
  .sync = directory_sync,
  .space = directory_space,
  .stream_begin = directory_stream_begin,
  .stream_write = directory_stream_write,
  .stream_commit = directory_stream_commit,
  .stream_free = directory_stream_free,
  .free = directory_free,
};

/* A guest's memory is nobody else's: a directory that is made is its owner's alone. One that is
 * there already stays as it is, and so do those above. */
static gboolean
make_directory (const char *path, GError **error)
{
  g_autofree char *above = g_path_get_dirname (path);

  if (g_mkdir_with_parents (above, 0777) == 0 && (mkdir (path, 0700) == 0 || errno == EEXIST))
    return TRUE;
  return fd_set_errno_error (error, "making the directory %s", path);
}

Backend *
backend_directory_open (const char *path, gboolean create, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);
  g_autofree char *temporary = g_build_filename (absolute, "tmp", NULL);
  g_auto (Owner) self = { 0 };
  struct stat st;

  if (create && !make_directory (absolute, error))
    return NULL;
  if (stat (absolute, &st) < 0) {
    fd_set_errno_error (error, "opening the directory %s", absolute);
    return NULL;
  }
  if (!S_ISDIR (st.st_mode)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY, "%s is not a directory", absolute);
    return NULL;
  }
  if (create && mkdir (temporary, 0777) < 0 && errno != EEXIST) {
    fd_set_errno_error (error, "making the directory %s", temporary);
    return NULL;
  }
  owner_init_self (&self);
  g_autofree char *owner = owner_to_file_name (&self);
  DirectoryBackend *directory = g_new0 (DirectoryBackend, 1);
  directory->backend = (Backend){ &directory_ops, g_steal_pointer (&absolute) };
  directory->temporary = g_build_filename (temporary, owner, NULL);
  directory->unsynced = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_mutex_init (&directory->lock);
  g_mutex_init (&directory->sync_lock);
  if (create) {
    g_autofree char *above = g_path_get_dirname (directory->backend.location);
    mark_unsynced (directory, directory->backend.location);
    mark_unsynced (directory, above);
  }
  return &directory->backend;
}
