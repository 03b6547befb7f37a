/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "new-file.h"

#include "cli-error.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct NewFile {
  char *path, *temporary; /* temporary: NULL once it has its name */
  gboolean force;
  AutoFd fd;
};

static gboolean
refuse_existing (const char *path, GError **error)
{
  g_set_error (error, CLI_ERROR, CLI_ERROR_CONFLICT, "%s exists already; --force replaces it",
               path);
  return FALSE;
}

NewFile *
new_file_begin (const char *path, gboolean force, GError **error)
{
  struct stat there;

  if (stat (path, &there) == 0 && (!force || !S_ISREG (there.st_mode))) {
    if (force)
      g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                   "%s is not a regular file; --output - writes to standard output", path);
    else
      refuse_existing (path, error);
    return NULL;
  }
  NewFile *file = g_new0 (NewFile, 1);
  g_autofree char *directory = g_path_get_dirname (path);
  g_autofree char *name = g_path_get_basename (path);
  g_autofree char *hidden = g_strdup_printf (".%.200s.XXXXXX", name);
  file->path = g_strdup (path);
  file->force = force;
  file->temporary = g_build_filename (directory, hidden, NULL);
  file->fd = g_mkstemp_full (file->temporary, O_RDWR | O_CLOEXEC, 0600);
  if (file->fd >= 0)
    return file;
  fd_set_errno_error (error, "making a file in %s", directory);
  g_clear_pointer (&file->temporary, g_free);
  new_file_free (file);
  return NULL;
}

void
new_file_free (NewFile *file)
{
  fd_close (&file->fd);
  if (file->temporary != NULL)
    unlink (file->temporary);
  g_free (file->temporary);
  g_free (file->path);
  g_free (file);
}

gboolean
new_file_write (NewFile *file, gconstpointer data, gsize len, GError **error)
{
  if (fd_write_full (file->fd, data, len, error))
    return TRUE;
  g_prefix_error (error, "writing %s: ", file->path);
  return FALSE;
}

gboolean
new_file_skip (NewFile *file, guint64 len, GError **error)
{
  off_t at = lseek (file->fd, len, SEEK_CUR);

  /* What is skipped at the end would not be there. */
  if (at >= 0 && ftruncate (file->fd, at) == 0)
    return TRUE;
  return fd_set_errno_error (error, "writing %s", file->path);
}

/* Makes the name durable; that a directory cannot be synced everywhere is no failure. */
static void
sync_directory (const char *path)
{
  g_autofree char *directory = g_path_get_dirname (path);
  g_auto (AutoFd) fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd >= 0)
    fsync (fd);
}

/* A file system that cannot rename without replacing can link. */
static gboolean
give_name (NewFile *file, GError **error)
{
  if (renameat2 (AT_FDCWD, file->temporary, AT_FDCWD, file->path,
                 file->force ? 0 : RENAME_NOREPLACE) == 0)
    return TRUE;
  if (errno == EINVAL && link (file->temporary, file->path) == 0) {
    unlink (file->temporary);
    return TRUE;
  }
  if (errno == EEXIST)
    return refuse_existing (file->path, error);
  return fd_set_errno_error (error, "naming %s", file->path);
}

gboolean
new_file_finish (NewFile *file, GError **error)
{
  if (fsync (file->fd) < 0)
    return fd_set_errno_error (error, "writing %s", file->path);
  if (!give_name (file, error))
    return FALSE;
  g_clear_pointer (&file->temporary, g_free);
  sync_directory (file->path);
  return TRUE;
}
