/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include "qemu-process.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/unit/standstill.h>
#include <vmckpt/util/fd.h>

#include <sys/mman.h>
#include <unistd.h>

/* A migration of all memory to nowhere. */
static void
save (QmpClient *client)
{
  g_auto (AutoFd) file = memfd_create ("stream", MFD_CLOEXEC);
  g_autofree char *status = NULL;

  g_assert_true (qmp_getfd (client, "out", file, NULL));
  g_assert_true (qmp_migrate (client, "fd:out", NULL));
  do {
    g_auto (QmpMigration) migration = { 0 };
    g_assert_true (qmp_query_migrate (client, &migration, NULL));
    g_free (status);
    status = g_strdup (migration.status);
    g_assert_cmpstr (status, !=, "failed");
  } while (!g_str_equal (status, "completed"));
}

static gboolean
is_saved (QmpClient *client)
{
  g_autoptr (GError) error = NULL;
  gboolean saved;

  g_assert_true (standstill_is_saved (client, &saved, &error));
  g_assert_no_error (error);
  return saved;
}

static void
assert_not_by (const Standstill *standstill, QmpClient *client)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (standstill_check (standstill, client, &error));
  g_assert_error (error, RAM_ERROR, RAM_ERROR_SAVED);
}

static void
test_qemu_tells (void)
{
  g_autofree char *program = qemu_program();
  g_autoptr (Manifest) manifest = manifest_new();
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "q35", "-S");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  manifest->id = g_strdup ("cafe");
  g_assert_null (standstill_find (client, store, "/srv/a", manifest));
  g_assert_false (is_saved (client));

  save (client);
  g_assert_true (is_saved (client));
  g_autoptr (Standstill) found = standstill_find (client, store, "/srv/a", manifest);
  g_assert_nonnull (found);
  g_assert_cmpstr (found->checkpoint, ==, "cafe");
  g_assert_cmpstr (found->store, ==, store_id (store));
  g_assert_true (standstill_check (found, client, NULL));
  assert_not_by (NULL, client);
  found->transferred++; /* another migration than that one */
  assert_not_by (found, client);

  g_assert_true (qmp_cont (client, NULL));
  g_assert_false (is_saved (client));
  g_assert_true (qmp_stop (client, NULL));
  g_assert_false (is_saved (client));
  g_assert_null (standstill_find (client, store, "/srv/a", manifest));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/standstill/qemu-tells", test_qemu_tells);
  return g_test_run();
}
