/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's side of keeper.sock: attaching, watching, leases. */
#include <vmckpt/keeper/keeper.h>

#include "protocol.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <glib-unix.h>
#include <poll.h>

GQuark
keeper_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-keeper-error");
}

#define HELLO_TIMEOUT_MS 5000
/* A lease is not granted while the keeper puts the guest right after a broken one, which includes
 * reading a whole stream. */
#define LEASE_TIMEOUT_MS 60000

struct _Keeper {
  char *directory;
  ProcessId keeper;
  ProcessId qemu;
  AutoFd hello;   /* its end is the keeper's end */
  AutoFd starter; /* until there is a restore lease: its end is QEMU's; or -1 */
  GSource *watch; /* (nullable) */
};

struct _KeeperLease {
  AutoFd fd;
};

struct _KeeperGuard {
  AutoFd fd;
};

struct _KeeperFreeze {
  AutoFd fd;
};

/* Connects to the keeper of @directory and sends @request. Returns the connection or -1. */
static int
open_connection (const char *directory, const KeeperMessage *request, int pass, int timeout_ms,
                 KeeperMessage *answer, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_KEEPER, NULL);
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) fd = fd_connect_unix (path, &cause);

  if (fd < 0) {
    if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG))
      g_propagate_error (error, g_steal_pointer (&cause));
    else
      g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_GONE, "no keeper serves this guest: %s",
                   cause->message);
    return -1;
  }
  if (!keeper_exchange (fd, request, pass, timeout_ms, answer, error))
    return -1;
  if (answer->status == KEEPER_BUSY) {
    g_set_error_literal (error, KEEPER_ERROR, KEEPER_ERROR_BUSY,
                         "another checkpoint or restore of this guest is going on");
    return -1;
  }
  if (answer->status != KEEPER_OK) {
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_PROTOCOL, "the keeper refuses (status %u)",
                 answer->status);
    return -1;
  }
  return fd_steal (&fd);
}

Keeper *
keeper_attach (const char *directory, GError **error)
{
  KeeperMessage request = keeper_message (KEEPER_HELLO), answer;
  g_auto (AutoFd) fd = open_connection (directory, &request, -1, HELLO_TIMEOUT_MS, &answer, error);

  if (fd < 0)
    return NULL;

  Keeper *keeper = g_new0 (Keeper, 1);
  keeper->directory = g_strdup (directory);
  keeper->keeper = (ProcessId){ answer.keeper_pid, answer.keeper_start };
  keeper->qemu = (ProcessId){ answer.qemu_pid, answer.qemu_start };
  keeper->hello = fd_steal (&fd);
  keeper->starter = -1;
  return keeper;
}

void
keeper_set_starter (Keeper *keeper, int fd)
{
  keeper->starter = fd;
}

void
keeper_free (Keeper *keeper)
{
  if (keeper == NULL)
    return;
  if (keeper->watch != NULL) {
    g_source_destroy (keeper->watch);
    g_source_unref (keeper->watch);
  }
  fd_close (&keeper->hello);
  fd_close (&keeper->starter);
  g_free (keeper->directory);
  g_free (keeper);
}

ProcessId
keeper_qemu (Keeper *keeper)
{
  return keeper->qemu;
}

const char *
keeper_directory (Keeper *keeper)
{
  return keeper->directory;
}

typedef struct {
  GSourceFunc func;
  gpointer user_data;
  GDestroyNotify destroy; /* (nullable) */
} Watch;

static void
watch_free (gpointer data)
{
  Watch *watch = data;

  if (watch->destroy != NULL)
    watch->destroy (watch->user_data);
  g_free (watch);
}

static gboolean
on_keeper_gone (int fd, GIOCondition condition, gpointer user_data)
{
  Watch *watch = user_data;

  watch->func (watch->user_data);
  return G_SOURCE_REMOVE;
}

void
keeper_watch (Keeper *keeper, GSourceFunc func, gpointer user_data, GDestroyNotify destroy)
{
  Watch *watch = g_new (Watch, 1);

  g_return_if_fail (keeper->watch == NULL);
  *watch = (Watch){ func, user_data, destroy };
  /* The keeper says nothing on its own, so the first thing to be read here is the end. */
  keeper->watch = g_unix_fd_source_new (keeper->hello, G_IO_IN | G_IO_HUP | G_IO_ERR);
  g_source_set_callback (keeper->watch, G_SOURCE_FUNC (on_keeper_gone), watch, watch_free);
  g_source_attach (keeper->watch, g_main_context_get_thread_default());
}

/* ---- Leases ---- */

static KeeperLease *
take_lease (Keeper *keeper, const KeeperMessage *request, int pass, GError **error)
{
  ERROR_PREFIX (error, "taking a lease on the guest");
  KeeperMessage answer;
  g_auto (AutoFd) fd =
      open_connection (keeper->directory, request, pass, LEASE_TIMEOUT_MS, &answer, error);

  if (fd < 0)
    return NULL;

  KeeperLease *lease = g_new0 (KeeperLease, 1);
  lease->fd = fd_steal (&fd);
  return lease;
}

KeeperLease *
keeper_lease_checkpoint (Keeper *keeper, int stream, gboolean resume, GError **error)
{
  KeeperMessage request = keeper_message (KEEPER_LEASE_CHECKPOINT);

  request.flags = resume ? KEEPER_FLAG_RESUME : 0;
  return take_lease (keeper, &request, stream, error);
}

KeeperLease *
keeper_lease_restore (Keeper *keeper, GError **error)
{
  KeeperMessage request = keeper_message (KEEPER_LEASE_RESTORE);
  KeeperLease *lease = take_lease (keeper, &request, -1, error);

  if (lease != NULL)
    fd_close (&keeper->starter);
  return lease;
}

/* Says END on @fd and closes it; nothing is said twice. */
static gboolean
end_connection (AutoFd *fd, GError **error)
{
  KeeperMessage request = keeper_message (KEEPER_END), answer;

  if (*fd < 0)
    return TRUE;

  gboolean ok = keeper_exchange (*fd, &request, -1, HELLO_TIMEOUT_MS, &answer, error);
  if (ok && answer.status != KEEPER_OK) {
    g_set_error_literal (error, KEEPER_ERROR, KEEPER_ERROR_PROTOCOL,
                         "the keeper knows of no lease here");
    ok = FALSE;
  }
  fd_close (fd);
  return ok;
}

gboolean
keeper_lease_end (KeeperLease *lease, GError **error)
{
  return end_connection (&lease->fd, error);
}

void
keeper_lease_free (KeeperLease *lease)
{
  if (lease == NULL)
    return;
  fd_close (&lease->fd);
  g_free (lease);
}

/* ---- Guards ---- */

KeeperGuard *
keeper_guard_take (const char *directory, GError **error)
{
  ERROR_PREFIX (error, "having the keeper guard the guest");
  KeeperMessage request = keeper_message (KEEPER_GUARD), answer;
  g_auto (AutoFd) fd = open_connection (directory, &request, -1, LEASE_TIMEOUT_MS, &answer, error);

  if (fd < 0)
    return NULL;

  KeeperGuard *guard = g_new0 (KeeperGuard, 1);
  guard->fd = fd_steal (&fd);
  return guard;
}

gboolean
keeper_guard_is_lost (KeeperGuard *guard)
{
  /* The keeper says nothing on its own. */
  struct pollfd wait = { .fd = guard->fd, .events = POLLIN };

  return poll (&wait, 1, 0) > 0;
}

gboolean
keeper_guard_end (KeeperGuard *guard, GError **error)
{
  return end_connection (&guard->fd, error);
}

void
keeper_guard_free (KeeperGuard *guard)
{
  if (guard == NULL)
    return;
  fd_close (&guard->fd);
  g_free (guard);
}

/* ---- Frozen file systems ---- */

KeeperFreeze *
keeper_freeze_take (const char *directory, GError **error)
{
  ERROR_PREFIX (error, "having the keeper thaw the guest if need be");
  KeeperMessage request = keeper_message (KEEPER_FREEZE), answer;
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) fd = open_connection (directory, &request, -1, HELLO_TIMEOUT_MS, &answer, &cause);

  if (g_error_matches (cause, KEEPER_ERROR, KEEPER_ERROR_BUSY)) {
    g_set_error_literal (error, KEEPER_ERROR, KEEPER_ERROR_BUSY,
                         "an earlier freeze is not over: its guest agent has not answered yet");
    return NULL;
  }
  if (fd < 0) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  KeeperFreeze *freeze = g_new0 (KeeperFreeze, 1);
  freeze->fd = fd_steal (&fd);
  return freeze;
}

gboolean
keeper_freeze_end (KeeperFreeze *freeze, GError **error)
{
  return end_connection (&freeze->fd, error);
}

void
keeper_freeze_free (KeeperFreeze *freeze)
{
  if (freeze == NULL)
    return;
  fd_close (&freeze->fd);
  g_free (freeze);
}
