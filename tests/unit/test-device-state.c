/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real guests, stopped for the sake of their devices, and running again whatever happened. */
#include "device-state.h"

#include "qemu-stream.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/fd.h>

#define RAM_BYTES (16 * 1024 * 1024)

typedef struct {
  AutoFd ram;
  QemuProcess process;
  QmpClient *monitor;
} Guest;

static void
guest_clear (Guest *guest)
{
  g_clear_pointer (&guest->monitor, qmp_client_unref);
  if (guest->process.dir != NULL)
    qemu_process_end (&guest->process);
  fd_close (&guest->ram);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Guest, guest_clear)

/* FALSE, and the test is skipped, if there is no such QEMU. */
static gboolean
guest_start (Guest *guest, gboolean newer, gboolean shared)
{
  g_autofree char *program = newer ? qemu_program_newer() : qemu_program();

  if (program == NULL)
    return FALSE;
  guest->ram = memfd_create ("ram", 0);
  g_assert_no_errno (ftruncate (guest->ram, RAM_BYTES));
  g_autofree char *memory = g_strdup_printf (
      "-object memory-backend-file,id=pc.ram,size=16M,share=%s,mem-path=/proc/%d/fd/%d",
      shared ? "on" : "off", getpid(), guest->ram);
  guest->process = qemu_process_start (program, "q35,memory-backend=pc.ram", memory);
  guest->monitor = qemu_process_connect (&guest->process);
  return TRUE;
}

/* `cont` is taken at once, and the guest runs. */
static void
assert_runs_again (Guest *guest)
{
  g_autoptr (GError) error = NULL;

  qmp_cont (guest->monitor, &error);
  g_assert_no_error (error);
  g_autofree char *status = qmp_query_status (guest->monitor, &error);
  g_assert_cmpstr (status, ==, "running");
}

/* Everything but the shared memory came, and whole. */
static void
assert_complete (const GByteArray *bytes, gboolean shared)
{
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes->data, bytes->len);
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;

  stream_contents_read (&contents, reader, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < contents.blocks->len; i++) {
    gboolean left_out =
        shared && strcmp (g_array_index (contents.blocks, StreamBlock, i).name, "pc.ram") == 0;
    GByteArray *seen = g_ptr_array_index (contents.seen, i);
    for (guint page = 0; page < seen->len; page++)
      g_assert_cmpuint (seen->data[page], ==, !left_out);
  }
  g_assert_cmpuint (contents.device_state->len, >, 0);
}

static void
save_once (Guest *guest, gboolean shared)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (DeviceState) state = device_state_new (guest->monitor, &error);

  device_state_prepare (state, &error);
  g_assert_no_error (error);
  gint64 began_us = g_get_monotonic_time();
  g_assert_true (qmp_stop (guest->monitor, &error));
  device_state_begin (state, &error);
  g_assert_no_error (error);
  device_state_wait (state, NULL, &error);
  g_assert_no_error (error);
  assert_runs_again (guest);
  g_test_message ("%" G_GINT64_FORMAT " us for %u bytes", g_get_monotonic_time() - began_us,
                  device_state_bytes (state)->len);
  device_state_finish (state, &error);
  g_assert_no_error (error);
  assert_complete (device_state_bytes (state), shared);
}

static void
test_again_and_again (gconstpointer newer)
{
  g_auto (Guest) guest = { .ram = -1 };

  if (!guest_start (&guest, newer != NULL, TRUE))
    return;
  for (int i = 0; i < 20; i++)
    save_once (&guest, TRUE);
}

/* QEMU is given up in the middle, is as before, and saves its devices the next time; an ordinary
 * migration then leaves nothing out. */
static void
test_abandon (gconstpointer newer)
{
  g_auto (Guest) guest = { .ram = -1 };
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;

  if (!guest_start (&guest, newer != NULL, FALSE))
    return;
  for (int i = 0; i < 3; i++) {
    g_autoptr (DeviceState) state = device_state_new (guest.monitor, &error);
    device_state_prepare (state, &error);
    g_assert_no_error (error);
    /* So slow that it cannot be over before it is cancelled. */
    g_assert_true (qmp_migrate_set_bandwidth (guest.monitor, 4096, &error));
    g_assert_true (qmp_stop (guest.monitor, &error));
    device_state_begin (state, &error);
    g_assert_no_error (error);
    g_cancellable_cancel (cancellable);
    g_assert_false (device_state_wait (state, cancellable, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_clear_error (&error);
    device_state_abandon (state, &error);
    g_assert_no_error (error);
    assert_runs_again (&guest);
  }
  save_once (&guest, FALSE);
  g_clear_pointer (&guest.monitor, qmp_client_unref); /* one client at a time */
  g_autoptr (GBytes) stream = qemu_stream_take (&guest.process, STREAM_STOPPED);
  g_assert_nonnull (stream);
}

/* Before QEMU was told to send there is nothing to cancel. */
static void
test_abandon_early (gconstpointer newer)
{
  g_auto (Guest) guest = { .ram = -1 };
  g_autoptr (GError) error = NULL;

  if (!guest_start (&guest, newer != NULL, TRUE))
    return;
  for (int prepared = 0; prepared < 2; prepared++) {
    g_autoptr (DeviceState) state = device_state_new (guest.monitor, &error);
    if (prepared)
      g_assert_true (device_state_prepare (state, &error));
    device_state_abandon (state, &error);
    g_assert_no_error (error);
  }
  save_once (&guest, TRUE);
}

/* QEMU goes away before it sends anything. */
static void
test_gone (void)
{
  g_auto (Guest) guest = { .ram = -1 };
  g_autoptr (GError) error = NULL;

  if (!guest_start (&guest, FALSE, TRUE))
    return;
  g_autoptr (DeviceState) state = device_state_new (guest.monitor, &error);
  g_assert_true (device_state_prepare (state, &error));
  g_assert_true (qmp_quit (guest.monitor, &error));
  /* The pipe ends with it: what came is no stream, and nobody can be asked. */
  g_assert_true (device_state_wait (state, NULL, &error));
  g_assert_cmpuint (device_state_bytes (state)->len, ==, 0);
  g_assert_false (device_state_abandon (state, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_LOST);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/device-state/again-and-again", NULL, test_again_and_again);
  g_test_add_data_func ("/device-state/again-and-again/newer", "", test_again_and_again);
  g_test_add_data_func ("/device-state/abandon", NULL, test_abandon);
  g_test_add_data_func ("/device-state/abandon/newer", "", test_abandon);
  g_test_add_data_func ("/device-state/abandon-early", NULL, test_abandon_early);
  g_test_add_func ("/device-state/gone", test_gone);
  return g_test_run();
}
