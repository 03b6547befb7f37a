/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tiny-guest.h"

#include <vmckpt/qmp/commands.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>

/* A guest is started stopped, runs, is found again by its directory, and ends. */
static void
test_life (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  QemuGuest again = { 0 };
  KeeperState state;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  tiny_guest_start (&guest, FALSE);
  g_autofree char *status = qmp_query_status (guest.qemu.monitor, &error);
  g_assert_cmpstr (status, ==, "prelaunch");
  qmp_cont (guest.qemu.monitor, &error);
  g_assert_no_error (error);
  tiny_guest_wait_output (&guest, 1000);

  qemu_guest_clear (&guest.qemu);
  tiny_guest_wait_output (&guest, 1000);
  qemu_attach (guest.directory, GUEST_DRIVER_QEMU, &again, &error);
  g_assert_no_error (error);
  g_autofree char *after = qmp_query_status (again.monitor, &error);
  g_assert_cmpstr (after, ==, "running");

  g_autoptr (GuestSpec) spec = qemu_read_spec (guest.directory, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (spec->uuid, ==, guest.spec->uuid);
  g_assert_cmpstr (spec->machine, ==, guest.spec->machine);

  qemu_end (guest.directory, again.monitor, &error);
  g_assert_no_error (error);
  qemu_guest_clear (&again);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_true (state.exited);
  g_autofree char *how = keeper_state_describe (&state);
  g_assert_cmpstr (how, ==, "powered off");
  qemu_end (guest.directory, NULL, &error);
  g_assert_no_error (error);

  g_assert_false (qemu_attach (guest.directory, GUEST_DRIVER_QEMU, &again, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, "powered off"));
}

/* A QEMU that does not start leaves no directory, and its own words are in the error. */
static void
test_bad_arguments (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_strfreev (guest.spec->extra);
  guest.spec->extra = g_strsplit ("-device|no-such-device", "|", 0);
  const QemuLaunch launch = { 0 };
  g_assert_false (qemu_start (guest.spec, guest.directory, &launch, &guest.qemu, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "no-such-device"));
  g_assert_false (g_file_test (guest.directory, G_FILE_TEST_EXISTS));
}

/* What a killed daemon left of a start makes way. */
static void
test_remnant (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_autofree char *left = tiny_guest_file (&guest, GUEST_FILE_MONITOR);
  g_assert_no_errno (g_mkdir (guest.directory, 0700));
  g_assert_true (g_file_set_contents (left, "", 0, NULL));
  tiny_guest_start (&guest, FALSE);
}

/* A directory whose sockets could not be named is refused before anything is made. */
static void
test_long_directory (void)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("tiny");
  g_autofree char *tail = g_strnfill (100, 'd');
  g_autofree char *directory = g_build_filename (g_get_tmp_dir(), tail, NULL);
  g_autoptr (GError) error = NULL;
  QemuGuest guest;

  const QemuLaunch launch = { 0 };
  g_assert_false (qemu_start (spec, directory, &launch, &guest, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
  g_assert_false (g_file_test (directory, G_FILE_TEST_EXISTS));
}

/* A QEMU that was stopped with SIGSTOP answers nothing: attaching says so and does not touch it;
 * ending it works. */
static void
test_unresponsive (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  QemuGuest again = { 0 };
  ProcessId qemu;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  tiny_guest_start (&guest, TRUE);
  qemu = keeper_qemu (guest.qemu.keeper);
  qemu_guest_clear (&guest.qemu);
  g_assert_true (process_id_signal (qemu, SIGSTOP));
  g_assert_false (qemu_attach (guest.directory, GUEST_DRIVER_QEMU, &again, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "does not answer"));
  g_assert_true (process_id_alive (qemu));
  g_clear_error (&error);
  qemu_end (guest.directory, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (process_id_alive (qemu));
}

/* A killed keeper is replaced; a guest that runs goes on, one that was paused stays paused. */
static void
test_adopt (gconstpointer paused)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  tiny_guest_start (&guest, TRUE);
  if (paused != NULL)
    qmp_stop (guest.qemu.monitor, &error);
  g_assert_no_error (error);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  g_assert_true (process_id_signal (state.keeper, SIGKILL));
  g_assert_true (process_id_wait_gone (state.keeper, 10000));
  qemu_guest_clear (&guest.qemu);
  g_assert_true (process_id_alive (state.qemu));

  qemu_attach (guest.directory, GUEST_DRIVER_QEMU, &guest.qemu, &error);
  g_assert_no_error (error);
  /* A lease is granted when the new keeper has looked after the guest. */
  g_autoptr (KeeperLease) lease = keeper_lease_checkpoint (guest.qemu.keeper, -1, TRUE, &error);
  g_assert_no_error (error);
  keeper_lease_end (lease, &error);
  g_assert_no_error (error);
  g_autofree char *status = qmp_query_status (guest.qemu.monitor, &error);
  g_assert_cmpstr (status, ==, paused != NULL ? "paused" : "running");
  if (paused == NULL)
    tiny_guest_wait_output (&guest, 1000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qemu-start/life", test_life);
  g_test_add_func ("/qemu-start/bad-arguments", test_bad_arguments);
  g_test_add_func ("/qemu-start/remnant", test_remnant);
  g_test_add_func ("/qemu-start/long-directory", test_long_directory);
  g_test_add_func ("/qemu-start/unresponsive", test_unresponsive);
  g_test_add_data_func ("/qemu-start/adopt-running", NULL, test_adopt);
  g_test_add_data_func ("/qemu-start/adopt-paused", "paused", test_adopt);
  return g_test_run();
}
