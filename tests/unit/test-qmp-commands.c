/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/qmp/commands.h>

#include "fake-peer.h"
#include "qemu-process.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void
test_run_state (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "none", "-S");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autofree char *first = qmp_query_status (client, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (first, ==, "prelaunch");
  qmp_cont (client, &error);
  g_assert_no_error (error);
  g_autofree char *second = qmp_query_status (client, &error);
  g_assert_cmpstr (second, ==, "running");
  qmp_stop (client, &error);
  g_assert_no_error (error);
  g_autofree char *third = qmp_query_status (client, &error);
  g_assert_cmpstr (third, ==, "paused");
  g_assert_true (qmp_quit (client, &error));
  g_assert_no_error (error);
}

static void
test_machines (void)
{
  g_autofree char *program = qemu_program();
  g_autofree char *ram_id = NULL;
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "none", "");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autoptr (JsonArray) machines = qmp_query_machines (client, &error);
  g_assert_no_error (error);
  g_autofree char *q35 = qmp_find_machine (machines, "q35", &ram_id);
  g_assert_true (g_str_has_prefix (q35, "pc-q35-"));
  g_assert_cmpstr (ram_id, ==, "pc.ram");
  g_autofree char *same = qmp_find_machine (machines, q35, NULL);
  g_assert_cmpstr (same, ==, q35);
  g_assert_null (qmp_find_machine (machines, "pdp-11", NULL));
}

static void
wait_for_status (QmpClient *client, const char *wanted)
{
  for (;;) {
    g_auto (QmpMigration) migration = { 0 };
    g_autoptr (GError) error = NULL;
    qmp_query_migrate (client, &migration, &error);
    g_assert_no_error (error);
    if (strcmp (migration.status, wanted) == 0)
      return;
    g_assert_cmpstr (migration.status, !=, "completed");
    g_assert_cmpstr (migration.status, !=, "failed");
  }
}

static void
test_migration_settings (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (GError) error = NULL;
  gboolean known;

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "q35", "-S");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_assert_true (qmp_migrate_has_capability (client, "background-snapshot", &known, &error));
  g_assert_true (known);
  g_assert_true (qmp_migrate_has_capability (client, "teleport", &known, &error));
  g_assert_false (known);
  g_assert_true (qmp_migrate_set_capability (client, "events", TRUE, &error));
  const QmpCapability two[] = { { "events", FALSE }, { "xbzrle", FALSE } };
  g_assert_true (qmp_migrate_set_capabilities (client, two, 2, &error));
  g_assert_no_error (error);
  g_assert_false (qmp_migrate_set_capability (client, "teleport", TRUE, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_COMMAND);
  g_clear_error (&error);
  g_assert_true (qmp_migrate_set_bandwidth (client, G_GUINT64_CONSTANT (1) << 40, &error));
  g_assert_no_error (error);
}

static void
test_migration (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) file = memfd_create ("stream", MFD_CLOEXEC);
  g_auto (QmpMigration) before = { 0 };
  g_auto (QmpMigration) after = { 0 };

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "q35", "-S");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_assert_true (qmp_query_migrate (client, &before, &error));
  g_assert_cmpstr (before.status, ==, "none");
  g_assert_null (before.blocked_reasons);
  g_assert_true (qmp_getfd (client, "out", file, &error));
  g_assert_true (qmp_migrate (client, "fd:out", &error));
  g_assert_no_error (error);
  wait_for_status (client, "completed");
  g_assert_true (qmp_query_migrate (client, &after, &error));
  g_assert_cmpuint (after.ram_total, >=, 16 * 1024 * 1024);
  g_assert_cmpuint (after.ram_transferred, >, 0);
  g_assert_cmpuint (after.ram_remaining, ==, 0);
  g_assert_cmpuint (after.total_ms, >, 0);
  g_assert_cmpuint (after.total_ms, >=, after.downtime_ms);

  g_auto (QemuProcess) copy = qemu_process_start (program, "q35", "-incoming defer");
  g_autoptr (QmpClient) other = qemu_process_connect (&copy);
  g_assert_cmpint (lseek (file, 0, SEEK_SET), ==, 0);
  g_assert_true (qmp_getfd (other, "in", file, &error));
  g_assert_true (qmp_migrate_incoming (other, "fd:in", &error));
  g_assert_no_error (error);
  wait_for_status (other, "completed");
}

static void
test_descriptors (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (GError) error = NULL;

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "none", "");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_assert_true (qmp_getfd (client, "a", STDERR_FILENO, &error));
  g_assert_true (qmp_closefd (client, "a", &error));
  g_assert_no_error (error);
  g_assert_false (qmp_closefd (client, "a", &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_COMMAND);
}

/* Answers every command with @data. */
static void
parrot (FakePeer *peer, gpointer data)
{
  fake_peer_greet (peer, TRUE);
  for (;;) {
    g_autoptr (JsonObject) command = fake_peer_read (peer);
    if (command == NULL)
      break;
    fake_peer_answer (peer, json_object_get_int_member (command, "id"), data);
  }
}

/* Answers that break the schema are errors, not crashes. */
static void
test_unexpected_answers (void)
{
  static const char *const answers[] = { "[]", "{\"status\": 1}", "[[]]", "null", "\"text\"" };

  for (gsize i = 0; i < G_N_ELEMENTS (answers); i++) {
    g_autoptr (GError) error = NULL;
    int fd;
    g_autoptr (FakePeer) peer = fake_peer_start (parrot, (gpointer)answers[i], &fd);
    g_autoptr (QmpClient) client = qmp_client_new_for_fd (fd, 30000, &error);
    g_auto (QmpMigration) migration = { 0 };
    gboolean known;
    g_assert_no_error (error);
    g_assert_null (qmp_query_status (client, &error));
    g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
    g_clear_error (&error);
    /* An empty list is one, and an empty object is QEMU's answer before the first migration. */
    if (strcmp (answers[i], "[]") != 0) {
      g_assert_false (qmp_migrate_has_capability (client, "x", &known, &error));
      g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
      g_clear_error (&error);
    }
    if (answers[i][0] != '{') {
      g_assert_false (qmp_query_migrate (client, &migration, &error));
      g_assert_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL);
    }
  }
}

static void
test_blocked_reasons (void)
{
  g_autoptr (GError) error = NULL;
  int fd;
  g_autoptr (FakePeer) peer = fake_peer_start (
      parrot, (gpointer) "{\"blocked-reasons\": [\"one\", 2, \"two\"], \"error-desc\": \"no\"}",
      &fd);
  g_autoptr (QmpClient) client = qmp_client_new_for_fd (fd, 30000, &error);
  g_auto (QmpMigration) migration = { 0 };

  g_assert_true (qmp_query_migrate (client, &migration, &error));
  g_assert_cmpstr (migration.blocked_reasons, ==, "one; two");
  g_assert_cmpstr (migration.error_desc, ==, "no");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp-commands/run-state", test_run_state);
  g_test_add_func ("/qmp-commands/machines", test_machines);
  g_test_add_func ("/qmp-commands/migration-settings", test_migration_settings);
  g_test_add_func ("/qmp-commands/migration", test_migration);
  g_test_add_func ("/qmp-commands/descriptors", test_descriptors);
  g_test_add_func ("/qmp-commands/unexpected-answers", test_unexpected_answers);
  g_test_add_func ("/qmp-commands/blocked-reasons", test_blocked_reasons);
  return g_test_run();
}
