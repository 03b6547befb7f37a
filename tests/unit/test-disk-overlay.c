/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An overlay on an export, and the export swapped for a file, in QEMU 7.2 and a newer one. */
#include "qemu-process.h"

#include <vmckpt/disk/disk-find.h>
#include <vmckpt/disk/disk-overlay.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>

#define SIZE (64 * 1024 * 1024)

typedef struct {
  char *dir, *overlay, *base, *socket;
  GSubprocess *server;
  QemuProcess qemu;
  QmpClient *monitor;
} Fixture;

static char *
in_directory (Fixture *fixture, const char *name)
{
  return g_build_filename (fixture->dir, name, NULL);
}

static void
add_node (Fixture *fixture, JsonObject *options)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) answer =
      qmp_client_execute (fixture->monitor, "blockdev-add", options, -1, 0, NULL, &error);

  g_assert_no_error (error);
}

/* The overlay on @backing, as a guest's command line would have it. */
static JsonObject *
overlay_options (const char *backing)
{
  JsonObject *options = json_object_new();

  json_object_set_string_member (options, "driver", "qcow2");
  json_object_set_string_member (options, "node-name", "disk0");
  json_object_set_string_member (options, "file", "disk0-file");
  json_object_set_string_member (options, "discard", "unmap");
  json_object_set_string_member (options, "backing", backing);
  return options;
}

static JsonObject *
file_options (const char *name, const char *path, gboolean readonly)
{
  JsonObject *options = json_object_new();

  json_object_set_string_member (options, "driver", "file");
  json_object_set_string_member (options, "node-name", name);
  json_object_set_string_member (options, "filename", path);
  json_object_set_boolean_member (options, "read-only", readonly);
  return options;
}

static JsonObject *
export_options (const char *socket)
{
  JsonObject *options = json_object_new();
  JsonObject *server = json_object_new();

  json_object_set_string_member (server, "type", "unix");
  json_object_set_string_member (server, "path", socket);
  json_object_set_string_member (options, "driver", "nbd");
  json_object_set_string_member (options, "node-name", "disk0-export");
  json_object_set_boolean_member (options, "read-only", TRUE);
  json_object_set_object_member (options, "server", server);
  return options;
}

/* What the disk is to be. */
static JsonArray *
wanted_nodes (Fixture *fixture)
{
  JsonArray *nodes = json_array_new();
  JsonObject *base = json_object_new();

  json_object_set_string_member (base, "driver", "raw");
  json_object_set_string_member (base, "node-name", "disk0-backing1");
  json_object_set_string_member (base, "file", "disk0-backing1-file");
  json_object_set_boolean_member (base, "read-only", TRUE);
  json_array_add_object_element (nodes, file_options ("disk0-backing1-file", fixture->base, TRUE));
  json_array_add_object_element (nodes, base);
  json_array_add_object_element (nodes, file_options ("disk0-file", fixture->overlay, FALSE));
  json_array_add_object_element (nodes, overlay_options ("disk0-backing1"));
  return nodes;
}

static void
add_overlay (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (disk_overlay_create (fixture->overlay, fixture->base, SIZE, &error));
  add_node (fixture, export_options (fixture->socket));
  add_node (fixture, file_options ("disk0-file", fixture->overlay, FALSE));
  add_node (fixture, overlay_options ("disk0-export"));
}

/* A server, and the QEMU of @which. FALSE: it is not installed here. */
static gboolean
begin (Fixture *fixture, gconstpointer which)
{
  g_autofree char *program = which != NULL ? qemu_program_newer() : qemu_program();
  g_autofree char *size = g_strdup_printf ("size=%d", SIZE);
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return FALSE;
  fixture->server = g_subprocess_new (G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error, "nbdkit",
                                      "--foreground", "--exit-with-parent", "--read-only", "-U",
                                      fixture->socket, "pattern", size, NULL);
  g_assert_no_error (error);
  while (!g_file_test (fixture->socket, G_FILE_TEST_EXISTS))
    g_usleep (1000);
  fixture->qemu = qemu_process_start (program, "none", "");
  fixture->monitor = qemu_process_connect (&fixture->qemu);
  add_overlay (fixture);
  return TRUE;
}

static void
set_up (Fixture *fixture, gconstpointer which)
{
  fixture->dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  fixture->overlay = in_directory (fixture, "disk0.qcow2");
  fixture->base = in_directory (fixture, "disk0.raw");
  fixture->socket = in_directory (fixture, "nbd");
  g_assert_true (g_file_set_contents (fixture->base, "", 0, NULL));
  g_assert_cmpint (truncate (fixture->base, SIZE), ==, 0);
}

static void
tear_down (Fixture *fixture, gconstpointer which)
{
  g_clear_pointer (&fixture->monitor, qmp_client_unref);
  qemu_process_end (&fixture->qemu);
  if (fixture->server != NULL) {
    g_subprocess_force_exit (fixture->server);
    g_subprocess_wait (fixture->server, NULL, NULL);
    g_object_unref (fixture->server);
  }
  g_unlink (fixture->overlay);
  g_unlink (fixture->base);
  g_unlink (fixture->socket);
  g_assert_cmpint (g_rmdir (fixture->dir), ==, 0);
  g_free (fixture->dir);
  g_free (fixture->overlay);
  g_free (fixture->base);
  g_free (fixture->socket);
}

static gboolean
is_on_export (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  gboolean on_export = FALSE;

  g_assert_true (disk_overlay_is_on_export (fixture->monitor, "disk0", &on_export, &error));
  return on_export;
}

/* What QEMU has below disk0. */
static char *
backing_of_disk (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) answer =
      qmp_client_execute (fixture->monitor, "query-named-block-nodes", NULL, -1, 0, NULL, &error);
  JsonArray *nodes = json_node_get_array (answer);

  for (guint i = 0; i < json_array_get_length (nodes); i++) {
    JsonObject *node = json_array_get_object_element (nodes, i);
    if (g_str_equal (json_get_string_or (node, "node-name", ""), "disk0"))
      return g_strdup (json_get_string_or (node, "backing_file", NULL));
  }
  return NULL;
}

static void
assert_swapped (Fixture *fixture)
{
  g_autofree char *backing = backing_of_disk (fixture);

  g_assert_nonnull (backing);
  g_assert_nonnull (strstr (backing, fixture->base));
  g_assert_false (is_on_export (fixture));
}

static void
test_swap (Fixture *fixture, gconstpointer which)
{
  g_autoptr (JsonArray) nodes = wanted_nodes (fixture);
  g_autoptr (GError) error = NULL;

  if (!begin (fixture, which))
    return;
  g_assert_true (is_on_export (fixture));
  g_assert_true (disk_overlay_swap (fixture->monitor, nodes, &error));
  assert_swapped (fixture);
  /* Once more changes nothing. */
  g_assert_true (disk_overlay_swap (fixture->monitor, nodes, &error));
  assert_swapped (fixture);
}

/* Whoever died in it, with the file a node already: the next one ends it. */
static void
test_begun (Fixture *fixture, gconstpointer which)
{
  g_autoptr (JsonArray) nodes = wanted_nodes (fixture);
  g_autoptr (GError) error = NULL;

  if (!begin (fixture, which))
    return;
  add_node (fixture, json_object_ref (json_array_get_object_element (nodes, 0)));
  g_assert_true (is_on_export (fixture));
  g_assert_true (disk_overlay_swap (fixture->monitor, nodes, &error));
  assert_swapped (fixture);
}

/* What the guest writes is still collected: the next checkpoint misses nothing. */
static void
test_bitmap (Fixture *fixture, gconstpointer which)
{
  g_autoptr (JsonArray) nodes = wanted_nodes (fixture);
  JsonObject *arguments = json_object_new();
  g_autoptr (GError) error = NULL;

  if (!begin (fixture, which))
    return;
  json_object_set_string_member (arguments, "node", "disk0");
  json_object_set_string_member (arguments, "name", DISK_BITMAP_COLLECT);
  g_autoptr (JsonNode) added = qmp_client_execute (fixture->monitor, "block-dirty-bitmap-add",
                                                   arguments, -1, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (disk_overlay_swap (fixture->monitor, nodes, &error));
  JsonObject *again = json_object_new();
  json_object_set_string_member (again, "node", "disk0");
  json_object_set_string_member (again, "name", DISK_BITMAP_COLLECT);
  g_autoptr (JsonNode) cleared =
      qmp_client_execute (fixture->monitor, "block-dirty-bitmap-clear", again, -1, 0, NULL, &error);
  g_assert_no_error (error);
}

#define ADD(name, func)                                                                            \
  g_test_add ("/disk-overlay/" name "/7.2", Fixture, NULL, set_up, func, tear_down);               \
  g_test_add ("/disk-overlay/" name "/newer", Fixture, "newer", set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("swap", test_swap);
  ADD ("begun", test_begun);
  ADD ("bitmap", test_bitmap);
  return g_test_run();
}
