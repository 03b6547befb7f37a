/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands in a row, carried out by a real QEMU. */
#include <vmckpt/qmp/batch.h>

#include "qemu-process.h"

#include <vmckpt/util/json.h>

static JsonObject *
null_node (const char *name)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "driver", "null-co");
  json_object_set_string_member (arguments, "node-name", name);
  return arguments;
}

/* In order, and a failure is told as that of its command, which keeps none from being done. */
static void
test_order (void)
{
  g_autofree char *program = qemu_program();

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "none", "");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autoptr (QmpBatch) batch = qmp_batch_new (client);
  g_autoptr (GError) error = NULL;

  guint first = qmp_batch_add (batch, "blockdev-add", null_node ("one"));
  guint again = qmp_batch_add (batch, "blockdev-add", null_node ("one"));
  guint unknown = qmp_batch_add (batch, "no-such-command", NULL);
  guint all = qmp_batch_add (batch, "query-named-block-nodes", NULL);
  g_assert_false (qmp_batch_run (batch, &error));
  g_assert_cmpstr (error->message, ==, qmp_batch_error (batch, again)->message);
  g_assert_nonnull (qmp_batch_result (batch, first));
  g_assert_null (qmp_batch_result (batch, again));
  g_assert_true (qmp_error_is_class (qmp_batch_error (batch, unknown), "CommandNotFound"));
  JsonNode *nodes = qmp_batch_result (batch, all);
  g_assert_cmpuint (json_array_get_length (json_node_get_array (nodes)), ==, 1);
}

static gpointer
run_in_thread (gpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (qmp_batch_run (data, &error));
  g_assert_no_error (error);
  return NULL;
}

/* Elsewhere than where the client is at home. */
static void
test_thread (void)
{
  g_autofree char *program = qemu_program();

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "none", "");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autoptr (QmpBatch) batch = qmp_batch_new (client);
  const guint n = 200; /* far more than QEMU queues */

  for (guint i = 0; i < n; i++) {
    g_autofree char *name = g_strdup_printf ("n%u", i);
    qmp_batch_add (batch, "blockdev-add", null_node (name));
  }
  GThread *thread = g_thread_new ("batch", run_in_thread, batch);
  while (qmp_batch_result (batch, n - 1) == NULL)
    g_main_context_iteration (NULL, FALSE);
  g_thread_join (thread);
  for (guint i = 0; i < n; i++)
    g_assert_nonnull (qmp_batch_result (batch, i));
}

/* A monitor that is lost ends all of them, and callbacks that come later do no harm. */
static void
test_lost (void)
{
  g_autofree char *program = qemu_program();

  if (program == NULL)
    return;
  g_auto (QemuProcess) qemu = qemu_process_start (program, "none", "");
  g_autoptr (QmpClient) client = qemu_process_connect (&qemu);
  g_autoptr (GError) error = NULL;
  {
    g_autoptr (QmpBatch) batch = qmp_batch_new (client);
    qmp_batch_add (batch, "quit", NULL);
    for (guint i = 0; i < 20; i++)
      qmp_batch_add (batch, "query-status", NULL);
    g_assert_false (qmp_batch_run (batch, &error));
    g_assert_error (error, QMP_ERROR, QMP_ERROR_LOST);
  }
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp-batch/order", test_order);
  g_test_add_func ("/qmp-batch/thread", test_thread);
  g_test_add_func ("/qmp-batch/lost", test_lost);
  return g_test_run();
}
