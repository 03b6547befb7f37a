/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restore through a synthesised migration stream:
 *
 *   stream_compose() ──pipe──▶ QEMU (-incoming defer, -S)
 *
 * A block that QEMU has as a shared file, filled by others, is declared and left out
 * (x-ignore-shared).
 */
#include "stream-restore.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/stream-compose.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <unistd.h>

#define FD_NAME "vmckpt-incoming"
#define LOAD_TIMEOUT_US (60 * G_USEC_PER_SEC)
#define LOAD_POLL_US 500
#define IGNORE_SHARED "x-ignore-shared"

struct _RestoreStream {
  int write_end;
  char *left_out; /* (nullable) */
};

void
restore_stream_free (RestoreStream *stream)
{
  if (stream == NULL)
    return;
  fd_close (&stream->write_end);
  g_free (stream->left_out);
  g_free (stream);
}

/* Gives QEMU the read end of a pipe to load from; returns the write end, or -1. */
static int
open_pipe (QmpClient *monitor, GError **error)
{
  g_auto (AutoFd) read_end = -1;
  g_auto (AutoFd) write_end = -1;
  int ends[2];

  if (pipe2 (ends, O_CLOEXEC) < 0) {
    fd_set_errno_error (error, "making a pipe");
    return -1;
  }
  read_end = ends[0];
  write_end = ends[1];
  fcntl (write_end, F_SETPIPE_SZ, 1 << 20);
  if (!qmp_getfd (monitor, FD_NAME, read_end, error) ||
      !qmp_migrate_incoming (monitor, "fd:" FD_NAME, error) ||
      !fault_visit (FAULT_RESTORE_STARTED, error))
    return -1;
  return fd_steal (&write_end);
}

RestoreStream *
restore_stream_open (QmpClient *monitor, const char *left_out, GError **error)
{
  if (!qmp_migrate_set_bandwidth (monitor, G_MAXINT64 >> 8, error) ||
      (left_out != NULL && !qmp_migrate_set_capability (monitor, IGNORE_SHARED, TRUE, error)))
    return NULL;
  int write_end = open_pipe (monitor, error);
  if (write_end < 0)
    return NULL;
  RestoreStream *stream = g_new0 (RestoreStream, 1);
  stream->write_end = write_end;
  stream->left_out = g_strdup (left_out);
  return stream;
}

/* Waits until QEMU has taken all in. It exits, and the monitor is lost, if it did not like it. */
static gboolean
wait_loaded (QmpClient *monitor, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + LOAD_TIMEOUT_US;

  for (;;) {
    g_autofree char *status = qmp_query_status (monitor, error);
    if (status == NULL)
      return FALSE;
    if (!g_str_equal (status, "inmigrate"))
      return TRUE;
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error (error, RAM_ERROR, RAM_ERROR_STALLED, "QEMU does not finish loading");
      return FALSE;
    }
    g_usleep (LOAD_POLL_US);
  }
}

gboolean
stream_restore_feed (QmpClient *monitor, RestoreStream *opened, Store *store,
                     const Manifest *manifest, const char *left_out, const Progress *progress,
                     GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, left_out != NULL ? "loading devices" : "loading RAM and devices");
  const StreamOmission omission = { .block = left_out };
  g_autoptr (RestoreStream) own = NULL;
  g_autoptr (StreamWriter) writer = NULL;

  progress_report (progress, PHASE_REBUILD, 0, 0);
  if (opened == NULL)
    opened = own = restore_stream_open (monitor, left_out, error);
  if (opened == NULL)
    return FALSE;
  if (g_strcmp0 (opened->left_out, left_out) != 0) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "QEMU waits for a checkpoint of another machine");
    return FALSE;
  }
  writer = stream_writer_new (opened->write_end);
  if (!stream_compose (writer, store, manifest, left_out != NULL ? &omission : NULL, progress,
                       cancellable, error))
    return FALSE;
  fd_close (&opened->write_end); /* the end of the stream */
  return wait_loaded (monitor, cancellable, error) &&
         (left_out == NULL || qmp_migrate_set_capability (monitor, IGNORE_SHARED, FALSE, error)) &&
         fault_visit (FAULT_RESTORE_LOADED, error);
}

gboolean
stream_engine_restore (QmpClient *monitor, RestoreStream *stream, Store *store,
                       const Manifest *manifest, const Progress *progress,
                       GCancellable *cancellable, GError **error)
{
  return stream_restore_feed (monitor, stream, store, manifest, NULL, progress, cancellable, error);
}
