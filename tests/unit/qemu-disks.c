/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "qemu-disks.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/fd.h>

char *
qemu_disks_file (const QemuDisks *guest, const char *name)
{
  return g_build_filename (guest->dir, name, NULL);
}

static void
make_image (const char *path, const char *format)
{
  g_autofree char *size = g_strdup_printf ("%d", QEMU_DISKS_BYTES);
  const char *argv[] = { "qemu-img", "create", "-q", "-f", format, path, size, NULL };
  g_autoptr (GError) error = NULL;
  int status = -1;

  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
}

static void
add_disk (const QemuDisks *guest, const char *line, GString *more)
{
  g_auto (GStrv) word = g_strsplit (line, " ", 3);
  g_autofree char *path = qemu_disks_file (guest, word[0]);

  make_image (path, word[1]);
  g_string_append_printf (more,
                          " -blockdev '{\"driver\":\"%s\",\"node-name\":\"%s\",\"file\":"
                          "{\"driver\":\"file\",\"filename\":\"%s\"}}' -device %s,drive=%s",
                          word[1], word[0], path, word[2], word[0]);
}

QemuDisks
qemu_disks_start (const char *program, const char *const *disks, const char *more)
{
  QemuDisks guest = { .dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL) };
  g_autoptr (GString) arguments = g_string_new ("-S ");

  g_string_append (arguments, more);
  guest.socket = qemu_disks_file (&guest, "nbd.sock");
  for (; *disks != NULL; disks++)
    add_disk (&guest, *disks, arguments);
  guest.qemu = qemu_process_start (program, "q35", arguments->str);
  guest.monitor = qemu_process_connect (&guest.qemu);
  return guest;
}

static void
remove_all (const char *dir)
{
  g_autoptr (GDir) open = g_dir_open (dir, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (open)) != NULL) {
    g_autofree char *path = g_build_filename (dir, name, NULL);
    g_unlink (path);
  }
  g_rmdir (dir);
}

void
qemu_disks_end (QemuDisks *guest)
{
  g_clear_pointer (&guest->monitor, qmp_client_unref);
  qemu_process_end (&guest->qemu);
  if (guest->dir != NULL)
    remove_all (guest->dir);
  g_clear_pointer (&guest->socket, g_free);
  g_clear_pointer (&guest->dir, g_free);
}

JsonNode *
qemu_disks_do (const QemuDisks *guest, const char *command, char *json)
{
  g_autofree char *text = json;
  g_autoptr (GError) error = NULL;
  JsonObject *arguments = NULL;

  if (text != NULL) {
    g_autoptr (JsonNode) node = json_from_string (text, &error);
    g_assert_no_error (error);
    arguments = json_node_dup_object (node);
  }
  JsonNode *answer = qmp_client_execute (guest->monitor, command, arguments, -1, 0, NULL, &error);
  g_assert_no_error (error);
  return answer;
}

void
qemu_disks_write (const QemuDisks *guest, const char *node, guint8 pattern, guint64 offset,
                  guint64 length)
{
  g_autoptr (GuestDrive) drive = qemu_disks_drive (guest, node);
  g_autoptr (JsonNode) answer = qemu_disks_do (
      guest, "human-monitor-command",
      g_strdup_printf ("{\"command-line\": \"qemu-io -d %s \\\"write -q -P %u %" G_GUINT64_FORMAT
                       " %" G_GUINT64_FORMAT "\\\"\"}",
                       drive->qdev, pattern, offset, length));

  g_assert_cmpstr (json_node_get_string (answer), ==, "");
}

gboolean
qemu_disks_holds (const QemuDisks *guest, const char *node, guint8 pattern, guint64 offset,
                  guint64 length)
{
  g_autofree char *path = qemu_disks_file (guest, node);
  g_autofree guint8 *bytes = g_malloc (length);
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (pread (fd, bytes, length, offset), ==, length);
  for (guint64 i = 0; i < length; i++)
    if (bytes[i] != pattern)
      return FALSE;
  return TRUE;
}

void
qemu_disks_migrate (const QemuDisks *guest)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *status = NULL;

  qmp_migrate (guest->monitor, "exec:cat >/dev/null", &error);
  g_assert_no_error (error);
  do {
    g_free (status);
    g_usleep (1000);
    status = qmp_query_status (guest->monitor, &error);
    g_assert_no_error (error);
  } while (!g_str_equal (status, "postmigrate"));
}

GuestDrive *
qemu_disks_drive (const QemuDisks *guest, const char *node)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) drives = disk_find (guest->monitor, &error);
  GuestDrive *drive;
  guint index;

  g_assert_no_error (error);
  drive = disk_find_drive (drives, node);
  g_assert_nonnull (drive);
  g_assert_true (g_ptr_array_find (drives, drive, &index));
  return g_ptr_array_steal_index (drives, index);
}

static void
check_without (const QemuDisks *guest, const char *command, const char *json, const char *text)
{
  g_autoptr (JsonNode) answer = qemu_disks_do (guest, command, g_strdup (json));
  g_autofree char *all = json_to_string (answer, FALSE);

  if (strstr (all, text) != NULL)
    g_test_message ("%s: %s", command, all);
  g_assert_null (strstr (all, text));
}

void
qemu_disks_check_clean (const QemuDisks *guest)
{
  g_autoptr (GDir) dir = g_dir_open (guest->dir, 0, NULL);
  const char *name;

  check_without (guest, "query-block", NULL, "\"node-name\":\"" DISK_PREFIX);
  check_without (guest, "query-named-block-nodes", "{\"flat\": true}",
                 "\"node-name\":\"" DISK_PREFIX);
  check_without (guest, "query-named-block-nodes", "{\"flat\": true}", DISK_BITMAP_INSTANT);
  check_without (guest, "query-named-block-nodes", "{\"flat\": true}", DISK_PREFIX "new");
  check_without (guest, "query-block-exports", NULL, DISK_PREFIX);
  check_without (guest, "query-jobs", NULL, DISK_PREFIX);
  while ((name = g_dir_read_name (dir)) != NULL) {
    g_assert_false (g_str_has_prefix (name, DISK_PREFIX));
    g_assert_cmpstr (name, !=, "nbd.sock");
  }
}
