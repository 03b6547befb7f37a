/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shutdown-lock.h"

#include <vmckpt/util/fd.h>

#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define LOGIND "org.freedesktop.login1"
#define LOGIND_PATH "/org/freedesktop/login1"
#define LOGIND_MANAGER "org.freedesktop.login1.Manager"
#define SYSTEMD "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"
#define CALL_MS 10000

struct ShutdownLock {
  char *unit;
  GDBusConnection *bus; /* NULL: not yet, or there is none */
  GCancellable *cancellable;
  guint prepare_signal, job_signal;
  guint running;      /* guests */
  gboolean asking;    /* Inhibit has been called */
  gboolean refused;   /* and was refused: it is not tried again */
  gboolean going;     /* the host is going down */
  gboolean delivered; /* and the unit is stopped, or cannot be */
  char *job;          /* (nullable): systemd's, that stops the unit */
  AutoFd fd;          /* the lock: it is held as long as this is open */
};

static void settle (ShutdownLock *lock);

/* What systemd says of its jobs comes only to those who subscribe. */
static void
subscribe_jobs (ShutdownLock *lock)
{
  g_dbus_connection_call (lock->bus, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "Subscribe", NULL,
                          NULL, G_DBUS_CALL_FLAGS_NONE, CALL_MS, NULL, NULL, NULL);
}

static void
on_inhibited (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) answer = g_dbus_connection_call_with_unix_fd_list_finish (
      G_DBUS_CONNECTION (source), &fds, result, &error);
  ShutdownLock *lock = user_data;
  gint32 index = -1;

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return; /* it is freed */
  lock->asking = FALSE;
  if (answer != NULL) {
    g_variant_get (answer, "(h)", &index);
    lock->fd = fds != NULL ? g_unix_fd_list_get (fds, index, &error) : -1;
  }
  lock->refused = lock->fd < 0;
  if (lock->refused)
    g_message ("a shutdown of this host is not delayed for guests: %s",
               error != NULL ? error->message : "logind gives no lock");
  settle (lock);
}

static void
take (ShutdownLock *lock)
{
  lock->asking = TRUE;
  g_dbus_connection_call_with_unix_fd_list (
      lock->bus, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "Inhibit",
      g_variant_new ("(ssss)", "shutdown", "vmckptd", "virtual machines are saved", "delay"),
      G_VARIANT_TYPE ("(h)"), G_DBUS_CALL_FLAGS_NONE, CALL_MS, NULL, lock->cancellable,
      on_inhibited, lock);
}

/* Holds the lock if there is a reason, and only then. */
static void
settle (ShutdownLock *lock)
{
  gboolean wanted = lock->running > 0 && !lock->delivered;

  if (!wanted)
    fd_close (&lock->fd);
  else if (lock->bus != NULL && lock->fd < 0 && !lock->asking && !lock->refused && !lock->going)
    take (lock);
}

static void
on_stop_unit (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) answer =
      g_dbus_connection_call_finish (G_DBUS_CONNECTION (source), result, &error);
  ShutdownLock *lock = user_data;

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  if (answer != NULL) {
    g_free (lock->job);
    g_variant_get (answer, "(o)", &lock->job);
    return;
  }
  /* Nobody saves guests here, so there is nothing to wait for. */
  g_message ("the host goes down, and %s cannot be stopped: %s", lock->unit, error->message);
  lock->delivered = TRUE;
  settle (lock);
}

static void
on_prepare_for_shutdown (GDBusConnection *bus, const char *sender, const char *path,
                         const char *interface, const char *signal, GVariant *parameters,
                         gpointer user_data)
{
  ShutdownLock *lock = user_data;
  gboolean begins = FALSE;

  if (!g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(b)")))
    return;
  g_variant_get (parameters, "(b)", &begins);
  if (begins == lock->going)
    return;
  lock->going = begins;
  lock->delivered = FALSE;
  if (begins && lock->fd >= 0) {
    g_message ("the host goes down: stopping %s first", lock->unit);
    g_dbus_connection_call (lock->bus, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "StopUnit",
                            g_variant_new ("(ss)", lock->unit, "replace"), G_VARIANT_TYPE ("(o)"),
                            G_DBUS_CALL_FLAGS_NONE, CALL_MS, lock->cancellable, on_stop_unit, lock);
  }
  settle (lock);
}

static void
on_job_removed (GDBusConnection *bus, const char *sender, const char *path, const char *interface,
                const char *signal, GVariant *parameters, gpointer user_data)
{
  ShutdownLock *lock = user_data;
  const char *job = NULL, *unit = NULL;

  if (!lock->going || !g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(uoss)")))
    return;
  /* By the unit's name: a job may be over before the answer that tells its path. */
  g_variant_get (parameters, "(u&o&s&s)", NULL, &job, &unit, NULL);
  if (g_strcmp0 (job, lock->job) != 0 && g_strcmp0 (unit, lock->unit) != 0)
    return;
  lock->delivered = TRUE;
  settle (lock);
}

static void
on_bus (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDBusConnection) bus = g_dbus_connection_new_for_address_finish (result, &error);
  ShutdownLock *lock = user_data;

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  if (bus == NULL) {
    g_message ("a shutdown of this host is not delayed for guests: %s", error->message);
    return;
  }
  lock->bus = g_steal_pointer (&bus);
  lock->prepare_signal = g_dbus_connection_signal_subscribe (
      lock->bus, LOGIND, LOGIND_MANAGER, "PrepareForShutdown", LOGIND_PATH, NULL,
      G_DBUS_SIGNAL_FLAGS_NONE, on_prepare_for_shutdown, lock, NULL);
  lock->job_signal = g_dbus_connection_signal_subscribe (
      lock->bus, SYSTEMD, SYSTEMD_MANAGER, "JobRemoved", SYSTEMD_PATH, NULL,
      G_DBUS_SIGNAL_FLAGS_NONE, on_job_removed, lock, NULL);
  subscribe_jobs (lock);
  settle (lock);
}

ShutdownLock *
shutdown_lock_new (const char *unit)
{
  ShutdownLock *lock = g_new0 (ShutdownLock, 1);
  g_autofree char *address = g_dbus_address_get_for_bus_sync (G_BUS_TYPE_SYSTEM, NULL, NULL);

  lock->unit = g_strdup (unit);
  lock->cancellable = g_cancellable_new();
  lock->fd = -1;
  /* A connection of its own: no other part's, and the daemon does not end with the bus. */
  g_dbus_connection_new_for_address (address,
                                     G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                         G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                     NULL, lock->cancellable, on_bus, lock);
  return lock;
}

void
shutdown_lock_free (ShutdownLock *lock)
{
  if (lock == NULL)
    return;
  g_cancellable_cancel (lock->cancellable);
  if (lock->bus != NULL) {
    g_dbus_connection_signal_unsubscribe (lock->bus, lock->prepare_signal);
    g_dbus_connection_signal_unsubscribe (lock->bus, lock->job_signal);
  }
  fd_close (&lock->fd);
  g_clear_object (&lock->bus);
  g_object_unref (lock->cancellable);
  g_free (lock->job);
  g_free (lock->unit);
  g_free (lock);
}

void
shutdown_lock_set_guests (ShutdownLock *lock, guint running)
{
  lock->running = running;
  settle (lock);
}

gboolean
shutdown_lock_is_held (const ShutdownLock *lock)
{
  return lock->fd >= 0;
}
