/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/qmp/migration-settings.h>

#include "qemu-process.h"

#include <vmckpt/qmp/commands.h>

#include <glib/gstdio.h>

/* What a QEMU has, as text. */
static char *
read_all (QmpClient *client)
{
  static const char *const commands[] = { "query-migrate-capabilities",
                                          "query-migrate-parameters" };
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (commands); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (JsonNode) answer =
        qmp_client_execute (client, commands[i], NULL, -1, 0, NULL, &error);
    g_assert_no_error (error);
    g_autofree char *part = json_to_string (answer, FALSE);
    g_string_append (text, part);
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
change_settings (QmpClient *client)
{
  g_autoptr (GError) error = NULL;

  qmp_migrate_set_capability (client, "x-ignore-shared", TRUE, &error);
  g_assert_no_error (error);
  qmp_migrate_set_capability (client, "events", FALSE, &error);
  g_assert_no_error (error);
  qmp_migrate_set_bandwidth (client, 1 << 30, &error);
  g_assert_no_error (error);
}

/* Whoever changed them how often, and whatever was on before, they are as at the first keeping. */
static void
test_put_back (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "q35", "-S");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autofree char *path = g_build_filename (qemu.dir, "migration.json", NULL);
  qmp_migrate_set_capability (client, "events", TRUE, &error);
  g_assert_no_error (error);
  g_autofree char *before = read_all (client);

  g_assert_true (qmp_migration_put_back (client, path, &error)); /* nothing is kept */
  for (int daemon = 0; daemon < 2; daemon++) {
    g_assert_true (qmp_migration_keep (client, path, &error));
    g_assert_no_error (error);
    change_settings (client);
  }
  g_assert_true (qmp_migration_put_back (client, path, &error));
  g_assert_no_error (error);
  g_autofree char *after = read_all (client);
  g_assert_cmpstr (after, ==, before);
  g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
}

/* A file that says nothing changes nothing, and is told. */
static void
test_damaged (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "q35", "-S");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autofree char *path = g_build_filename (qemu.dir, "migration.json", NULL);
  g_assert_true (g_file_set_contents (path, "{\"capabilities\":[7]}", -1, NULL));
  g_assert_false (qmp_migration_put_back (client, path, &error));
  g_assert_nonnull (error);
  g_unlink (path);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/migration-settings/put-back", test_put_back);
  g_test_add_func ("/migration-settings/damaged", test_damaged);
  return g_test_run();
}
