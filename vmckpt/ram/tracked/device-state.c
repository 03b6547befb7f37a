/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device-state.h"

#include "capture-session.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define FD_NAME "vmckpt-devices"
#define IGNORE_SHARED "x-ignore-shared"
#define MAX_BYTES (256u << 20)
#define WAIT_US (30 * G_USEC_PER_SEC)
/* Devices and small memory blocks are some hundred KiB: QEMU need not wait for the reader. */
#define PIPE_BYTES (1 << 20)

struct _DeviceState {
  QmpClient *monitor; /* borrowed */
  AutoFd read_end, write_end;
  GThread *thread;
  GCancellable *stop; /* ends the thread early */
  gboolean prepared;  /* QEMU has the capability, and a write end */
  gboolean begun;     /* QEMU was told to send, and may not be through */

  /* The thread's, until `ended`. */
  GMutex lock;
  GCond cond;
  gboolean ended; /* nothing more comes */
  GByteArray *bytes;
  GError *failure; /* of reading */
};

/* ---- reading ---- */

/* Waits for something to read; FALSE at `stop`. */
static gboolean
wait_readable (DeviceState *state, const GPollFD *stop)
{
  struct pollfd pollers[] = { { .fd = state->read_end, .events = POLLIN },
                              { .fd = stop->fd, .events = POLLIN } };
  int r;

  do
    r = poll (pollers, G_N_ELEMENTS (pollers), -1);
  while (r < 0 && errno == EINTR);
  return r > 0 && pollers[1].revents == 0;
}

/* Takes one piece; FALSE at the end, or with `failure` set. What is too much is read and dropped:
 * QEMU must not wait for a reader. */
static gboolean
read_piece (DeviceState *state, guint8 *buffer, gsize size)
{
  ssize_t n = read (state->read_end, buffer, size);

  if (n < 0 && errno == EINTR)
    return TRUE;
  if (n < 0)
    return fd_set_errno_error (&state->failure, "reading the device state");
  if (n == 0)
    return FALSE;
  if (n <= (gssize)(MAX_BYTES - state->bytes->len))
    g_byte_array_append (state->bytes, buffer, (guint)n);
  else if (state->failure == NULL)
    g_set_error (&state->failure, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                 "the guest has more than %u MiB of device state and memory that is not shared",
                 MAX_BYTES >> 20);
  return TRUE;
}

static gpointer
read_to_end (gpointer data)
{
  DeviceState *state = data;
  g_autofree guint8 *buffer = g_malloc (PIPE_BYTES);
  GPollFD stop;

  g_cancellable_make_pollfd (state->stop, &stop);
  while (wait_readable (state, &stop) && read_piece (state, buffer, PIPE_BYTES))
    ;
  g_cancellable_release_fd (state->stop);
  g_mutex_lock (&state->lock);
  state->ended = TRUE;
  g_cond_broadcast (&state->cond);
  g_mutex_unlock (&state->lock);
  return NULL;
}

DeviceState *
device_state_new (QmpClient *monitor, GError **error)
{
  int ends[2];

  if (pipe2 (ends, O_CLOEXEC) < 0) {
    fd_set_errno_error (error, "making a pipe");
    return NULL;
  }
  /* Refused above fs.pipe-max-size, which only costs time. */
  fcntl (ends[1], F_SETPIPE_SZ, PIPE_BYTES);
  DeviceState *state = g_new0 (DeviceState, 1);
  state->monitor = monitor;
  state->read_end = ends[0];
  state->write_end = ends[1];
  state->stop = g_cancellable_new();
  state->bytes = g_byte_array_sized_new (PIPE_BYTES);
  g_mutex_init (&state->lock);
  g_cond_init (&state->cond);
  state->thread = g_thread_new ("device-state", read_to_end, state);
  return state;
}

void
device_state_free (DeviceState *state)
{
  if (state == NULL)
    return;
  g_cancellable_cancel (state->stop);
  g_thread_join (state->thread);
  fd_close (&state->read_end);
  fd_close (&state->write_end);
  g_object_unref (state->stop);
  g_byte_array_unref (state->bytes);
  g_clear_error (&state->failure);
  g_mutex_clear (&state->lock);
  g_cond_clear (&state->cond);
  g_free (state);
}

int
device_state_stream (const DeviceState *state)
{
  return state->read_end;
}

const GByteArray *
device_state_bytes (const DeviceState *state)
{
  return state->bytes;
}

/* ---- QEMU ---- */

/* Background snapshots on, shared memory would be left out of them too. QEMU before 6.0 has none
 * and refuses the pair. */
static gboolean
set_capabilities (DeviceState *state, GError **error)
{
  static const QmpCapability wanted[] = { { "background-snapshot", FALSE },
                                          { IGNORE_SHARED, TRUE } };

  return qmp_migrate_set_capabilities (state->monitor, wanted, G_N_ELEMENTS (wanted), NULL) ||
         qmp_migrate_set_capability (state->monitor, IGNORE_SHARED, TRUE, error);
}

gboolean
device_state_prepare (DeviceState *state, GError **error)
{
  ERROR_PREFIX (error, "preparing to save devices");

  state->prepared = TRUE;
  if (!set_capabilities (state, error) ||
      !qmp_migrate_set_bandwidth (state->monitor, G_MAXINT64 >> 8, error) ||
      !qmp_getfd (state->monitor, FD_NAME, state->write_end, error))
    return FALSE;
  fd_close (&state->write_end);
  return TRUE;
}

gboolean
device_state_begin (DeviceState *state, GError **error)
{
  ERROR_PREFIX (error, "saving devices");

  if (!qmp_migrate (state->monitor, "fd:" FD_NAME, error))
    return FALSE;
  state->begun = TRUE;
  return TRUE;
}

static void
on_cancelled (GCancellable *cancellable G_GNUC_UNUSED, gpointer data)
{
  DeviceState *state = data;

  g_mutex_lock (&state->lock);
  g_cond_broadcast (&state->cond);
  g_mutex_unlock (&state->lock);
}

/* Waits for the end of the pipe. */
static gboolean
wait_end (DeviceState *state, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + WAIT_US;
  gulong id = 0;
  gboolean ended, in_time = TRUE;

  if (cancellable != NULL)
    id = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), state, NULL);
  g_mutex_lock (&state->lock);
  while (!state->ended && in_time && !g_cancellable_is_cancelled (cancellable))
    in_time = g_cond_wait_until (&state->cond, &state->lock, deadline);
  ended = state->ended;
  g_mutex_unlock (&state->lock);
  g_cancellable_disconnect (cancellable, id);
  if (!ended && !g_cancellable_set_error_if_cancelled (cancellable, error))
    g_set_error (error, RAM_ERROR, RAM_ERROR_STALLED, "QEMU has not ended within %d s",
                 (int)(WAIT_US / G_USEC_PER_SEC));
  return ended;
}

gboolean
device_state_wait (DeviceState *state, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "saving devices");

  if (!wait_end (state, cancellable, error))
    return FALSE;
  if (state->failure == NULL)
    return TRUE;
  g_propagate_error (error, g_error_copy (state->failure));
  return FALSE;
}

/* QEMU is through; the next migration is an ordinary one. */
static gboolean
take_back (DeviceState *state, gboolean *completed, GError **error)
{
  if (state->begun && !capture_wait_migration_over (state->monitor, completed, error))
    return FALSE;
  state->begun = FALSE;
  if (state->prepared && !qmp_migrate_set_capability (state->monitor, IGNORE_SHARED, FALSE, error))
    return FALSE;
  state->prepared = FALSE;
  return TRUE;
}

gboolean
device_state_finish (DeviceState *state, GError **error)
{
  ERROR_PREFIX (error, "saving devices");
  g_auto (QmpMigration) migration = { 0 };
  gboolean completed = FALSE;

  if (!take_back (state, &completed, error))
    return FALSE;
  if (completed)
    return TRUE;
  if (!qmp_query_migrate (state->monitor, &migration, error))
    return FALSE;
  g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU gave up: %s",
               migration.error_desc != NULL ? migration.error_desc : migration.status);
  return FALSE;
}

gboolean
device_state_abandon (DeviceState *state, GError **error)
{
  ERROR_PREFIX (error, "ending the saving of devices");
  gboolean completed;

  if (state->begun &&
      (!qmp_migrate_cancel (state->monitor, error) || !wait_end (state, NULL, error)))
    return FALSE;
  /* What QEMU does not know of need not be closed: it may not have got that far. */
  if (state->prepared && !state->begun)
    qmp_closefd (state->monitor, FD_NAME, NULL);
  return take_back (state, &completed, error);
}
