/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Delaying a shutdown, with a logind and a systemd of the test's own on a bus of its own. */
#include "shutdown-lock.h"

#include <vmckpt/util/fd.h>

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <glib-unix.h>
#include <poll.h>

#define UNIT "guests.service"
#define JOB "/org/freedesktop/systemd1/job/7"
#define PATIENCE_S 60

static const char interfaces[] =
    "<node>"
    "<interface name='org.freedesktop.login1.Manager'>"
    "<method name='Inhibit'><arg type='s' direction='in'/><arg type='s' direction='in'/>"
    "<arg type='s' direction='in'/><arg type='s' direction='in'/><arg type='h' "
    "direction='out'/></method>"
    "</interface>"
    "<interface name='org.freedesktop.systemd1.Manager'>"
    "<method name='Subscribe'/>"
    "<method name='StopUnit'><arg type='s' direction='in'/><arg type='s' direction='in'/>"
    "<arg type='o' direction='out'/></method>"
    "</interface>"
    "</node>";

typedef struct {
  GTestDBus *bus;
  GDBusConnection *system; /* of logind and systemd */
  GDBusNodeInfo *info;
  gboolean refuses, no_such_unit;
  guint inhibits, stops;
  guint tick;     /* wakes the loop, since a pipe that hangs up does not */
  AutoFd watched; /* hangs up when the lock is given up */
} Fixture;

/* TRUE as long as somebody holds the lock. */
static gboolean
is_locked (const Fixture *fixture)
{
  struct pollfd look = { .fd = fixture->watched };

  return fixture->watched >= 0 && poll (&look, 1, 0) == 0;
}

static void
answer_inhibit (Fixture *fixture, GVariant *parameters, GDBusMethodInvocation *invocation)
{
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new();
  const char *what, *mode;
  int ends[2];

  fixture->inhibits++;
  g_variant_get (parameters, "(&s&s&s&s)", &what, NULL, NULL, &mode);
  g_assert_cmpstr (what, ==, "shutdown");
  g_assert_cmpstr (mode, ==, "delay");
  if (fixture->refuses) {
    g_dbus_method_invocation_return_dbus_error (invocation,
                                                "org.freedesktop.DBus.Error.AccessDenied", "no");
    return;
  }
  g_assert_true (g_unix_open_pipe (ends, FD_CLOEXEC, NULL));
  fd_close (&fixture->watched);
  fixture->watched = ends[0];
  g_unix_fd_list_append (fds, ends[1], NULL);
  fd_close (&ends[1]);
  g_dbus_method_invocation_return_value_with_unix_fd_list (invocation, g_variant_new ("(h)", 0),
                                                           fds);
}

static void
on_call (GDBusConnection *connection, const char *sender, const char *path, const char *interface,
         const char *method, GVariant *parameters, GDBusMethodInvocation *invocation,
         gpointer user_data)
{
  Fixture *fixture = user_data;
  const char *unit;

  if (g_str_equal (method, "Inhibit")) {
    answer_inhibit (fixture, parameters, invocation);
    return;
  }
  if (g_str_equal (method, "Subscribe")) {
    g_dbus_method_invocation_return_value (invocation, NULL);
    return;
  }
  fixture->stops++;
  g_variant_get (parameters, "(&s&s)", &unit, NULL);
  g_assert_cmpstr (unit, ==, UNIT);
  if (fixture->no_such_unit)
    g_dbus_method_invocation_return_dbus_error (invocation, "org.freedesktop.systemd1.NoSuchUnit",
                                                "not loaded");
  else
    g_dbus_method_invocation_return_value (invocation, g_variant_new ("(o)", JOB));
}

static void
serve (Fixture *fixture, const char *name, const char *path, const char *interface)
{
  static const GDBusInterfaceVTable calls = { .method_call = on_call };
  g_autoptr (GVariant) owned = NULL;

  g_assert_cmpuint (g_dbus_connection_register_object (
                        fixture->system, path,
                        g_dbus_node_info_lookup_interface (fixture->info, interface), &calls,
                        fixture, NULL, NULL),
                    >, 0);
  owned = g_dbus_connection_call_sync (
      fixture->system, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
      "RequestName", g_variant_new ("(su)", name, 4), NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, NULL);
  g_assert_nonnull (owned);
}

static gboolean
on_tick (gpointer user_data)
{
  return G_SOURCE_CONTINUE;
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->watched = -1;
  fixture->tick = g_timeout_add (20, on_tick, NULL);
  fixture->bus = g_test_dbus_new (G_TEST_DBUS_NONE);
  g_test_dbus_up (fixture->bus);
  const char *address = g_test_dbus_get_bus_address (fixture->bus);
  g_setenv ("DBUS_SYSTEM_BUS_ADDRESS", address, TRUE);
  fixture->info = g_dbus_node_info_new_for_xml (interfaces, &error);
  g_assert_no_error (error);
  fixture->system =
      g_dbus_connection_new_for_address_sync (address,
                                              G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                  G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                              NULL, NULL, &error);
  g_assert_no_error (error);
  serve (fixture, "org.freedesktop.login1", "/org/freedesktop/login1",
         "org.freedesktop.login1.Manager");
  serve (fixture, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
         "org.freedesktop.systemd1.Manager");
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_source_remove (fixture->tick);
  fd_close (&fixture->watched);
  g_clear_object (&fixture->system);
  g_dbus_node_info_unref (fixture->info);
  g_test_dbus_down (fixture->bus);
  g_object_unref (fixture->bus);
}

static gboolean
on_late (gpointer user_data)
{
  g_error ("what was waited for did not come");
  return G_SOURCE_REMOVE;
}

#define WAIT_UNTIL(condition)                                                                      \
  G_STMT_START                                                                                     \
  {                                                                                                \
    guint late = g_timeout_add_seconds (PATIENCE_S, on_late, NULL);                                \
    while (!(condition))                                                                           \
      g_main_context_iteration (NULL, TRUE);                                                       \
    g_source_remove (late);                                                                        \
  }                                                                                                \
  G_STMT_END

static void
announce (Fixture *fixture, gboolean begins)
{
  g_assert_true (g_dbus_connection_emit_signal (
      fixture->system, NULL, "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
      "PrepareForShutdown", g_variant_new ("(b)", begins), NULL));
}

static void
end_job (Fixture *fixture, const char *job, const char *unit)
{
  g_assert_true (g_dbus_connection_emit_signal (
      fixture->system, NULL, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
      "JobRemoved", g_variant_new ("(uoss)", 7u, job, unit, "done"), NULL));
}

static void
test_held_while_guests_run (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ShutdownLock) lock = shutdown_lock_new (UNIT);

  shutdown_lock_set_guests (lock, 2);
  WAIT_UNTIL (shutdown_lock_is_held (lock));
  g_assert_true (is_locked (fixture));
  shutdown_lock_set_guests (lock, 1);
  g_assert_true (is_locked (fixture));
  shutdown_lock_set_guests (lock, 0);
  WAIT_UNTIL (!is_locked (fixture));
  shutdown_lock_set_guests (lock, 1);
  WAIT_UNTIL (shutdown_lock_is_held (lock));
  g_assert_cmpuint (fixture->inhibits, ==, 2);
}

static void
test_unit_is_stopped_first (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ShutdownLock) lock = shutdown_lock_new (UNIT);

  shutdown_lock_set_guests (lock, 1);
  WAIT_UNTIL (shutdown_lock_is_held (lock));
  announce (fixture, TRUE);
  WAIT_UNTIL (fixture->stops == 1);
  /* Another unit's end is not it. */
  end_job (fixture, "/org/freedesktop/systemd1/job/6", "other.service");
  announce (fixture, TRUE);
  g_assert_true (is_locked (fixture));
  end_job (fixture, JOB, UNIT);
  WAIT_UNTIL (!is_locked (fixture));
  g_assert_cmpuint (fixture->stops, ==, 1);
  /* Guests that are still there, as they may be, do not hold it up again. */
  shutdown_lock_set_guests (lock, 1);
  g_assert_false (shutdown_lock_is_held (lock));
  /* The shutdown was called off. */
  announce (fixture, FALSE);
  WAIT_UNTIL (is_locked (fixture));
}

static void
test_given_up_with_the_last_guest (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ShutdownLock) lock = shutdown_lock_new (UNIT);

  shutdown_lock_set_guests (lock, 1);
  WAIT_UNTIL (shutdown_lock_is_held (lock));
  announce (fixture, TRUE);
  WAIT_UNTIL (fixture->stops == 1);
  shutdown_lock_set_guests (lock, 0);
  WAIT_UNTIL (!is_locked (fixture));
}

static void
test_nobody_saves_guests (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ShutdownLock) lock = shutdown_lock_new (UNIT);

  fixture->no_such_unit = TRUE;
  shutdown_lock_set_guests (lock, 1);
  WAIT_UNTIL (shutdown_lock_is_held (lock));
  announce (fixture, TRUE);
  WAIT_UNTIL (!shutdown_lock_is_held (lock));
  g_assert_cmpuint (fixture->stops, ==, 1);
}

static void
test_refused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ShutdownLock) lock = shutdown_lock_new (UNIT);

  fixture->refuses = TRUE;
  shutdown_lock_set_guests (lock, 1);
  WAIT_UNTIL (fixture->inhibits == 1);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  announce (fixture, TRUE);
  shutdown_lock_set_guests (lock, 2);
  g_assert_false (shutdown_lock_is_held (lock));
  g_assert_cmpuint (fixture->inhibits, ==, 1);
}

static void
test_no_bus (void)
{
  g_setenv ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", TRUE);
  g_autoptr (ShutdownLock) lock = shutdown_lock_new (UNIT);

  shutdown_lock_set_guests (lock, 1);
  for (int i = 0; i < 20; i++) {
    g_usleep (1000);
    while (g_main_context_iteration (NULL, FALSE))
      ;
  }
  g_assert_false (shutdown_lock_is_held (lock));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/shutdown-lock/no-bus", test_no_bus);
#define ADD(name, func) g_test_add ("/shutdown-lock/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("held-while-guests-run", test_held_while_guests_run);
  ADD ("unit-is-stopped-first", test_unit_is_stopped_first);
  ADD ("given-up-with-the-last-guest", test_given_up_with_the_last_guest);
  ADD ("nobody-saves-guests", test_nobody_saves_guests);
  ADD ("refused", test_refused);
#undef ADD
  return g_test_run();
}
