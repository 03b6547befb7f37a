/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "thaw.h"

#include <vmckpt/qmp/guest-agent.h>

#define ANSWER_TIMEOUT_MS 5000
#define PAUSE_FIRST_US 20000 /* between attempts: doubles up to… */
#define PAUSE_LAST_US (2 * G_USEC_PER_SEC)

typedef struct {
  char *agent_path;
  ProcessId qemu;
} Thaw;

static void
thaw_free (gpointer data)
{
  Thaw *thaw = data;

  g_free (thaw->agent_path);
  g_free (thaw);
}

static gboolean
attempt (const Thaw *thaw, guint *count, GError **error)
{
  g_autoptr (GuestAgent) agent =
      guest_agent_connect (thaw->agent_path, ANSWER_TIMEOUT_MS, NULL, error);

  return agent != NULL && guest_agent_thaw (agent, ANSWER_TIMEOUT_MS, count, error);
}

static void
thaw_thread (GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  const Thaw *thaw = task_data;
  gulong pause_us = PAUSE_FIRST_US;
  guint count = 0;

  for (;;) {
    g_autoptr (GError) error = NULL;
    if (attempt (thaw, &count, &error)) {
      g_task_return_int (task, count);
      return;
    }
    if (!process_id_alive (thaw->qemu)) {
      g_task_return_error (task, g_steal_pointer (&error));
      return;
    }
    g_usleep (pause_us);
    pause_us = MIN (pause_us * 2, PAUSE_LAST_US);
  }
}

void
thaw_async (const char *agent_path, ProcessId qemu, GAsyncReadyCallback callback,
            gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (NULL, NULL, callback, user_data);
  Thaw *thaw = g_new0 (Thaw, 1);

  thaw->agent_path = g_strdup (agent_path);
  thaw->qemu = qemu;
  g_task_set_task_data (task, thaw, thaw_free);
  g_task_run_in_thread (task, thaw_thread);
}

gssize
thaw_finish (GAsyncResult *result, GError **error)
{
  return g_task_propagate_int (G_TASK (result), error);
}
