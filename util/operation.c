/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/operation.h>

static void
on_outer_cancelled (GCancellable *outer, gpointer steps)
{
  g_cancellable_cancel (steps);
}

void
operation_begin (Operation *op, GCancellable *outer)
{
  op->steps = g_cancellable_new();
  op->outer = g_object_ref (outer);
  op->link = g_cancellable_connect (outer, G_CALLBACK (on_outer_cancelled), op->steps, NULL);
}

void
operation_clear (Operation *op)
{
  if (op->outer != NULL)
    g_cancellable_disconnect (op->outer, op->link);
  g_clear_object (&op->outer);
  g_clear_object (&op->steps);
  g_clear_object (&op->result);
}

void
operation_on_ready (GObject *source, GAsyncResult *result, gpointer op)
{
  ((Operation *)op)->result = g_object_ref (result);
}

static gboolean
on_deadline (gpointer user_data)
{
  Operation *op = user_data;

  op->late = TRUE;
  g_cancellable_cancel (op->steps);
  return G_SOURCE_CONTINUE;
}

GAsyncResult *
operation_wait (Operation *op, guint deadline_ms)
{
  GMainContext *context = g_main_context_get_thread_default();
  g_autoptr (GSource) timer = deadline_ms > 0 ? g_timeout_source_new (deadline_ms) : NULL;

  if (timer != NULL) {
    g_source_set_callback (timer, on_deadline, op, NULL);
    g_source_attach (timer, context);
  }
  g_clear_object (&op->result);
  while (op->result == NULL)
    g_main_context_iteration (context, TRUE);
  if (timer != NULL)
    g_source_destroy (timer);
  return op->result;
}
