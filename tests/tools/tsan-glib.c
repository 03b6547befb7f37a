/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Teaches ThreadSanitizer GLib's locks. The distribution's GLib is not instrumented and its mutexes
 * are bare futexes, so the sanitizer does not see that they order anything and reports every use.
 * Linked into the test programs of that build, these come before GLib's own and say what they do.
 * (The main loop needs nothing: its wake-up goes through an eventfd, which the sanitizer follows.)
 */
#include <dlfcn.h>
#include <glib.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

/* GLib's own function of that name, in `real`; looked up once per thread. */
#define REAL(name)                                                                                 \
  static __thread __typeof__ (name) *real;                                                         \
  if (real == NULL)                                                                                \
  real = (__typeof__ (name) *)dlsym (RTLD_NEXT, #name)

void
g_mutex_lock (GMutex *mutex)
{
  REAL (g_mutex_lock);
  real (mutex);
  __tsan_acquire (mutex);
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  REAL (g_mutex_trylock);
  if (!real (mutex))
    return FALSE;
  __tsan_acquire (mutex);
  return TRUE;
}

void
g_mutex_unlock (GMutex *mutex)
{
  REAL (g_mutex_unlock);
  __tsan_release (mutex);
  real (mutex);
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  REAL (g_cond_wait);
  __tsan_release (mutex);
  real (cond, mutex);
  __tsan_acquire (mutex);
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  REAL (g_cond_wait_until);
  __tsan_release (mutex);
  gboolean signalled = real (cond, mutex, end_time);
  __tsan_acquire (mutex);
  return signalled;
}

void
g_async_queue_push (GAsyncQueue *queue, gpointer data)
{
  REAL (g_async_queue_push);
  __tsan_release (queue);
  real (queue, data);
}

gpointer
g_async_queue_pop (GAsyncQueue *queue)
{
  REAL (g_async_queue_pop);
  gpointer data = real (queue);
  __tsan_acquire (queue);
  return data;
}

gpointer
g_async_queue_try_pop (GAsyncQueue *queue)
{
  REAL (g_async_queue_try_pop);
  gpointer data = real (queue);
  __tsan_acquire (queue);
  return data;
}

gpointer
g_async_queue_timeout_pop (GAsyncQueue *queue, guint64 timeout)
{
  REAL (g_async_queue_timeout_pop);
  gpointer data = real (queue, timeout);
  __tsan_acquire (queue);
  return data;
}

/* What the thread did happened before the return of its join. */
gpointer
g_thread_join (GThread *thread)
{
  REAL (g_thread_join);
  gpointer result = real (thread);
  __tsan_acquire (thread);
  return result;
}
