/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bridge-record.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static void
test_record (void)
{
  g_autofree char *directory = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (directory, LIBVIRT_BRIDGE_RECORD, NULL);
  LibvirtBridge wrote = { .bridge = process_id_of (getpid()),
                          .qemu = { 17, 18 },
                          .uri = (char *)"test:///default",
                          .uuid = (char *)"u",
                          .agent = TRUE };
  g_auto (LibvirtBridge) found = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_false (libvirt_bridge_find (directory, &found, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_true (bridge_record_write (directory, &wrote, &error));
  g_assert_true (libvirt_bridge_find (directory, &found, &error));
  g_assert_no_error (error);
  g_assert_cmpint (found.bridge.pid, ==, getpid());
  g_assert_cmpint (found.qemu.pid, ==, 17);
  g_assert_cmpuint (found.qemu.start_ticks, ==, 18);
  g_assert_cmpstr (found.uri, ==, "test:///default");
  g_assert_true (found.agent);
  g_assert_false (found.console);

  /* Of one that has ended, of another boot, garbage. */
  wrote.bridge.start_ticks++;
  g_assert_true (bridge_record_write (directory, &wrote, &error));
  libvirt_bridge_clear (&found);
  g_assert_false (libvirt_bridge_find (directory, &found, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_true (g_file_set_contents (path, "{\"bridge\":[[[[[[[", -1, NULL));
  g_assert_false (libvirt_bridge_find (directory, &found, &error));
  g_assert_nonnull (error);
  bridge_record_remove (directory);
  g_assert_cmpint (g_rmdir (directory), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bridge-record/record", test_record);
  return g_test_run();
}
