/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "main-call.h"

typedef struct {
  MainCallFunc func;
  gpointer user_data;
  gboolean done;
  GMutex lock;
  GCond cond;
} MainCall;

static gboolean
run (gpointer data)
{
  MainCall *call = data;

  call->func (call->user_data);
  g_mutex_lock (&call->lock);
  call->done = TRUE;
  g_cond_signal (&call->cond);
  g_mutex_unlock (&call->lock);
  return G_SOURCE_REMOVE;
}

void
main_call (MainCallFunc func, gpointer user_data)
{
  MainCall call = { .func = func, .user_data = user_data };

  g_mutex_init (&call.lock);
  g_cond_init (&call.cond);
  g_main_context_invoke (NULL, run, &call);
  g_mutex_lock (&call.lock);
  while (!call.done)
    g_cond_wait (&call.cond, &call.lock);
  g_mutex_unlock (&call.lock);
  g_mutex_clear (&call.lock);
  g_cond_clear (&call.cond);
}
