/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What QEMU sent of a guest with memory of its own is restored into memory that is shared. */
#include <vmckpt/ram/tracked-restore.h>

#include "dirty-log.h"
#include "qemu-stream.h"
#include "store-fixture.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/stream-import.h>
#include <vmckpt/util/fd.h>

#include <sys/mman.h>

#define RAM_BYTES (16 * 1024 * 1024)
#define DEVICES "-device VGA -device virtio-rng-pci -device virtio-serial-pci"

typedef struct {
  Store *store;
  Manifest *manifest; /* of a guest that was stopped after a while */
  GBytes *stream;     /* what it is of */
} Checkpoint;

static void
checkpoint_clear (Checkpoint *checkpoint)
{
  g_clear_pointer (&checkpoint->manifest, manifest_free);
  g_clear_pointer (&checkpoint->store, store_unref);
  g_clear_pointer (&checkpoint->stream, g_bytes_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Checkpoint, checkpoint_clear)

static GBytes *
take_stream (const char *program, const char *machine)
{
  g_auto (QemuProcess) qemu = qemu_process_start (program, machine, DEVICES);

  return qemu_stream_take (&qemu, STREAM_STOPPED);
}

static void
checkpoint_make (Checkpoint *checkpoint, const char *program)
{
  g_auto (AutoFd) file = memfd_create ("stream", MFD_CLOEXEC);
  g_auto (StreamImportReport) report = { 0 };
  g_autoptr (GError) error = NULL;
  gsize len;

  checkpoint->store = fixture_store_new (backend_memory_new());
  checkpoint->stream = take_stream (program, "pc-q35-7.2");
  const guint8 *bytes = g_bytes_get_data (checkpoint->stream, &len);
  g_assert_true (fd_write_full (file, bytes, len, &error));
  g_assert_cmpint (lseek (file, 0, SEEK_SET), ==, 0);
  g_autoptr (StoreWriter) writer = store_writer_begin (checkpoint->store, &error);
  checkpoint->manifest = fixture_manifest_new ("g1", 1);
  stream_import (file, writer, NULL, checkpoint->manifest, &report, NULL, NULL, &error);
  g_assert_no_error (error);
  store_writer_commit (writer, checkpoint->manifest, NULL, &error);
  g_assert_no_error (error);
}

/* A QEMU that waits for devices, with such memory. */
static QemuProcess
start_target (const char *program, GuestRam *ram, const char *more)
{
  g_autofree char *arguments = g_strdup_printf (
      "%s -object memory-backend-file,id=pc.ram,size=16M,share=on,mem-path=/proc/%d/fd/%d,"
      "x-use-canonical-path-for-ramblock-id=off %s -S -incoming defer",
      DEVICES, getpid(), guest_ram_fd (ram), more);

  return qemu_process_start (program, "pc-q35-7.2,memory-backend=pc.ram", arguments);
}

/* RAM of the same contents, block by block. */
static void
assert_same_ram (GBytes *a, GBytes *b)
{
  GBytes *streams[] = { a, b };
  StreamContents contents[2];
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 2; i++) {
    gsize len;
    const guint8 *bytes = g_bytes_get_data (streams[i], &len);
    g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);
    stream_contents_read (&contents[i], reader, &error);
    g_assert_no_error (error);
  }
  g_assert_cmpuint (contents[0].blocks->len, ==, contents[1].blocks->len);
  for (guint i = 0; i < contents[0].blocks->len; i++) {
    const char *name = g_array_index (contents[0].blocks, StreamBlock, i).name;
    GByteArray *first = g_ptr_array_index (contents[0].images, i);
    GByteArray *second =
        g_ptr_array_index (contents[1].images, stream_contents_block (&contents[1], name));
    g_assert_cmpmem (first->data, first->len, second->data, second->len);
  }
  stream_contents_clear (&contents[0]);
  stream_contents_clear (&contents[1]);
}

static gboolean
is_newer (const char *how)
{
  return strstr (how, "newer") != NULL;
}

/* @how: "newer": into a newer QEMU; "opened": which loads before it is known what. */
static void
test_restore (gconstpointer how)
{
  g_autofree char *program = qemu_program();
  g_autofree char *other = is_newer (how) ? qemu_program_newer() : g_strdup (program);
  g_autofree char *reason = NULL;
  g_auto (Checkpoint) checkpoint = { 0 };
  g_autoptr (GError) error = NULL;
  const char *store, *id;

  if (program == NULL || other == NULL)
    return;
  checkpoint_make (&checkpoint, program);
  g_autoptr (GuestRam) ram = guest_ram_new ("pc.ram", RAM_BYTES, &error);
  g_assert_no_error (error);
  g_auto (QemuProcess) target = start_target (other, ram, "");
  {
    g_autoptr (QmpClient) monitor = qemu_process_connect (&target);
    TrackedRestore restore = {
      .monitor = monitor, .ram = ram, .store = checkpoint.store, .manifest = checkpoint.manifest
    };
    guest_ram_attach (ram, process_id_of (target.child.pid), &error);
    g_assert_no_error (error);
    g_assert_true (tracked_restore_check (&restore, &reason, &error));
    g_assert_cmpstr (reason, ==, NULL);
    g_autoptr (RestoreStream) stream = NULL;
    if (strstr (how, "opened") != NULL) {
      stream = restore_stream_open (monitor, "pc.ram", &error);
      g_assert_no_error (error);
      restore.stream = stream;
    }
    tracked_restore_fill (&restore, &error);
    g_assert_no_error (error);
    g_autoptr (GuestTracking) tracking = tracked_restore_protect (&restore, &error);
    g_assert_no_error (error);
    tracked_restore_load (&restore, &error);
    g_assert_no_error (error);
    g_autofree char *status = qmp_query_status (monitor, &error);
    g_assert_cmpstr (status, ==, "paused");
    /* This QEMU has no userfaultfd: nobody knows what it writes, so there is no base. */
    g_assert_false (guest_tracking_base (tracking, &store, &id));
  }
  /* The capability is off again: all of the memory is in what it sends. */
  g_autoptr (GBytes) after = qemu_stream_take (&target, STREAM_STOPPED);
  assert_same_ram (checkpoint.stream, after);
}

/* Where it cannot be done this way, the reason is told before anything is. */
static void
test_check (void)
{
  g_autofree char *program = qemu_program();
  g_auto (Checkpoint) checkpoint = { 0 };
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return;
  checkpoint_make (&checkpoint, program);
  g_autoptr (GuestRam) ram = guest_ram_new ("pc.ram", RAM_BYTES, &error);
  g_auto (QemuProcess) target =
      start_target (program, ram, "-object memory-backend-memfd,id=other,size=4M,share=on");
  g_autoptr (QmpClient) monitor = qemu_process_connect (&target);
  TrackedRestore restore = {
    .monitor = monitor, .ram = ram, .store = checkpoint.store, .manifest = checkpoint.manifest
  };
  g_autofree char *reason = NULL;
  g_assert_true (tracked_restore_check (&restore, &reason, &error));
  g_assert_nonnull (strstr (reason, "other"));

  g_autoptr (GuestRam) small = guest_ram_new ("pc.ram", RAM_BYTES / 2, &error);
  g_autofree char *another = NULL;
  restore.ram = small;
  g_assert_true (tracked_restore_check (&restore, &another, &error));
  g_assert_nonnull (strstr (another, "pc.ram"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/tracked-restore/restore", "", test_restore);
  g_test_add_data_func ("/tracked-restore/restore/newer", "newer", test_restore);
  g_test_add_data_func ("/tracked-restore/restore/opened", "opened", test_restore);
  g_test_add_data_func ("/tracked-restore/restore/opened-newer", "opened newer", test_restore);
  g_test_add_func ("/tracked-restore/check", test_check);
  return g_test_run();
}
