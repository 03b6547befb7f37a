/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "power.h"

#include "api-error.h"
#include "call.h"
#include "guest-clock.h"
#include "registry.h"
#include "restore.h"
#include "suspended.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define CHECK_US (100 * G_TIME_SPAN_MILLISECOND)

typedef struct {
  Request *request;
  const PowerResume *wish;
  Store *store;
  GMutex lock;
  GCond changed;
  guint at_work; /* guests that are being restored; with the lock */
  GPtrArray *jobs;
  guint resumed, failed; /* with the lock */
  JsonArray *results;    /* with the lock */
} ResumeAll;

typedef struct {
  ResumeAll *all;
  Manifest *manifest;
  GuestSpec *spec; /* (nullable): as recorded */
  GThread *thread; /* (nullable) */
  UnitWatcher watcher;
} ResumeJob;

static void
resume_job_free (ResumeJob *job)
{
  manifest_free (job->manifest);
  guest_spec_free (job->spec);
  g_free (job);
}

static guint
priority_of (const ResumeJob *job)
{
  return job->spec != NULL ? job->spec->priority : GUEST_PRIORITY_DEFAULT;
}

/* A GCompareDataFunc. */
static int
compare_jobs (gconstpointer left, gconstpointer right, gpointer user_data)
{
  const ResumeJob *a = *(ResumeJob *const *)left, *b = *(ResumeJob *const *)right;
  PowerOrder order = *(const PowerOrder *)user_data;
  guint64 a_bytes = a->spec != NULL ? a->spec->ram_bytes : 0;
  guint64 b_bytes = b->spec != NULL ? b->spec->ram_bytes : 0;

  if (order == POWER_ORDER_PRIORITY && priority_of (a) != priority_of (b))
    return priority_of (a) > priority_of (b) ? -1 : 1;
  if (order != POWER_ORDER_NAME && a_bytes != b_bytes)
    return a_bytes < b_bytes ? -1 : 1;
  return strcmp (a->manifest->guest, b->manifest->guest);
}

static void
on_message (const char *text, gpointer user_data)
{
  const ResumeJob *job = user_data;
  const UnitWatcher *watcher = &job->all->request->watcher;
  g_autofree char *line = g_strdup_printf ("%s: %s", job->manifest->guest, text);

  if (watcher->message != NULL)
    watcher->message (line, watcher->user_data);
}

/* What became of it. @result: (transfer full) (nullable): of a restore. */
static void
tell (ResumeJob *job, JsonObject *result, const GError *error)
{
  ResumeAll *all = job->all;
  JsonObject *line = result != NULL ? result : json_object_new();

  json_object_set_string_member (line, "name", job->manifest->guest);
  json_object_set_string_member (line, "outcome", result != NULL ? "resumed" : "failed");
  json_set_string_or_null (line, "reason", error != NULL ? error->message : NULL);
  g_mutex_lock (&all->lock);
  all->request->send_line ("guest", json_object_ref (line), all->request->watcher.user_data);
  json_object_remove_member (line, "type");
  json_array_add_object_element (all->results, line);
  if (result != NULL)
    all->resumed++;
  else
    all->failed++;
  g_mutex_unlock (&all->lock);
}

static JsonObject *
bring_back (ResumeJob *job, GError **error)
{
  const ResumeAll *all = job->all;
  RestoreRequest wish = { .paused = suspended_was_paused (job->manifest),
                          .held = TRUE,
                          .take_over = all->wish->take_over };
  Request own = *all->request;

  own.watcher = job->watcher;
  return g_strcmp0 (job->manifest->mode, "suspend") == 0
             ? restore_suspended (&own, all->store, job->manifest, &wish, error)
             : restore_checkpoint (&own, all->store, job->manifest, &wish, error);
}

static gpointer
resume_thread (gpointer data)
{
  ResumeJob *job = data;
  ResumeAll *all = job->all;
  g_autoptr (GError) error = NULL;
  JsonObject *result = bring_back (job, &error);

  g_mutex_lock (&all->lock);
  all->at_work--;
  g_cond_broadcast (&all->changed);
  g_mutex_unlock (&all->lock);
  /* Not in the way of the next one: its agent may take its time. */
  g_autoptr (Guest) guest =
      result != NULL && all->wish->sync_time
          ? registry_get (all->request->daemon->registry, job->manifest->guest, NULL)
          : NULL;
  if (guest != NULL)
    json_object_set_object_member (result, "clock",
                                   guest_clock_sync (guest, TRUE, all->request->cancellable));
  tell (job, result, error);
  return NULL;
}

/* Until @ready says so; FALSE if nobody wants it any more. */
static gboolean
wait_for_turn (ResumeAll *all, guint parallel, gint64 not_before_us)
{
  gboolean wanted;

  g_mutex_lock (&all->lock);
  while ((wanted = !g_cancellable_is_cancelled (all->request->cancellable)) &&
         (all->at_work >= parallel || g_get_monotonic_time() < not_before_us)) {
    gint64 until_us = g_get_monotonic_time() + CHECK_US;
    if (all->at_work < parallel)
      until_us = MIN (until_us, not_before_us);
    g_cond_wait_until (&all->changed, &all->lock, until_us);
  }
  all->at_work += wanted;
  g_mutex_unlock (&all->lock);
  return wanted;
}

static void
run_jobs (ResumeAll *all)
{
  guint parallel = all->wish->parallel > 0 ? all->wish->parallel : power_default_parallel();
  gint64 begun_us = 0;

  for (guint i = 0; i < all->jobs->len; i++) {
    ResumeJob *job = g_ptr_array_index (all->jobs, i);
    gint64 own_us = job->spec != NULL ? job->spec->start_delay_ms * G_GINT64_CONSTANT (1000) : 0;
    gint64 delay_us = i == 0 ? 0 : MAX (own_us, all->wish->start_delay_us);
    if (!wait_for_turn (all, parallel, begun_us + delay_us))
      break;
    begun_us = g_get_monotonic_time();
    job->thread = g_thread_new ("resume", resume_thread, job);
  }
}

/* The guests that are wanted, in order. */
static gboolean
find_jobs (ResumeAll *all, GError **error)
{
  const SuspendedWish wish = { all->wish->last, all->wish->lost };
  g_autoptr (GPtrArray) manifests = suspended_find (all->request->daemon, all->store, &wish, error);
  PowerOrder order = all->wish->order;

  if (manifests == NULL)
    return FALSE;
  while (manifests->len > 0) {
    g_autoptr (Manifest) manifest = g_ptr_array_steal_index (manifests, manifests->len - 1);
    const char *driver = json_get_string_or (manifest->machine, "driver", "qemu");
    if (all->wish->driver != NULL && !g_str_equal (all->wish->driver, driver))
      continue;
    ResumeJob *job = g_new0 (ResumeJob, 1);
    JsonObject *spec = json_get_object (manifest->machine, "spec", NULL);
    job->all = all;
    job->spec = spec != NULL ? guest_spec_from_json (spec, NULL) : NULL;
    job->manifest = g_steal_pointer (&manifest);
    job->watcher = (UnitWatcher){ .message = on_message,
                                  .user_data = job,
                                  .cancellable = all->request->cancellable };
    g_ptr_array_add (all->jobs, job);
  }
  g_ptr_array_sort_with_data (all->jobs, compare_jobs, &order);
  return TRUE;
}

JsonObject *
power_resume_all (Request *request, const PowerResume *wish, GError **error)
{
  gint64 began_us = g_get_monotonic_time();
  g_autoptr (Store) store = request_store (request, error);
  ResumeAll all = { .request = request, .wish = wish, .store = store };

  if (store == NULL)
    return NULL;
  g_mutex_init (&all.lock);
  g_cond_init (&all.changed);
  all.jobs = g_ptr_array_new_with_free_func ((GDestroyNotify)resume_job_free);
  all.results = json_array_new();
  JsonObject *result = NULL;
  if (find_jobs (&all, error)) {
    run_jobs (&all);
    wait_for_turn (&all, 1, 0);
    /* All CPUs run. */
    registry_fill_held (request->daemon->registry);
    for (guint i = 0; i < all.jobs->len; i++) {
      ResumeJob *job = g_ptr_array_index (all.jobs, i);
      if (job->thread != NULL)
        g_thread_join (job->thread);
    }
    registry_fill_held (request->daemon->registry);
    if (!g_cancellable_set_error_if_cancelled (request->cancellable, error)) {
      result = json_object_new();
      json_object_set_array_member (result, "guests", json_array_ref (all.results));
      json_object_set_int_member (result, "resumed", all.resumed);
      json_object_set_int_member (result, "failed", all.failed);
      json_object_set_double_member (result, "wall_ms",
                                     (g_get_monotonic_time() - began_us) / 1000.0);
    }
  }
  json_array_unref (all.results);
  g_ptr_array_unref (all.jobs);
  g_cond_clear (&all.changed);
  g_mutex_clear (&all.lock);
  return result;
}
