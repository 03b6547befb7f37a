/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "serial-log.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct _SerialLog {
  char *path;
  char *old_path;
  AutoFd fd;
  guint64 size;
  guint64 max_bytes;
  guint64 lost;
};

static gboolean
open_file (SerialLog *log, GError **error)
{
  struct stat st;

  log->fd = open (log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (log->fd < 0 || fstat (log->fd, &st) < 0)
    return fd_set_errno_error (error, "opening %s", log->path);
  log->size = st.st_size;
  return TRUE;
}

SerialLog *
serial_log_open (const char *directory, guint64 max_bytes, GError **error)
{
  g_autoptr (SerialLog) log = g_new0 (SerialLog, 1);

  log->fd = -1;
  log->max_bytes = max_bytes;
  log->path = g_build_filename (directory, GUEST_FILE_LOG, NULL);
  log->old_path = g_build_filename (directory, GUEST_FILE_LOG_OLD, NULL);
  if (!open_file (log, error))
    return NULL;
  return g_steal_pointer (&log);
}

void
serial_log_free (SerialLog *log)
{
  if (log == NULL)
    return;
  fd_close (&log->fd);
  g_free (log->path);
  g_free (log->old_path);
  g_free (log);
}

void
serial_log_append (SerialLog *log, const guint8 *data, gsize len)
{
  if (log->fd >= 0 && log->size + len > log->max_bytes) {
    fd_close (&log->fd);
    if (rename (log->path, log->old_path) < 0)
      unlink (log->path);
  }
  if (log->fd < 0 && !open_file (log, NULL)) {
    log->lost += len;
    return;
  }
  for (gsize done = 0; done < len;) {
    ssize_t n = write (log->fd, data + done, len - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      log->lost += len - done;
      return;
    }
    done += n;
    log->size += n;
  }
}

guint64
serial_log_lost (const SerialLog *log)
{
  return log->lost;
}
