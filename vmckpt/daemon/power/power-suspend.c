/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread for each guest that is being saved or shut down; the request's own decides, several
 * times a second and whenever something has happened, by power_plan():
 *
 *   waiting ──▶ saving ──▶ done: saved
 *      │           │ given up: rolled back, runs
 *      ├───────────┴──▶ ending ──▶ done: shut down, or left
 *      └──────────────▶ done: left
 */
#include "power.h"

#include "api-error.h"
#include "checkpoint-json.h"
#include "checkpoint.h"
#include "domains.h"
#include "registry.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/qmp/guest-agent.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define TICK_US (200 * G_TIME_SPAN_MILLISECOND)
#define POLL_US (100 * G_TIME_SPAN_MILLISECOND)
#define AGENT_MS 3000
#define MONITOR_MS 5000
/* What saving a guest takes of this daemon's memory: pages that it copied before the guest was
 * resumed, and what is on its way to the store. */
#define COPIES_BYTES (64u << 20)
#define PIPELINE_BYTES (64u << 20)
#define GUEST_US (G_USEC_PER_SEC / 2) /* what each takes besides its bytes */
/* Of the deadline, for what follows when time is up. */
#define SHUTDOWN_PART 4
#define SHUTDOWN_MAX_US (30 * G_USEC_PER_SEC)
#define LEAVE_PART 10
#define LEAVE_MAX_US (5 * G_USEC_PER_SEC)
/* If there is none, so long may a guest take to shut down. */
#define SHUTDOWN_WAIT_US (120 * G_USEC_PER_SEC)

typedef enum { JOB_WAITING, JOB_SAVING, JOB_ENDING, JOB_DONE } JobState;

typedef struct _SuspendAll SuspendAll;

typedef struct {
  SuspendAll *all;
  Guest *guest;
  /* With the lock: */
  JobState state;
  gboolean told;        /* that it does not fit */
  gboolean given_up;    /* cancelled: there is no time for it */
  char *reason;         /* (nullable): why it is not saved */
  const char *outcome;  /* once done */
  JsonObject *report;   /* (nullable): of what was saved */
  guint64 rest_bytes;   /* as estimated at first */
  guint64 before_bytes; /* stored in phases before this one */
  Phase phase;
  guint64 done_bytes, total_bytes; /* of this phase */
  /* The job's own: */
  GCancellable *cancellable;
  GThread *thread; /* (nullable) */
  Progress progress;
  UnitWatcher watcher;
} SuspendJob;

struct _SuspendAll {
  Request *request;
  const PowerSuspend *wish;
  char *set;
  PowerBounds bounds;
  gint64 save_until_us, end_us; /* monotonic; G_MAXINT64: there is no deadline */
  GMutex lock;
  GCond changed;
  GPtrArray *jobs;
  GArray *guests;    /* of PowerGuest: the plan's view of those that wait or are saved */
  GPtrArray *viewed; /* the jobs of these */
  PowerMeter meter;
  JsonArray *results; /* with the lock */
  guint saved, shut_down, left;
};

guint
power_default_parallel (void)
{
  return MAX (2, g_get_num_processors());
}

/* Bytes that programs can have before the host begins to swap; 0: not known. */
static guint64
available_memory (void)
{
  g_autofree char *text = NULL;
  const char *at;

  if (!g_file_get_contents ("/proc/meminfo", &text, NULL, NULL) ||
      (at = strstr (text, "MemAvailable:")) == NULL)
    return 0;
  return g_ascii_strtoull (at + strlen ("MemAvailable:"), NULL, 10) * 1024;
}

/* ---- What one guest tells ---- */

/* A ProgressFunc. */
static void
on_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  SuspendJob *job = user_data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&job->all->lock);

  if (phase != job->phase || done < job->done_bytes) {
    job->before_bytes += job->done_bytes;
    job->phase = phase;
  }
  job->done_bytes = done;
  job->total_bytes = total;
}

static void
on_message (const char *text, gpointer user_data)
{
  const SuspendJob *job = user_data;
  const UnitWatcher *watcher = &job->all->request->watcher;
  g_autofree char *line = g_strdup_printf ("%s: %s", guest_name (job->guest), text);

  if (watcher->message != NULL)
    watcher->message (line, watcher->user_data);
}

/* With the lock. */
static guint64
stored_bytes (const SuspendJob *job)
{
  return job->before_bytes + job->done_bytes;
}

/* With the lock: what it is foreseen to store yet. */
static guint64
rest_bytes (const SuspendJob *job)
{
  guint64 stored = stored_bytes (job);
  guint64 rest = job->rest_bytes > stored ? job->rest_bytes - stored : 0;

  return MAX (rest, job->total_bytes - MIN (job->total_bytes, job->done_bytes));
}

/* With the lock: it is over for this guest. Sends its line. */
static void
finish_job (SuspendJob *job, const char *outcome)
{
  SuspendAll *all = job->all;
  JsonObject *line = job->report != NULL ? json_object_ref (job->report) : json_object_new();
  g_autofree char *newest = guest_checkpoint (job->guest);

  job->state = JOB_DONE;
  job->outcome = outcome;
  json_object_set_string_member (line, "name", guest_name (job->guest));
  json_object_set_string_member (line, "outcome", outcome);
  json_set_string_or_null (line, "reason", job->reason);
  json_set_string_or_null (line, "newest", newest);
  all->request->send_line ("guest", json_object_ref (line), all->request->watcher.user_data);
  json_object_remove_member (line, "type");
  json_array_add_object_element (all->results, line);
  g_cond_broadcast (&all->changed);
}

/* With the lock. */
static void
set_reason (SuspendJob *job, const char *reason)
{
  g_free (job->reason);
  job->reason = g_strdup (reason);
}

/* ---- Saving ---- */

/* Other work on the guest, such as a periodic checkpoint, is waited for. */
static GuestWork *
wait_for_work (SuspendJob *job, GError **error)
{
  for (;;) {
    g_autoptr (GError) busy = NULL;
    GuestWork *work = guest_wait_for_work (job->guest, "a suspend", POLL_US / 1000, &busy);
    if (work != NULL)
      return work;
    if (g_cancellable_set_error_if_cancelled (job->cancellable, error))
      return NULL;
  }
}

/* With the lock: what it waited for was a migration, or the guest has ended by itself. */
static void
set_gone (SuspendJob *job)
{
  g_autoptr (JsonObject) guest = guest_to_json (job->guest);

  set_reason (job, json_get_string_or (guest, "reason", "it has ended"));
}

static gpointer
save_thread (gpointer data)
{
  SuspendJob *job = data;
  SuspendAll *all = job->all;
  CheckpointOptions options = { .mode = CHECKPOINT_SUSPEND,
                                .tag = all->wish->tag,
                                .note = all->wish->note };
  Request own = *all->request;
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = NULL;
  gboolean gone = FALSE;

  own.cancellable = job->cancellable;
  own.progress = job->progress;
  own.watcher = job->watcher;
  {
    g_autoptr (GuestWork) work = wait_for_work (job, &error);
    gone = work != NULL && guest_state (job->guest) == GUEST_EXITED;
    if (work != NULL && !gone)
      manifest = checkpoint_suspend (&own, job->guest, &options, all->set, &error);
  }
  g_mutex_lock (&all->lock);
  if (manifest != NULL) {
    job->report = checkpoint_report (manifest);
    g_clear_pointer (&job->reason, g_free);
    finish_job (job, "saved");
  } else if (gone) {
    set_gone (job);
    finish_job (job, "gone");
  } else {
    if (!job->given_up)
      set_reason (job, error->message);
    job->state = JOB_WAITING;
    job->given_up = TRUE;
    g_cond_broadcast (&all->changed);
  }
  g_mutex_unlock (&all->lock);
  if (manifest != NULL)
    fault_visit (FAULT_SUSPEND_ONE, NULL);
  return NULL;
}

/* ---- Shutting down ---- */

static gboolean
ask_agent (SuspendJob *job)
{
  g_autofree char *path = g_build_filename (guest_directory (job->guest), GUEST_FILE_AGENT, NULL);
  g_autoptr (GuestAgent) agent =
      guest_spec (job->guest)->agent
          ? guest_agent_connect (path, AGENT_MS, job->all->request->cancellable, NULL)
          : NULL;

  return agent != NULL && guest_agent_shut_down (agent, AGENT_MS / 3, NULL);
}

static gboolean
press_power_button (SuspendJob *job, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (job->guest, error);
  g_autoptr (JsonNode) answer =
      monitor != NULL
          ? qmp_client_execute (monitor, "system_powerdown", NULL, -1, MONITOR_MS, NULL, error)
          : NULL;
  return answer != NULL;
}

static gpointer
end_thread (gpointer data)
{
  SuspendJob *job = data;
  SuspendAll *all = job->all;
  gint64 until_us =
      all->end_us < G_MAXINT64 ? all->end_us : g_get_monotonic_time() + SHUTDOWN_WAIT_US;
  g_autoptr (GError) error = NULL;

  if (guest_state (job->guest) != GUEST_RUNNING)
    g_set_error_literal (&error, API_ERROR, API_CONFLICT, "it does not run");
  else if (ask_agent (job) || press_power_button (job, &error))
    while (guest_state (job->guest) != GUEST_EXITED && g_get_monotonic_time() < until_us &&
           !g_cancellable_is_cancelled (all->request->cancellable))
      g_usleep (POLL_US);
  gboolean ended = guest_state (job->guest) == GUEST_EXITED;
  g_mutex_lock (&all->lock);
  if (!ended) {
    g_autofree char *reason =
        g_strdup_printf ("%s; nor did it shut down%s%s", job->reason,
                         error != NULL ? ": " : " in time", error != NULL ? error->message : "");
    set_reason (job, reason);
  }
  finish_job (job, ended ? "shut-down" : "left");
  g_mutex_unlock (&all->lock);
  return NULL;
}

/* ---- Deciding ---- */

/* With the lock: the job's thread is over; another may follow. */
static void
start_thread (SuspendJob *job, GThreadFunc func, JobState state)
{
  if (job->thread != NULL) {
    g_mutex_unlock (&job->all->lock);
    g_thread_join (job->thread);
    g_mutex_lock (&job->all->lock);
  }
  job->state = state;
  job->thread = g_thread_new (state == JOB_SAVING ? "suspend" : "shut-down", func, job);
}

/* With the lock: it will not be saved, for the reason that it has. */
static void
fall_back (SuspendJob *job)
{
  if (job->all->wish->fallback == POWER_SHUTDOWN &&
      !g_cancellable_is_cancelled (job->all->request->cancellable))
    start_thread (job, end_thread, JOB_ENDING);
  else
    finish_job (job, "left");
}

/* With the lock: said before it is too late. */
static void
tell_late (SuspendJob *job, const PowerStep *step)
{
  SuspendAll *all = job->all;
  double left = MAX (0, all->bounds.left_us) / 1e6;
  g_autofree char *reason =
      g_strdup_printf ("there is not enough time: it would take %.1f s, and %.1f s are left",
                       step->end_us / 1e6, left);
  g_autofree char *text = g_strdup_printf (
      "cannot be saved in time, as it looks (%.1f s, and %.1f s are left): %s", step->end_us / 1e6,
      left,
      all->wish->fallback == POWER_SHUTDOWN ? "it is shut down"
                                            : "it is left running, unless it goes faster");

  set_reason (job, reason);
  if (!job->told)
    on_message (text, job);
  job->told = TRUE;
}

/* With the lock. */
static void
give_up (SuspendJob *job)
{
  job->given_up = TRUE;
  g_cancellable_cancel (job->cancellable);
}

/* With the lock: the plan's view of the jobs. */
static void
look (SuspendAll *all)
{
  guint64 stored = 0, rest = 0;

  g_array_set_size (all->guests, 0);
  g_ptr_array_set_size (all->viewed, 0);
  for (guint i = 0; i < all->jobs->len; i++) {
    SuspendJob *job = g_ptr_array_index (all->jobs, i);
    const GuestSpec *spec = guest_spec (job->guest);
    stored += stored_bytes (job);
    if ((job->state != JOB_WAITING && job->state != JOB_SAVING) || job->given_up)
      continue;
    PowerGuest view = { .name = guest_name (job->guest),
                        .priority = spec->priority,
                        .rest_bytes = rest_bytes (job),
                        .memory_bytes = MIN (spec->ram_bytes, COPIES_BYTES) + PIPELINE_BYTES,
                        .begun = job->state == JOB_SAVING };
    rest += view.rest_bytes;
    g_array_append_val (all->guests, view);
    g_ptr_array_add (all->viewed, job);
  }
  power_meter_add (&all->meter, stored, g_get_monotonic_time());
  all->bounds.rate = all->wish->rate > 0 ? all->wish->rate : all->meter.rate;
  all->bounds.left_us = all->save_until_us < G_MAXINT64
                            ? MAX (0, all->save_until_us - g_get_monotonic_time())
                            : G_MAXINT64;
  progress_report (&all->request->progress, PHASE_STORE, stored, stored + rest);
}

/* With the lock: begins whom there is room for. TRUE if one was begun. */
static gboolean
begin_next (SuspendAll *all, const GArray *plan)
{
  int next = power_plan_next (plan, (const PowerGuest *)all->guests->data, &all->bounds);

  if (next < 0)
    return FALSE;
  start_thread (g_ptr_array_index (all->viewed, next), save_thread, JOB_SAVING);
  return TRUE;
}

/* With the lock: who does not fit is told, and given up if it cannot wait for a better time. */
static void
judge (SuspendAll *all, const GArray *plan)
{
  for (guint i = 0; i < plan->len; i++) {
    const PowerStep *step = &g_array_index (plan, PowerStep, i);
    SuspendJob *job = g_ptr_array_index (all->viewed, step->index);
    if (step->fits)
      continue;
    tell_late (job, step);
    if (job->state == JOB_SAVING)
      give_up (job);
    else if (all->wish->fallback == POWER_SHUTDOWN)
      job->given_up = TRUE;
  }
}

/* With the lock: time is up, or nobody wants it any more. */
static void
stop_all (SuspendAll *all, const char *reason)
{
  for (guint i = 0; i < all->viewed->len; i++) {
    SuspendJob *job = g_ptr_array_index (all->viewed, i);
    set_reason (job, reason);
    give_up (job);
  }
}

/* With the lock: one step; FALSE once all are done. */
static gboolean
decide (SuspendAll *all)
{
  guint done = 0, active = 0;

  look (all);
  if (g_cancellable_is_cancelled (all->request->cancellable))
    stop_all (all, "interrupted");
  else if (all->bounds.left_us == 0)
    stop_all (all, "time is up");
  g_autoptr (GArray) plan =
      power_plan ((const PowerGuest *)all->guests->data, all->guests->len, &all->bounds);
  if (all->bounds.left_us > 0 && !g_cancellable_is_cancelled (all->request->cancellable)) {
    judge (all, plan);
    while (begin_next (all, plan)) {
      look (all);
      g_clear_pointer (&plan, g_array_unref);
      plan = power_plan ((const PowerGuest *)all->guests->data, all->guests->len, &all->bounds);
    }
  }
  for (guint i = 0; i < all->jobs->len; i++) {
    SuspendJob *job = g_ptr_array_index (all->jobs, i);
    if (job->state == JOB_WAITING && job->given_up)
      fall_back (job);
    done += job->state == JOB_DONE;
    active += job->state == JOB_SAVING || job->state == JOB_ENDING;
  }
  /* What waits fits nowhere, and it cannot go faster when nothing goes. */
  for (guint i = 0; active == 0 && i < all->jobs->len; i++) {
    SuspendJob *job = g_ptr_array_index (all->jobs, i);
    if (job->state == JOB_WAITING)
      fall_back (job);
  }
  return done < all->jobs->len;
}

static void
run_jobs (SuspendAll *all)
{
  g_mutex_lock (&all->lock);
  while (decide (all))
    g_cond_wait_until (&all->changed, &all->lock, g_get_monotonic_time() + TICK_US);
  g_mutex_unlock (&all->lock);
  for (guint i = 0; i < all->jobs->len; i++) {
    SuspendJob *job = g_ptr_array_index (all->jobs, i);
    if (job->thread != NULL)
      g_thread_join (g_steal_pointer (&job->thread));
    all->saved += g_str_equal (job->outcome, "saved");
    all->shut_down += g_str_equal (job->outcome, "shut-down");
    all->left += g_str_equal (job->outcome, "left");
  }
}

/* ---- Beginning and end ---- */

static void
suspend_job_free (SuspendJob *job)
{
  guest_unref (job->guest);
  g_free (job->reason);
  g_clear_pointer (&job->report, json_object_unref);
  g_object_unref (job->cancellable);
  g_free (job);
}

static guint64
estimate (Guest *guest, Store *store)
{
  g_autoptr (GuestWork) work = guest_begin_work (guest, "a look at what it wrote", NULL);

  return work != NULL ? guest_unsaved_bytes (guest, store_id (store))
                      : guest_spec (guest)->ram_bytes;
}

static void
add_job (SuspendAll *all, Guest *guest, Store *store)
{
  SuspendJob *job = g_new0 (SuspendJob, 1);

  job->all = all;
  job->guest = guest_ref (guest);
  job->rest_bytes = estimate (guest, store);
  job->cancellable = g_cancellable_new();
  job->progress = (Progress){ on_progress, job };
  job->watcher = (UnitWatcher){ .progress = &job->progress,
                                .message = on_message,
                                .user_data = job,
                                .cancellable = job->cancellable };
  g_ptr_array_add (all->jobs, job);
}

/* A domain that cannot be made a guest of is left. */
static void
tell_unattached (SuspendAll *all, const char *name, const GError *error)
{
  JsonObject *line = json_object_new();

  json_object_set_string_member (line, "name", name);
  json_object_set_string_member (line, "outcome", "left");
  json_object_set_string_member (line, "reason", error->message);
  json_object_set_null_member (line, "newest");
  all->request->send_line ("guest", json_object_ref (line), all->request->watcher.user_data);
  json_object_remove_member (line, "type");
  json_array_add_object_element (all->results, line);
  all->left++;
}

/* Running domains of libvirt that nobody has worked on yet become guests. FALSE with @error if they
 * are asked for and not known. */
static gboolean
attach_domains (SuspendAll *all, GError **error)
{
  Request *request = all->request;
  Domains *domains = request->daemon->domains;
  g_autoptr (GError) cause = NULL;

  if (g_strcmp0 (all->wish->driver, "qemu") == 0 || domains_uri (domains) == NULL)
    return TRUE;
  g_autoptr (JsonArray) list = domains_list (domains, &cause);
  if (list == NULL && all->wish->driver != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  if (list == NULL && request->watcher.message != NULL) {
    g_autofree char *text =
        g_strdup_printf ("domains of libvirt are not among them: %s", cause->message);
    request->watcher.message (text, request->watcher.user_data);
  }
  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++) {
    JsonObject *domain = json_array_get_object_element (list, i);
    const char *uuid = json_get_string_or (domain, "uuid", "");
    g_autoptr (GError) why = NULL;
    g_autoptr (Guest) guest = domains_find (domains, uuid, request->cancellable, &why);
    if (guest == NULL)
      tell_unattached (all, json_get_string_or (domain, "name", uuid), why);
  }
  return TRUE;
}

static void
find_jobs (SuspendAll *all, Store *store)
{
  g_autoptr (GPtrArray) guests = registry_list (all->request->daemon->registry);

  for (guint i = 0; i < guests->len; i++) {
    Guest *guest = g_ptr_array_index (guests, i);
    const char *driver = guest_driver_name (guest_spec (guest)->driver);
    if (guest_state (guest) != GUEST_EXITED &&
        (all->wish->driver == NULL || g_str_equal (all->wish->driver, driver)))
      add_job (all, guest, store);
  }
}

static void
set_bounds (SuspendAll *all, gint64 began_us)
{
  const PowerSuspend *wish = all->wish;
  guint64 available = available_memory() / 2;
  gint64 reserve_us = wish->fallback == POWER_SHUTDOWN
                          ? MIN (wish->deadline_us / SHUTDOWN_PART, SHUTDOWN_MAX_US)
                          : MIN (wish->deadline_us / LEAVE_PART, LEAVE_MAX_US);

  all->bounds =
      (PowerBounds){ .order = wish->order,
                     .parallel = wish->parallel > 0 ? wish->parallel : power_default_parallel(),
                     .memory_limit = wish->memory_limit > 0 ? wish->memory_limit
                                     : available > 0        ? available
                                                            : G_MAXUINT64,
                     .guest_us = GUEST_US };
  all->end_us = wish->deadline_us > 0 ? began_us + wish->deadline_us : G_MAXINT64;
  all->save_until_us = wish->deadline_us > 0 ? all->end_us - reserve_us : G_MAXINT64;
}

static JsonObject *
describe (const SuspendAll *all, gint64 began_us)
{
  JsonObject *result = json_object_new();

  json_object_set_string_member (result, "set", all->set);
  json_object_set_array_member (result, "guests", json_array_ref (all->results));
  json_object_set_int_member (result, "saved", all->saved);
  json_object_set_int_member (result, "shut_down", all->shut_down);
  json_object_set_int_member (result, "left", all->left);
  json_object_set_double_member (result, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  return result;
}

JsonObject *
power_suspend_all (Request *request, const PowerSuspend *wish, GError **error)
{
  gint64 began_us = g_get_monotonic_time();
  g_autoptr (Store) store = request_store (request, error);
  SuspendAll all = { .request = request, .wish = wish };
  JsonObject *result = NULL;

  if (store == NULL)
    return NULL;
  g_mutex_init (&all.lock);
  g_cond_init (&all.changed);
  all.set = g_uuid_string_random();
  all.jobs = g_ptr_array_new_with_free_func ((GDestroyNotify)suspend_job_free);
  all.guests = g_array_new (FALSE, FALSE, sizeof (PowerGuest));
  all.viewed = g_ptr_array_new();
  all.results = json_array_new();
  set_bounds (&all, began_us);
  if (attach_domains (&all, error)) {
    find_jobs (&all, store);
    run_jobs (&all);
    if (!g_cancellable_set_error_if_cancelled (request->cancellable, error))
      result = describe (&all, began_us);
  }
  json_array_unref (all.results);
  g_ptr_array_unref (all.viewed);
  g_array_unref (all.guests);
  g_ptr_array_unref (all.jobs);
  g_free (all.set);
  g_cond_clear (&all.changed);
  g_mutex_clear (&all.lock);
  return result;
}
