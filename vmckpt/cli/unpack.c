/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack.h"

#include "cli-error.h"

#include <vmckpt/util/fd.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <ftw.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK (64 * 1024)

/* What is handed to libarchive is read on a thread of its own, through a pipe: it wants to pull,
 * and the daemon's answer is pushed. */
struct Unpack {
  char *path;
  char *temporary; /* absolute, without symbolic links */
  AutoFd write_end;
  AutoFd read_end; /* the thread's */
  GThread *thread;
  guint left_out; /* the thread's, until it is joined */
  GError *error;  /* likewise */
};

/* ---- Names ---- */

/* TRUE if @name stays below the directory that it is relative to. */
static gboolean
is_inside (const char *name)
{
  g_auto (GStrv) parts = g_strsplit (name, "/", -1);

  return name[0] != '/' && !g_strv_contains ((const char *const *)parts, "..");
}

static gboolean
refuse_name (GError **error, const char *name)
{
  g_autofree char *shown = g_utf8_make_valid (name, -1);

  g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED,
               "what was to be unpacked names '%s', which is outside of it", shown);
  return FALSE;
}

/* Puts the entry, and the file that it is another name of, below the temporary directory. */
static gboolean
place_entry (const Unpack *unpack, struct archive_entry *entry, GError **error)
{
  const char *name = archive_entry_pathname (entry);
  const char *other = archive_entry_hardlink (entry);

  if (name == NULL || !is_inside (name))
    return refuse_name (error, name != NULL ? name : "?");
  if (other != NULL && !is_inside (other))
    return refuse_name (error, other);
  g_autofree char *placed = g_build_filename (unpack->temporary, name, NULL);
  if (other != NULL) {
    g_autofree char *link = g_build_filename (unpack->temporary, other, NULL);
    archive_entry_set_hardlink (entry, link);
  }
  archive_entry_set_pathname (entry, placed);
  return TRUE;
}

/* ---- The thread ---- */

static gboolean
is_wanted (struct archive_entry *entry)
{
  __LA_MODE_T kind = archive_entry_filetype (entry);

  return archive_entry_hardlink (entry) != NULL || kind == AE_IFREG || kind == AE_IFDIR ||
         kind == AE_IFLNK;
}

static gboolean
fail (GError **error, struct archive *archive)
{
  const char *said = archive_error_string (archive);

  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "unpacking: %s", said != NULL ? said : "failed");
  return FALSE;
}

static gboolean
copy_data (struct archive *from, struct archive *to, GError **error)
{
  const void *data;
  size_t len;
  la_int64_t offset;
  int status;

  while ((status = archive_read_data_block (from, &data, &len, &offset)) == ARCHIVE_OK)
    if (archive_write_data_block (to, data, len, offset) < ARCHIVE_WARN)
      return fail (error, to);
  return status == ARCHIVE_EOF || fail (error, from);
}

static gboolean
unpack_entry (Unpack *unpack, struct archive *from, struct archive *to, struct archive_entry *entry,
              GError **error)
{
  if (!is_wanted (entry)) {
    unpack->left_out++;
    return TRUE;
  }
  /* The directory stays its owner's to write in; others get what it says, without set-id bits. */
  mode_t mode = archive_entry_perm (entry) & 0777;
  archive_entry_set_perm (entry, archive_entry_filetype (entry) == AE_IFDIR ? mode | 0700 : mode);
  if (!place_entry (unpack, entry, error))
    return FALSE;
  if (archive_write_header (to, entry) < ARCHIVE_WARN)
    return fail (error, to);
  if (archive_entry_hardlink (entry) == NULL && !copy_data (from, to, error))
    return FALSE;
  return archive_write_finish_entry (to) >= ARCHIVE_WARN || fail (error, to);
}

static gboolean
unpack_all (Unpack *unpack, struct archive *from, struct archive *to, GError **error)
{
  struct archive_entry *entry;
  int status;

  archive_read_support_format_tar (from);
  archive_write_disk_set_options (to, ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                                          ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                          ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SPARSE);
  if (archive_read_open_fd (from, unpack->read_end, BLOCK) < ARCHIVE_WARN)
    return fail (error, from);
  while ((status = archive_read_next_header (from, &entry)) >= ARCHIVE_WARN &&
         status != ARCHIVE_EOF)
    if (!unpack_entry (unpack, from, to, entry, error))
      return FALSE;
  if (status != ARCHIVE_EOF)
    return fail (error, from);
  /* Times of directories come last. */
  return archive_write_close (to) >= ARCHIVE_WARN || fail (error, to);
}

static gpointer
unpack_thread (gpointer data)
{
  Unpack *unpack = data;
  struct archive *from = archive_read_new(), *to = archive_write_disk_new();
  char rest[4096];

  /* Behind the archive's end there may be padding. */
  if (unpack_all (unpack, from, to, &unpack->error))
    while (read (unpack->read_end, rest, sizeof rest) > 0)
      ;
  archive_read_free (from);
  archive_write_free (to);
  /* Whoever writes on gets EPIPE. */
  fd_close (&unpack->read_end);
  return NULL;
}

/* ---- From outside ---- */

static char *
hidden_beside (const char *path, GError **error)
{
  g_autofree char *parent = g_path_get_dirname (path);
  g_autofree char *real = realpath (parent, NULL);

  if (real == NULL) {
    fd_set_errno_error (error, "%s", parent);
    return NULL;
  }
  g_autofree char *hidden = g_build_filename (real, ".vmckpt-copy.XXXXXX", NULL);
  if (g_mkdtemp (hidden) != NULL)
    return g_steal_pointer (&hidden);
  fd_set_errno_error (error, "making a directory in %s", parent);
  return NULL;
}

Unpack *
unpack_begin (const char *path, GError **error)
{
  g_autoptr (Unpack) unpack = g_new0 (Unpack, 1);
  struct stat there;
  int ends[2];

  unpack->read_end = unpack->write_end = -1;
  if (lstat (path, &there) == 0) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_CONFLICT, "%s exists already", path);
    return NULL;
  }
  unpack->path = g_strdup (path);
  unpack->temporary = hidden_beside (path, error);
  if (unpack->temporary == NULL || !g_unix_open_pipe (ends, FD_CLOEXEC, error))
    return NULL;
  unpack->read_end = ends[0];
  unpack->write_end = ends[1];
  unpack->thread = g_thread_new ("unpack", unpack_thread, unpack);
  return g_steal_pointer (&unpack);
}

static void
join (Unpack *unpack)
{
  fd_close (&unpack->write_end);
  if (unpack->thread != NULL)
    g_thread_join (g_steal_pointer (&unpack->thread));
}

static int
remove_one (const char *path, const struct stat *st, int flag, struct FTW *at)
{
  remove (path);
  return 0;
}

void
unpack_free (Unpack *unpack)
{
  join (unpack);
  if (unpack->temporary != NULL)
    nftw (unpack->temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
  fd_close (&unpack->read_end);
  g_clear_error (&unpack->error);
  g_free (unpack->temporary);
  g_free (unpack->path);
  g_free (unpack);
}

/* What the thread found wrong comes before what that led to. */
static gboolean
take_fault (Unpack *unpack, GError **error)
{
  join (unpack);
  if (unpack->error == NULL)
    return FALSE;
  g_propagate_error (error, g_steal_pointer (&unpack->error));
  return TRUE;
}

gboolean
unpack_write (Unpack *unpack, gconstpointer data, gsize len, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (fd_write_full (unpack->write_end, data, len, &cause))
    return TRUE;
  if (!take_fault (unpack, error))
    g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

gboolean
unpack_finish (Unpack *unpack, guint *left_out, GError **error)
{
  if (take_fault (unpack, error))
    return FALSE;
  *left_out = unpack->left_out;
  /* An empty directory that came there meanwhile would be replaced; nothing else is. */
  if (rename (unpack->temporary, unpack->path) < 0)
    return fd_set_errno_error (error, "naming %s", unpack->path);
  g_clear_pointer (&unpack->temporary, g_free);
  return TRUE;
}
