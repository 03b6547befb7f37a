/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work-queue.h"

struct _WorkQueue {
  WorkFunc func;
  gpointer user_data;
  GPtrArray *threads; /* of GThread */
  GMutex lock;
  GCond changed;   /* (lock) */
  GQueue items;    /* (lock) */
  gboolean ending; /* (lock) no more will be pushed */
};

static gpointer
work_main (gpointer data)
{
  WorkQueue *queue = data;

  g_mutex_lock (&queue->lock);
  while (queue->items.length > 0 || !queue->ending) {
    if (queue->items.length == 0) {
      g_cond_wait (&queue->changed, &queue->lock);
      continue;
    }
    gpointer item = g_queue_pop_head (&queue->items);
    g_mutex_unlock (&queue->lock);
    queue->func (item, queue->user_data);
    g_mutex_lock (&queue->lock);
  }
  g_mutex_unlock (&queue->lock);
  return NULL;
}

WorkQueue *
work_queue_new (guint max_threads, WorkFunc func, gpointer user_data, GError **error)
{
  g_autoptr (WorkQueue) queue = g_new0 (WorkQueue, 1);
  guint threads = CLAMP (g_get_num_processors(), 1, max_threads);

  queue->func = func;
  queue->user_data = user_data;
  queue->threads = g_ptr_array_new();
  g_mutex_init (&queue->lock);
  g_cond_init (&queue->changed);
  for (guint i = 0; i < threads; i++) {
    GThread *thread = g_thread_try_new ("store-reader", work_main, queue, error);
    if (thread == NULL)
      return NULL;
    g_ptr_array_add (queue->threads, thread);
  }
  return g_steal_pointer (&queue);
}

guint
work_queue_threads (const WorkQueue *queue)
{
  return queue->threads->len;
}

void
work_queue_push (WorkQueue *queue, gpointer item)
{
  g_mutex_lock (&queue->lock);
  g_queue_push_tail (&queue->items, item);
  g_cond_signal (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

void
work_queue_free (WorkQueue *queue)
{
  if (queue == NULL)
    return;
  g_mutex_lock (&queue->lock);
  queue->ending = TRUE;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
  for (guint i = 0; i < queue->threads->len; i++)
    g_thread_join (queue->threads->pdata[i]);
  g_ptr_array_unref (queue->threads);
  g_mutex_clear (&queue->lock);
  g_cond_clear (&queue->changed);
  g_free (queue);
}
