/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All but the last command are sent with a callback, the last one is waited for. Answers are
 * delivered in their order, so then all are there; unless the last one ended early (its deadline,
 * a lost monitor). Callbacks that come even later find what they write to alive: each has a
 * reference.
 */
#include <vmckpt/qmp/batch.h>

/* A command and what came of it. */
typedef struct {
  int refs; /* atomic: the batch, and a callback that is to come */
  char *command;
  JsonObject *arguments; /* (nullable): until it was sent */
  GMutex lock;           /* guards the following */
  JsonNode *result;
  GError *error;
} Step;

struct _QmpBatch {
  QmpClient *client;
  GPtrArray *steps;
};

static void
step_unref (Step *step)
{
  if (!g_atomic_int_dec_and_test (&step->refs))
    return;
  g_free (step->command);
  g_clear_pointer (&step->arguments, json_object_unref);
  g_clear_pointer (&step->result, json_node_unref);
  g_clear_error (&step->error);
  g_mutex_clear (&step->lock);
  g_free (step);
}

QmpBatch *
qmp_batch_new (QmpClient *client)
{
  QmpBatch *batch = g_new0 (QmpBatch, 1);

  batch->client = client;
  batch->steps = g_ptr_array_new_with_free_func ((GDestroyNotify)step_unref);
  return batch;
}

void
qmp_batch_free (QmpBatch *batch)
{
  if (batch == NULL)
    return;
  g_ptr_array_unref (batch->steps);
  g_free (batch);
}

guint
qmp_batch_add (QmpBatch *batch, const char *command, JsonObject *arguments)
{
  Step *step = g_new0 (Step, 1);

  step->refs = 1;
  step->command = g_strdup (command);
  step->arguments = arguments;
  g_mutex_init (&step->lock);
  g_ptr_array_add (batch->steps, step);
  return batch->steps->len - 1;
}

static void
take_answer (Step *step, JsonNode *result, GError *error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&step->lock);

  step->result = result;
  step->error = error;
}

/* A GAsyncReadyCallback, at the client's home. */
static void
on_answer (GObject *source, GAsyncResult *async, gpointer user_data)
{
  Step *step = user_data;
  GError *error = NULL;
  JsonNode *result = qmp_client_execute_finish (NULL, async, &error);

  take_answer (step, result, error);
  step_unref (step);
}

/* What it came to: a step without an answer ended as the last one did. */
static const GError *
settle (Step *step, const GError *last)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&step->lock);

  if (step->result == NULL && step->error == NULL)
    return last;
  return step->error;
}

gboolean
qmp_batch_run (QmpBatch *batch, GError **error)
{
  guint n = batch->steps->len;
  GError *failure = NULL;

  if (n == 0)
    return TRUE;
  for (guint i = 0; i + 1 < n; i++) {
    Step *step = g_ptr_array_index (batch->steps, i);
    g_atomic_int_inc (&step->refs);
    qmp_client_execute_async (batch->client, step->command, g_steal_pointer (&step->arguments), -1,
                              0, NULL, on_answer, step);
  }
  Step *last = g_ptr_array_index (batch->steps, n - 1);
  JsonNode *result = qmp_client_execute (batch->client, last->command,
                                         g_steal_pointer (&last->arguments), -1, 0, NULL, &failure);
  take_answer (last, result, failure);
  for (guint i = 0; i < n; i++) {
    const GError *reason = settle (g_ptr_array_index (batch->steps, i), failure);
    if (reason == NULL)
      continue;
    if (error != NULL)
      *error = g_error_copy (reason);
    return FALSE;
  }
  return TRUE;
}

JsonNode *
qmp_batch_result (QmpBatch *batch, guint index)
{
  Step *step = g_ptr_array_index (batch->steps, index);
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&step->lock);

  return step->result;
}

const GError *
qmp_batch_error (QmpBatch *batch, guint index)
{
  Step *step = g_ptr_array_index (batch->steps, index);
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&step->lock);

  return step->error;
}
