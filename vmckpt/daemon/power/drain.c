/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "drain.h"

#include "api-error.h"
#include "checkpoint.h"
#include "migrate-out.h"
#include "power.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define DEFAULT_PARALLEL 2
#define WORK_WAIT_MS 60000

/* ---- That it is drained ---- */

static char *
mark_path (Daemon *daemon)
{
  return g_build_filename (daemon->runtime->disks, "drained", NULL);
}

static gboolean
mark (Daemon *daemon, GError **error)
{
  g_autofree char *path = mark_path (daemon);
  const char *text = "This host takes no guests; 'vmckpt drain --undo' ends that.\n";

  if (g_mkdir_with_parents (daemon->runtime->disks, 0700) < 0)
    return fd_set_errno_error (error, "making %s", daemon->runtime->disks);
  if (!fd_replace_file (path, text, strlen (text), error))
    return FALSE;
  registry_set_drained (daemon->registry, TRUE);
  return TRUE;
}

gboolean
drain_undo (Daemon *daemon, GError **error)
{
  g_autofree char *path = mark_path (daemon);

  if (g_unlink (path) < 0 && errno != ENOENT)
    return fd_set_errno_error (error, "removing %s", path);
  registry_set_drained (daemon->registry, FALSE);
  return TRUE;
}

void
drain_take_over (Daemon *daemon)
{
  g_autofree char *path = mark_path (daemon);

  registry_set_drained (daemon->registry, g_file_test (path, G_FILE_TEST_EXISTS));
}

/* ---- One guest ---- */

typedef struct {
  Request *request;
  const DrainWish *wish;
  GMutex lock;
  JsonArray *results; /* with the lock */
  guint moved, suspended, left;
} Drain;

typedef struct {
  Drain *drain;
  Guest *guest;
} DrainJob;

static void
on_message (const char *text, gpointer user_data)
{
  const DrainJob *job = user_data;
  const UnitWatcher *watcher = &job->drain->request->watcher;
  g_autofree char *line = g_strdup_printf ("%s: %s", guest_name (job->guest), text);

  if (watcher->message != NULL)
    watcher->message (line, watcher->user_data);
}

static void
on_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
}

/* Lines of its migration are not the drain's, but one that says that it goes on. */
static void
on_line (const char *type, JsonObject *line, gpointer user_data)
{
  json_object_unref (line);
}

/* The drain's request as one about that guest. Borrows from both. */
static void
make_request (DrainJob *job, Request *own, JsonObject *body)
{
  *own = *job->drain->request;
  own->params[0] = (char *)guest_name (job->guest);
  own->body = body;
  own->progress = (Progress){ on_progress, job };
  own->send_line = on_line;
  own->watcher = (UnitWatcher){ .progress = &own->progress,
                                .message = on_message,
                                .user_data = job,
                                .cancellable = own->cancellable };
}

static JsonObject *
move (DrainJob *job, gboolean via_store, GError **error)
{
  g_autoptr (JsonObject) body = json_object_new();
  Request own;

  json_object_set_string_member (body, "to", job->drain->wish->to);
  if (via_store)
    json_object_set_boolean_member (body, "via_store", TRUE);
  make_request (job, &own, body);
  return migrate_out (&own, error);
}

/* Live, or else through the store. */
static JsonObject *
move_somehow (DrainJob *job, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonObject *result = move (job, FALSE, &cause);

  if (result != NULL)
    return result;
  if (api_error_kind (cause) != API_NOT_POSSIBLE ||
      request_query (job->drain->request, "store") == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  on_message ("goes through the store, since it cannot go live", job);
  return move (job, TRUE, error);
}

static gboolean
suspend (DrainJob *job, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_SUSPEND, .note = "drain" };
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (Manifest) manifest = NULL;
  Request own;

  make_request (job, &own, body);
  g_autoptr (GuestWork) work = guest_wait_for_work (job->guest, "a suspend", WORK_WAIT_MS, error);
  if (work != NULL)
    manifest = checkpoint_suspend (&own, job->guest, &options, NULL, error);
  return manifest != NULL;
}

/* Its line, and its part in the result. @report: (nullable) (transfer full). */
static void
finish (DrainJob *job, const char *outcome, JsonObject *report, const GError *reason)
{
  Drain *drain = job->drain;
  JsonObject *line = report != NULL ? report : json_object_new();

  json_object_set_string_member (line, "name", guest_name (job->guest));
  json_object_set_string_member (line, "outcome", outcome);
  json_set_string_or_null (line, "reason", reason != NULL ? reason->message : NULL);
  g_mutex_lock (&drain->lock);
  drain->moved += g_str_equal (outcome, "moved");
  drain->suspended += g_str_equal (outcome, "suspended");
  drain->left += g_str_equal (outcome, "left");
  json_array_add_object_element (drain->results, json_object_ref (line));
  g_mutex_unlock (&drain->lock);
  drain->request->send_line ("guest", line, drain->request->watcher.user_data);
}

/* A GFunc of a pool. */
static void
drain_one (gpointer data, gpointer user_data)
{
  DrainJob *job = data;
  Drain *drain = job->drain;
  gboolean interrupted = g_cancellable_is_cancelled (drain->request->cancellable);
  g_autoptr (GError) error = NULL;
  JsonObject *moved = NULL;

  if (g_cancellable_set_error_if_cancelled (drain->request->cancellable, &error) ||
      (moved = move_somehow (job, &error)) != NULL) {
    finish (job, moved != NULL ? "moved" : "left", moved, error);
  } else {
    /* Of one that is handed over nobody knows yet whether it runs there. */
    g_autoptr (Departure) departure = guest_departure (job->guest);
    gboolean may_suspend = drain->wish->suspend && departure == NULL && !interrupted &&
                           request_query (drain->request, "store") != NULL;
    g_autoptr (GError) unsaved = NULL;
    gboolean suspended = may_suspend && suspend (job, &unsaved);
    if (unsaved != NULL)
      g_prefix_error (&error, "%s; and ", unsaved->message);
    finish (job, suspended ? "suspended" : "left", NULL, error);
  }
  guest_unref (job->guest);
  g_free (job);
}

/* ---- All ---- */

static int
by_priority (gconstpointer a, gconstpointer b)
{
  const GuestSpec *one = guest_spec (*(Guest **)a), *other = guest_spec (*(Guest **)b);

  return one->priority != other->priority ? (one->priority > other->priority ? -1 : 1)
                                          : strcmp (one->name, other->name);
}

static gboolean
run_jobs (Drain *drain, GError **error)
{
  g_autoptr (GPtrArray) guests = registry_list (drain->request->daemon->registry);
  guint parallel = drain->wish->parallel > 0 ? drain->wish->parallel : DEFAULT_PARALLEL;
  GThreadPool *pool = g_thread_pool_new (drain_one, NULL, (gint)parallel, FALSE, error);

  if (pool == NULL)
    return FALSE;
  g_ptr_array_sort (guests, by_priority);
  for (guint i = 0; i < guests->len; i++) {
    if (guest_state (guests->pdata[i]) == GUEST_EXITED)
      continue;
    DrainJob *job = g_new (DrainJob, 1);
    *job = (DrainJob){ drain, guest_ref (guests->pdata[i]) };
    g_thread_pool_push (pool, job, NULL);
  }
  g_thread_pool_free (pool, FALSE, TRUE);
  return !g_cancellable_set_error_if_cancelled (drain->request->cancellable, error);
}

static JsonObject *
describe (const Drain *drain, gint64 began_us)
{
  JsonObject *result = json_object_new();

  json_object_set_array_member (result, "guests", json_array_ref (drain->results));
  json_object_set_int_member (result, "moved", drain->moved);
  json_object_set_int_member (result, "suspended", drain->suspended);
  json_object_set_int_member (result, "left", drain->left);
  json_object_set_double_member (result, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  return result;
}

/* Nobody else takes them: all are suspended, as before the power goes. */
static JsonObject *
suspend_all (Request *request, const DrainWish *wish, GError **error)
{
  const PowerSuspend power = { .parallel = wish->parallel, .note = "drain" };
  JsonObject *result = power_suspend_all (request, &power, error);

  if (result == NULL)
    return NULL;
  json_object_set_int_member (result, "moved", 0);
  json_object_set_int_member (result, "suspended",
                              json_object_get_int_member_with_default (result, "saved", 0));
  return result;
}

JsonObject *
drain_host (Request *request, const DrainWish *wish, GError **error)
{
  gint64 began_us = g_get_monotonic_time();
  Drain drain = { .request = request, .wish = wish };
  JsonObject *result = NULL;

  if (wish->to == NULL && request_store_path (request, error) == NULL)
    return NULL;
  if (!mark (request->daemon, error))
    return NULL;
  if (wish->to == NULL)
    return suspend_all (request, wish, error);
  g_mutex_init (&drain.lock);
  drain.results = json_array_new();
  if (run_jobs (&drain, error))
    result = describe (&drain, began_us);
  json_array_unref (drain.results);
  g_mutex_clear (&drain.lock);
  return result;
}
