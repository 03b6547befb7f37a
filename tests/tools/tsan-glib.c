/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Teaches ThreadSanitizer what GLib orders. The distribution's GLib is not instrumented, its
 * mutexes are bare futexes and its counters bare atomics, so the sanitizer sees no order anywhere
 * and reports every use. Two halves mend that:
 *  - tsan.suppress lets it look away while GLib itself reads, writes, allocates and frees;
 *  - the functions here come before GLib's own, also for the libraries above it, and say with
 * acquire and release what happens before what: locks, conditions, queues, pools, threads,
 * counters, and the main loop. Linked into the test programs of that build only.
 */
#include <dlfcn.h>
#include <glib.h>
#include <poll.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

/* GLib's own function of that name, in `real`; looked up once per thread. */
#define REAL(name)                                                                                 \
  static __thread __typeof__ (&name) real;                                                         \
  if (real == NULL)                                                                                \
  real = (__typeof__ (&name))dlsym (RTLD_NEXT, #name)

/* ---- Locks and conditions ---- */

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

gboolean (g_once_init_enter) (volatile void *location)
{
  static __thread gboolean (*real) (volatile void *);
  if (real == NULL)
    real = (gboolean (*) (volatile void *))dlsym (RTLD_NEXT, "g_once_init_enter");
  gboolean first = real (location);
  if (!first)
    __tsan_acquire ((void *)location);
  return first;
}

void (g_once_init_leave) (volatile void *location, gsize result)
{
  static __thread void (*real) (volatile void *, gsize);
  if (real == NULL)
    real = (void (*) (volatile void *, gsize))dlsym (RTLD_NEXT, "g_once_init_leave");
  __tsan_release ((void *)location);
  real (location, result);
}

/* ---- Counters: whoever drops the last reference comes after all others ---- */

gboolean (g_atomic_ref_count_dec) (gatomicrefcount *count)
{
  static __thread gboolean (*real) (gatomicrefcount *);
  if (real == NULL)
    real = (gboolean (*) (gatomicrefcount *))dlsym (RTLD_NEXT, "g_atomic_ref_count_dec");
  __tsan_release (count);
  if (!real (count))
    return FALSE;
  __tsan_acquire (count);
  return TRUE;
}

void
g_bytes_unref (GBytes *bytes)
{
  REAL (g_bytes_unref);
  if (bytes != NULL) {
    __tsan_release (bytes);
    __tsan_acquire (bytes);
  }
  real (bytes);
}

/* ---- Queues ---- */

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

/* ---- Threads and pools: what they run, between what was before it and what comes after ---- */

typedef struct {
  GThreadFunc thread_func;
  GFunc pool_func;
  gpointer data;
} Work;

static gpointer
run_thread (gpointer data)
{
  Work *work = data;

  __tsan_acquire (work);
  gpointer result = work->thread_func (work->data);
  __tsan_release (work);
  return result;
}

GThread *
g_thread_new (const gchar *name, GThreadFunc func, gpointer data)
{
  REAL (g_thread_new);
  /* Never freed: who joins needs it after the thread has ended. */
  Work *work = g_new (Work, 1);

  *work = (Work){ .thread_func = func, .data = data };
  __tsan_release (work);
  return real (name, run_thread, work);
}

gpointer
g_thread_join (GThread *thread)
{
  REAL (g_thread_join);
  gpointer work = thread->data;
  gpointer result = real (thread);

  __tsan_acquire (work);
  return result;
}

static void
run_in_pool (gpointer data, gpointer user_data)
{
  Work *work = user_data;

  __tsan_acquire (work);
  work->pool_func (data, work->data);
  __tsan_release (work);
}

GThreadPool *
g_thread_pool_new_full (GFunc func, gpointer user_data, GDestroyNotify item_free_func,
                        gint max_threads, gboolean exclusive, GError **error)
{
  REAL (g_thread_pool_new_full);
  /* Never freed: a pool may be freed while its threads are still at work. */
  Work *work = g_new (Work, 1);

  *work = (Work){ .pool_func = func, .data = user_data };
  __tsan_release (work);
  return real (run_in_pool, work, item_free_func, max_threads, exclusive, error);
}

GThreadPool *
g_thread_pool_new (GFunc func, gpointer user_data, gint max_threads, gboolean exclusive,
                   GError **error)
{
  return g_thread_pool_new_full (func, user_data, NULL, max_threads, exclusive, error);
}

gboolean
g_thread_pool_push (GThreadPool *pool, gpointer data, GError **error)
{
  REAL (g_thread_pool_push);
  __tsan_release (pool->user_data);
  return real (pool, data, error);
}

void
g_thread_pool_free (GThreadPool *pool, gboolean immediate, gboolean wait)
{
  REAL (g_thread_pool_free);
  gpointer work = pool->user_data;

  real (pool, immediate, wait);
  if (wait)
    __tsan_acquire (work);
}

/* ---- The main loop: what was done before a source was attached happened before its dispatch ----
 */

static char sources;

guint
g_source_attach (GSource *source, GMainContext *context)
{
  REAL (g_source_attach);
  __tsan_release (&sources);
  return real (source, context);
}

void
g_main_context_invoke_full (GMainContext *context, gint priority, GSourceFunc function,
                            gpointer data, GDestroyNotify notify)
{
  REAL (g_main_context_invoke_full);
  __tsan_release (&sources);
  real (context, priority, function, data, notify);
}

void
g_main_context_invoke (GMainContext *context, GSourceFunc function, gpointer data)
{
  g_main_context_invoke_full (context, G_PRIORITY_DEFAULT, function, data, NULL);
}

guint
g_idle_add_full (gint priority, GSourceFunc function, gpointer data, GDestroyNotify notify)
{
  REAL (g_idle_add_full);
  __tsan_release (&sources);
  return real (priority, function, data, notify);
}

guint
g_idle_add (GSourceFunc function, gpointer data)
{
  return g_idle_add_full (G_PRIORITY_DEFAULT_IDLE, function, data, NULL);
}

/* Each round of a loop polls before it dispatches. */
int
poll (struct pollfd *fds, nfds_t n, int timeout)
{
  REAL (poll);
  int ready = real (fds, n, timeout);

  __tsan_acquire (&sources);
  return ready;
}
