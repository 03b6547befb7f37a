/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pause-helper.h"

typedef enum { HELPER_WAITS, HELPER_GOES, HELPER_DONE, HELPER_ENDS } HelperState;

struct _PauseHelper {
  GThread *thread;
  PauseHelperFunc func;
  gpointer user_data;
  GMutex lock;
  GCond changed;
  HelperState state; /* (lock) */
  gboolean good;     /* (lock) */
  GError *error;     /* (lock) */
};

static gpointer
helper_thread (gpointer data)
{
  PauseHelper *helper = data;
  g_autoptr (GError) error = NULL;

  g_mutex_lock (&helper->lock);
  while (helper->state == HELPER_WAITS)
    g_cond_wait (&helper->changed, &helper->lock);
  if (helper->state == HELPER_GOES) {
    g_mutex_unlock (&helper->lock);
    gboolean good = helper->func (helper->user_data, &error);
    g_mutex_lock (&helper->lock);
    helper->good = good;
    helper->error = g_steal_pointer (&error);
    helper->state = HELPER_DONE;
    g_cond_broadcast (&helper->changed);
  }
  g_mutex_unlock (&helper->lock);
  return NULL;
}

PauseHelper *
pause_helper_new (PauseHelperFunc func, gpointer user_data)
{
  PauseHelper *helper = g_new0 (PauseHelper, 1);

  helper->func = func;
  helper->user_data = user_data;
  helper->good = TRUE;
  g_mutex_init (&helper->lock);
  g_cond_init (&helper->changed);
  helper->thread = g_thread_new ("pause", helper_thread, helper);
  return helper;
}

static void
set_state (PauseHelper *helper, HelperState from, HelperState to)
{
  g_mutex_lock (&helper->lock);
  if (helper->state == from)
    helper->state = to;
  g_cond_broadcast (&helper->changed);
  g_mutex_unlock (&helper->lock);
}

void
pause_helper_go (PauseHelper *helper)
{
  set_state (helper, HELPER_WAITS, HELPER_GOES);
}

gboolean
pause_helper_wait (PauseHelper *helper, GError **error)
{
  g_mutex_lock (&helper->lock);
  while (helper->state == HELPER_GOES)
    g_cond_wait (&helper->changed, &helper->lock);
  gboolean good = helper->good;
  if (helper->error != NULL)
    g_propagate_error (error, g_steal_pointer (&helper->error));
  g_mutex_unlock (&helper->lock);
  return good;
}

void
pause_helper_free (PauseHelper *helper)
{
  if (helper == NULL)
    return;
  set_state (helper, HELPER_WAITS, HELPER_ENDS);
  g_thread_join (helper->thread);
  g_clear_error (&helper->error);
  g_mutex_clear (&helper->lock);
  g_cond_clear (&helper->changed);
  g_free (helper);
}
