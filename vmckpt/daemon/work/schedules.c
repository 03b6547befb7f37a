/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "schedules.h"

#include "api-error.h"
#include "checkpoint-json.h"
#include "checkpoint.h"
#include "periodic.h"

#include <vmckpt/ram/capture.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define WATCH_SECONDS 2
#define MAX_ORDER 16384 /* bytes of one, as JSON */
#define MAX_FILE (SCHEDULES_MAX * 2 * MAX_ORDER)
#define MAX_DEPTH 8

struct _Schedules {
  GMutex lock;
  GPtrArray *runs; /* of ScheduleRun */
};

struct _ScheduleRun {
  gatomicrefcount refs;
  char *id, *text;
  gboolean kept; /* goes on by itself */
  Guest *guest;
  JsonObject *body; /* of the call that began it */
  char *store, *store_id;
  Schedule schedule;
  gint64 began_us; /* when it began, anywhere: monotonic */
  GCancellable *over;
  /* Of its thread alone. */
  Request *request;
  gulong stopping; /* of one that is kept: handler that cancels its request */
  CheckpointOptions options;
  /* Guarded by the lock of Schedules. */
  guint64 begun;
  char *trouble; /* (nullable): why the last one was not taken */
  char *gone_to; /* (nullable): host on which its guest is */
  GError *refused;
};

#define LOCK(schedules)                                                                            \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(schedules)->lock)

Schedules *
schedules_new (void)
{
  Schedules *schedules = g_new0 (Schedules, 1);

  g_mutex_init (&schedules->lock);
  schedules->runs = g_ptr_array_new_with_free_func ((GDestroyNotify)schedule_run_unref);
  return schedules;
}

static ScheduleRun *
run_ref (ScheduleRun *run)
{
  g_atomic_ref_count_inc (&run->refs);
  return run;
}

void
schedule_run_unref (ScheduleRun *run)
{
  if (!g_atomic_ref_count_dec (&run->refs))
    return;
  if (run->kept && run->request != NULL)
    request_free (run->request);
  guest_unref (run->guest);
  json_object_unref (run->body);
  g_object_unref (run->over);
  g_free (run->id);
  g_free (run->text);
  g_free (run->store);
  g_free (run->store_id);
  g_free (run->trouble);
  g_free (run->gone_to);
  g_clear_error (&run->refused);
  g_free (run);
}

/* ---- What is wanted ---- */

static gboolean
parse_schedule (Request *request, Schedule *schedule, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!request_time (request, "every", &schedule->every_us, error) ||
      !request_time (request, "for", &schedule->for_us, error))
    return FALSE;
  if (schedule->every_us < SCHEDULE_EVERY_MIN_US) {
    g_set_error (error, API_ERROR, API_USAGE, "every: a time of at least %d ms is needed",
                 SCHEDULE_EVERY_MIN_US / 1000);
    return FALSE;
  }
  if (!json_object_has_member (request->body, "count") ||
      json_object_get_null_member (request->body, "count") ||
      (json_get_uint64 (request->body, "count", &schedule->count, &cause) && schedule->count > 0))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE,
                       cause != NULL ? cause->message : "count: 0 is none at all");
  return FALSE;
}

/* @request: the call, or what stands for it; it outlives the thread's part of the run. */
static ScheduleRun *
run_new (Request *request, Guest *guest, GError **error)
{
  CheckpointOptions options = { 0 };
  Schedule schedule = { 0 };

  if (!request_expect (request, error, "every", "for", "count", "mode", "engine", "tag", "note",
                       "quiesce", "quiesce_time", NULL) ||
      !parse_schedule (request, &schedule, error) ||
      !checkpoint_parse_options (request, &options, error))
    return NULL;
  ScheduleRun *run = g_new0 (ScheduleRun, 1);
  g_atomic_ref_count_init (&run->refs);
  run->text = g_strdup_printf ("checkpoints every %s",
                               json_object_get_string_member (request->body, "every"));
  run->guest = guest_ref (guest);
  run->body = json_object_ref (request->body);
  run->store = g_strdup (request_query (request, "store"));
  run->schedule = schedule;
  run->options = options;
  run->began_us = g_get_monotonic_time();
  run->over = g_cancellable_new();
  run->request = request;
  return run;
}

/* ---- What is written down ---- */

/* With the lock held. */
static JsonObject *
describe_order (const ScheduleRun *run)
{
  JsonObject *order = json_object_new();

  json_object_set_string_member (order, "id", run->id);
  json_object_set_string_member (order, "store", run->store);
  json_object_set_string_member (order, "store_id", run->store_id);
  json_object_set_int_member (order, "begun", (gint64)run->begun);
  json_object_set_object_member (order, "checkpoints", json_object_ref (run->body));
  return order;
}

/* With the lock held: what is kept of @guest. A guest whose directory is gone has nothing. */
static gboolean
write_kept (Schedules *schedules, Guest *guest, GError **error)
{
  const char *directory = guest_directory (guest);
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_SCHEDULES, NULL);
  g_autoptr (JsonObject) object = json_object_new();
  JsonArray *list = json_array_new();
  gint64 offset_us = g_get_real_time() - g_get_monotonic_time();

  json_object_set_array_member (object, "schedules", list);
  for (guint i = 0; i < schedules->runs->len; i++) {
    ScheduleRun *run = schedules->runs->pdata[i];
    if (!run->kept || run->guest != guest)
      continue;
    JsonObject *order = describe_order (run);
    /* The next daemon has a clock of its own only for the time of day. */
    json_object_set_int_member (order, "began_us", run->began_us + offset_us);
    json_array_add_object_element (list, order);
  }
  g_autofree char *text = json_to_pretty (object);
  return guest_state (guest) == GUEST_EXITED || !g_file_test (directory, G_FILE_TEST_IS_DIR) ||
         fd_replace_file (path, text, strlen (text), error);
}

/* With the lock held, of what goes on or is over all the same. */
static void
save (Schedules *schedules, Guest *guest)
{
  g_autoptr (GError) error = NULL;

  if (!write_kept (schedules, guest, &error))
    g_warning ("guest %s: its schedules cannot be kept for a next daemon: %s", guest_name (guest),
               error->message);
}

/* ---- Taking them ---- */

/* A guest that has gone before anybody could hand over its schedule. */
static gboolean
check_not_moved (Guest *guest, GError **error)
{
  g_autoptr (Departure) departure = guest_departure (guest);

  if (departure == NULL || departure->state != DEPARTURE_MOVED)
    return TRUE;
  g_set_error (error, API_ERROR, API_CONFLICT,
               "guest %s has gone to %s: have its checkpoints taken there from now on",
               guest_name (guest), departure->to);
  return FALSE;
}

/* Nobody is there who could say that another store is meant by now. */
static gboolean
check_store (ScheduleRun *run, GError **error)
{
  g_autoptr (Store) store = run->kept ? request_store_for_peer (run->request, error) : NULL;

  if (!run->kept || (store != NULL && g_str_equal (store_id (store), run->store_id)))
    return TRUE;
  if (store != NULL)
    g_set_error (error, API_ERROR, API_CONFLICT, "%s is another store than the one that it wrote",
                 run->store);
  return FALSE;
}

/* The guest is free for other work between two of them. */
static JsonObject *
take (ScheduleRun *run, gboolean *passes, GError **error)
{
  g_autoptr (GuestWork) work = guest_begin_work (run->guest, "a checkpoint", error);
  g_autoptr (Manifest) manifest = NULL;
  g_autoptr (GError) cause = NULL;

  *passes = TRUE;
  if (work == NULL)
    return NULL;
  if (!check_not_moved (run->guest, error)) {
    *passes = FALSE;
    return NULL;
  }
  if (guest_state (run->guest) == GUEST_PAUSED) {
    g_set_error (error, API_ERROR, API_CONFLICT, "guest %s is paused", guest_name (run->guest));
    return NULL;
  }
  if (check_store (run, &cause))
    manifest = checkpoint_take (run->request, run->guest, &run->options, &cause);
  if (manifest != NULL)
    return checkpoint_report (manifest);
  /* Busy: somebody else migrates the guest. */
  *passes = run->kept || g_error_matches (cause, RAM_ERROR, RAM_ERROR_BUSY);
  g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

static JsonObject *
take_one (gpointer user_data, gboolean *passes, GError **error)
{
  ScheduleRun *run = user_data;
  Daemon *daemon = run->request->daemon;
  g_autoptr (GError) cause = NULL;

  /* A daemon that is to end waits for it, as for a call. */
  if (run->kept)
    g_atomic_int_inc (&daemon->calls);
  JsonObject *report = take (run, passes, &cause);
  if (run->kept)
    g_atomic_int_add (&daemon->calls, -1);
  LOCK (daemon->schedules);
  run->begun++;
  g_free (run->trouble);
  run->trouble = cause != NULL ? g_strdup (cause->message) : NULL;
  if (run->kept)
    save (daemon->schedules, run->guest);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return report;
}

static void
on_made (JsonObject *report, gpointer user_data)
{
  Request *request = ((ScheduleRun *)user_data)->request;

  if (request->send_line != NULL)
    request->send_line ("checkpoint", json_object_ref (report), request->watcher.user_data);
}

static void
on_message (const char *text, gpointer user_data)
{
  ScheduleRun *run = user_data;
  const UnitWatcher *watcher = &run->request->watcher;

  if (watcher->message != NULL)
    watcher->message (text, watcher->user_data);
  else
    g_message ("guest %s, %s: %s", guest_name (run->guest), run->text, text);
}

static JsonObject *
run_it (ScheduleRun *run, GError **error)
{
  const Periodic periodic = { .schedule = run->schedule,
                              .take = take_one,
                              .made = on_made,
                              .message = on_message,
                              .user_data = run,
                              .cancellable = run->request->cancellable,
                              .over = run->over,
                              .elapsed_us = g_get_monotonic_time() - run->began_us,
                              .begun = run->begun };

  return periodic_run (&periodic, error);
}

/* ---- The call of a client ---- */

static void
add (Schedules *schedules, ScheduleRun *run)
{
  LOCK (schedules);
  g_ptr_array_add (schedules->runs, run_ref (run));
}

/* What became of a call whose guest has gone. @summary: taken. */
static JsonObject *
describe_gone (ScheduleRun *run, JsonObject *summary, GError **error)
{
  if (run->refused == NULL) {
    json_object_set_string_member (summary, "goes_on_at", run->gone_to);
    return summary;
  }
  g_set_error (error, API_ERROR, API_CONFLICT,
               "guest %s has gone to %s, and its checkpoints do not go on there: %s",
               guest_name (run->guest), run->gone_to, run->refused->message);
  json_object_unref (summary);
  return NULL;
}

JsonObject *
schedules_run (Request *request, Guest *guest, GError **error)
{
  Schedules *schedules = request->daemon->schedules;
  g_autoptr (ScheduleRun) run = run_new (request, guest, error);
  g_autoptr (Store) store = run != NULL ? request_store (request, error) : NULL;

  if (store == NULL)
    return NULL;
  run->id = g_uuid_string_random();
  run->store_id = g_strdup (store_id (store));
  add (schedules, run);
  JsonObject *summary = run_it (run, error);
  LOCK (schedules);
  g_ptr_array_remove_fast (schedules->runs, run);
  return summary != NULL && run->gone_to != NULL ? describe_gone (run, summary, error) : summary;
}

/* ---- What is kept ---- */

/* With the lock held. */
static guint
count_kept (Schedules *schedules, Guest *guest)
{
  guint count = 0;

  for (guint i = 0; i < schedules->runs->len; i++) {
    const ScheduleRun *run = schedules->runs->pdata[i];
    count += run->kept && run->guest == guest ? 1 : 0;
  }
  return count;
}

/* With the lock held. */
static gboolean
is_there (Schedules *schedules, Guest *guest, const char *id)
{
  for (guint i = 0; i < schedules->runs->len; i++) {
    const ScheduleRun *run = schedules->runs->pdata[i];
    if (run->guest == guest && g_strcmp0 (run->id, id) == 0)
      return TRUE;
  }
  return FALSE;
}

static void
on_stopping (GCancellable *stopping G_GNUC_UNUSED, gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
}

/* What stands for the call that began it. */
static Request *
request_of_order (Daemon *daemon, JsonObject *order, GError **error)
{
  JsonObject *body = json_get_object (order, "checkpoints", error);
  const char *store = body != NULL ? json_get_string (order, "store", error) : NULL;
  g_autofree char *text = json_to_line (order);

  if (store == NULL)
    return NULL;
  if (strlen (text) > MAX_ORDER) {
    g_set_error (error, API_ERROR, API_USAGE, "a schedule of more than %d bytes", MAX_ORDER);
    return NULL;
  }
  Request *request = g_new0 (Request, 1);
  request->daemon = daemon;
  request->body = json_object_ref (body);
  request->cancellable = g_cancellable_new();
  request->watcher =
      (UnitWatcher){ .progress = &request->progress, .cancellable = request->cancellable };
  request_set_store (request, store);
  return request;
}

/* @elapsed_us: how long it has been going. */
static ScheduleRun *
run_of_order (Daemon *daemon, Guest *guest, JsonObject *order, gint64 elapsed_us, GError **error)
{
  const char *id = json_get_string (order, "id", error);
  const char *id_of_store = id != NULL ? json_get_string (order, "store_id", error) : NULL;
  g_autoptr (Request) request =
      id_of_store != NULL ? request_of_order (daemon, order, error) : NULL;

  if (request == NULL || request_store_path (request, error) == NULL)
    return NULL;
  ScheduleRun *run = run_new (request, guest, error);
  if (run == NULL)
    return NULL;
  run->request = g_steal_pointer (&request);
  run->kept = TRUE;
  run->id = g_strdup (id);
  run->store_id = g_strdup (id_of_store);
  run->began_us -= CLAMP (elapsed_us, 0, SCHEDULE_TIME_MAX_US);
  run->begun = json_get_uint64_or (order, "begun", 1);
  return run;
}

/* Takes its run. */
static gpointer
kept_thread (gpointer data)
{
  g_autoptr (ScheduleRun) run = data;
  Daemon *daemon = run->request->daemon;
  Schedules *schedules = daemon->schedules;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) summary = run_it (run, &error);

  g_cancellable_disconnect (daemon->stopping, run->stopping);
  if (error != NULL && !g_cancellable_is_cancelled (daemon->stopping))
    g_message ("guest %s, %s: %s", guest_name (run->guest), run->text, error->message);
  LOCK (schedules);
  /* The next daemon goes on with what this one leaves; what is over was taken out by who said so.
   */
  if (!g_cancellable_is_cancelled (daemon->stopping) &&
      g_ptr_array_remove_fast (schedules->runs, run))
    save (schedules, run->guest);
  return NULL;
}

/* @run: taken. */
static void
begin (Daemon *daemon, ScheduleRun *run)
{
  run->stopping = g_cancellable_connect (daemon->stopping, G_CALLBACK (on_stopping),
                                         g_object_ref (run->request->cancellable), g_object_unref);
  g_thread_unref (g_thread_new ("schedule", kept_thread, run));
}

gboolean
schedules_keep (Daemon *daemon, Guest *guest, JsonObject *order, GError **error)
{
  Schedules *schedules = daemon->schedules;
  gint64 elapsed_us = (gint64)MIN (json_get_uint64_or (order, "elapsed_us", 0), G_MAXINT64);
  g_autoptr (ScheduleRun) run = run_of_order (daemon, guest, order, elapsed_us, error);

  if (run == NULL || !check_store (run, error))
    return FALSE;
  {
    LOCK (schedules);
    if (is_there (schedules, guest, run->id))
      return TRUE;
    if (count_kept (schedules, guest) >= SCHEDULES_MAX) {
      g_set_error (error, API_ERROR, API_CONFLICT, "guest %s has %d schedules already",
                   guest_name (guest), SCHEDULES_MAX);
      return FALSE;
    }
    g_ptr_array_add (schedules->runs, run_ref (run));
    if (!write_kept (schedules, guest, error)) {
      g_ptr_array_remove_fast (schedules->runs, run);
      return FALSE;
    }
  }
  begin (daemon, g_steal_pointer (&run));
  return TRUE;
}

guint
schedules_end_kept (Schedules *schedules, Guest *guest)
{
  guint count = 0;
  LOCK (schedules);

  for (guint i = schedules->runs->len; i-- > 0;) {
    ScheduleRun *run = schedules->runs->pdata[i];
    if (!run->kept || run->guest != guest)
      continue;
    g_cancellable_cancel (run->over);
    g_ptr_array_remove_index (schedules->runs, i);
    count++;
  }
  save (schedules, guest);
  return count;
}

/* ---- Going elsewhere ---- */

GPtrArray *
schedules_of (Schedules *schedules, Guest *guest)
{
  GPtrArray *runs = g_ptr_array_new_with_free_func ((GDestroyNotify)schedule_run_unref);
  LOCK (schedules);

  for (guint i = 0; i < schedules->runs->len; i++) {
    ScheduleRun *run = schedules->runs->pdata[i];
    if (run->guest == guest && run->gone_to == NULL)
      g_ptr_array_add (runs, run_ref (run));
  }
  return runs;
}

const char *
schedule_run_text (ScheduleRun *run)
{
  return run->text;
}

JsonObject *
schedule_run_hand_over (Schedules *schedules, ScheduleRun *run, const char *store_here,
                        const char *store_there)
{
  LOCK (schedules);
  JsonObject *order = describe_order (run);

  json_object_set_int_member (order, "elapsed_us", g_get_monotonic_time() - run->began_us);
  if (g_strcmp0 (run->store, store_here) == 0)
    json_object_set_string_member (order, "store", store_there);
  return order;
}

void
schedule_run_gone (Schedules *schedules, ScheduleRun *run, const char *to, const GError *refused)
{
  LOCK (schedules);

  if (run->gone_to != NULL)
    return;
  run->gone_to = g_strdup (to);
  run->refused = refused != NULL ? g_error_copy (refused) : NULL;
  g_cancellable_cancel (run->over);
  if (run->kept && g_ptr_array_remove_fast (schedules->runs, run))
    save (schedules, run->guest);
}

/* ---- Who looks ---- */

JsonArray *
schedules_describe (Schedules *schedules, Guest *guest)
{
  JsonArray *list = json_array_new();
  LOCK (schedules);

  for (guint i = 0; i < schedules->runs->len; i++) {
    const ScheduleRun *run = schedules->runs->pdata[i];
    if (run->guest != guest)
      continue;
    JsonObject *object = json_object_new();
    json_object_set_string_member (object, "every", json_get_string_or (run->body, "every", NULL));
    json_set_string_or_null (object, "for", json_get_string_or (run->body, "for", NULL));
    if (run->schedule.count > 0)
      json_object_set_int_member (object, "count", (gint64)run->schedule.count);
    else
      json_object_set_null_member (object, "count");
    json_object_set_string_member (object, "store", run->store);
    json_object_set_int_member (object, "begun", (gint64)run->begun);
    json_object_set_boolean_member (object, "kept", run->kept);
    json_set_string_or_null (object, "trouble", run->trouble);
    json_array_add_object_element (list, object);
  }
  return list;
}

/* ---- Over time ---- */

void
schedules_find_kept (Daemon *daemon, Guest *guest)
{
  g_autofree char *path = g_build_filename (guest_directory (guest), GUEST_FILE_SCHEDULES, NULL);
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;
  gsize len;

  if (guest_state (guest) == GUEST_EXITED || !g_file_get_contents (path, &text, &len, NULL))
    return;
  g_autoptr (JsonObject) object = json_parse_bounded (text, len, MAX_FILE, MAX_DEPTH, &error);
  JsonArray *list = object != NULL ? json_get_array (object, "schedules", &error) : NULL;
  for (guint i = 0; list != NULL && i < MIN (json_array_get_length (list), SCHEDULES_MAX); i++) {
    JsonNode *node = json_array_get_element (list, i);
    JsonObject *order = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    gint64 began_us = order != NULL ? (gint64)json_get_uint64_or (order, "began_us", 0) : 0;
    g_autoptr (ScheduleRun) run =
        order != NULL ? run_of_order (daemon, guest, order, g_get_real_time() - began_us, &error)
                      : NULL;
    if (run == NULL)
      break;
    add (daemon->schedules, run);
    begin (daemon, g_steal_pointer (&run));
  }
  if (error != NULL)
    g_warning ("guest %s: its schedules, which an earlier vmckptd kept in %s: %s",
               guest_name (guest), path, error->message);
}

/* A guest that has ended has none any more; one that has been handed over may go on yet. */
static gboolean
on_watch (gpointer user_data)
{
  Schedules *schedules = ((Daemon *)user_data)->schedules;
  LOCK (schedules);

  for (guint i = schedules->runs->len; i-- > 0;) {
    ScheduleRun *run = schedules->runs->pdata[i];
    if (!run->kept || guest_state (run->guest) != GUEST_EXITED || guest_is_departing (run->guest))
      continue;
    g_cancellable_cancel (run->over);
    g_ptr_array_remove_index (schedules->runs, i);
  }
  return G_SOURCE_CONTINUE;
}

void
schedules_watch (Daemon *daemon)
{
  g_autoptr (GPtrArray) guests = registry_list (daemon->registry);

  for (guint i = 0; i < guests->len; i++)
    schedules_find_kept (daemon, guests->pdata[i]);
  g_timeout_add_seconds (WATCH_SECONDS, on_watch, daemon);
}
