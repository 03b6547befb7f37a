/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "new-file.h"

#include "cli-error.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_TRIES 100

struct NewFile {
  char *path;
  char *temporary; /* (nullable): its name meanwhile, if it has one */
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

/* A hidden name beside @path, @end behind it. */
static char *
hidden_name (const char *path, const char *end)
{
  g_autofree char *directory = g_path_get_dirname (path);
  g_autofree char *name = g_path_get_basename (path);
  g_autofree char *hidden = g_strdup_printf (".%.200s.%s", name, end);

  return g_build_filename (directory, hidden, NULL);
}

/* Where a file without a name can be found. */
static char *
nameless_path (const NewFile *file)
{
  return g_strdup_printf ("/proc/self/fd/%d", file->fd);
}

/* A file without a name, which goes with its last descriptor: a program that is killed leaves
 * nothing. FALSE where there are none, or where they could not get a name later. */
static gboolean
open_nameless (NewFile *file)
{
  g_autofree char *directory = g_path_get_dirname (file->path);

  file->fd = open (directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file->fd < 0)
    return FALSE;
  g_autofree char *link = nameless_path (file);
  if (access (link, F_OK) == 0)
    return TRUE;
  fd_close (&file->fd);
  return FALSE;
}

static gboolean
open_hidden (NewFile *file, GError **error)
{
  file->temporary = hidden_name (file->path, "XXXXXX");
  file->fd = g_mkstemp_full (file->temporary, O_RDWR | O_CLOEXEC, 0600);
  if (file->fd >= 0)
    return TRUE;
  fd_set_errno_error (error, "making %s", file->path);
  g_clear_pointer (&file->temporary, g_free);
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
  g_autoptr (NewFile) file = g_new0 (NewFile, 1);
  file->fd = -1;
  file->path = g_strdup (path);
  file->force = force;
  if (!open_nameless (file) && !open_hidden (file, error))
    return NULL;
  return g_steal_pointer (&file);
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

/* TRUE if it has its name now, or with force a hidden one to be renamed. */
static gboolean
link_nameless (NewFile *file)
{
  g_autofree char *link = nameless_path (file);

  if (linkat (AT_FDCWD, link, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) == 0)
    return TRUE;
  /* A link replaces nothing, a name does. */
  for (guint i = 0; errno == EEXIST && file->force && i < NAME_TRIES; i++) {
    g_autofree char *end = g_strdup_printf ("%06x", g_random_int() >> 8);
    g_autofree char *hidden = hidden_name (file->path, end);
    if (linkat (AT_FDCWD, link, AT_FDCWD, hidden, AT_SYMLINK_FOLLOW) == 0) {
      file->temporary = g_steal_pointer (&hidden);
      return TRUE;
    }
  }
  return FALSE;
}

/* A file system that cannot rename without replacing can link. */
static gboolean
rename_hidden (NewFile *file)
{
  if (renameat2 (AT_FDCWD, file->temporary, AT_FDCWD, file->path,
                 file->force ? 0 : RENAME_NOREPLACE) == 0)
    return TRUE;
  if (errno != EINVAL || link (file->temporary, file->path) < 0)
    return FALSE;
  unlink (file->temporary);
  return TRUE;
}

static gboolean
give_name (NewFile *file, GError **error)
{
  if ((file->temporary != NULL || link_nameless (file)) &&
      (file->temporary == NULL || rename_hidden (file)))
    return TRUE;
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
