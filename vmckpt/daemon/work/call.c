/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "call.h"

#include "api-error.h"
#include "client-watch.h"

#include <vmckpt/util/json.h>

#include <string.h>

#define HEARTBEAT_MS 1000
#define STATUS_INTERVAL_US 100000
#define MAX_CALLS 256

typedef struct {
  gatomicrefcount refs;
  SoupServerMessage *message;
  Request *request;
  RequestHandler handler;
  gboolean streamed;
  GSource *hangup; /* the client's end of the socket */
  guint heartbeat;
  gulong finished; /* signal handler on the message; holds a reference of its own */
  gboolean gone;   /* main thread: the exchange is over */
  /* Guarded by the lock: what the worker has to say. */
  GMutex lock;
  GQueue lines; /* of char * */
  gboolean flush_queued;
  gint64 began_us, phase_began_us, last_status_us;
  Phase phase;
  guint64 phase_done, phase_total;
  /* Set by the worker before it is done. */
  JsonObject *result;
  GError *error;
  gulong stopping; /* cancels when the daemon is to end */
} Call;

static Call *
call_ref (Call *call)
{
  g_atomic_ref_count_inc (&call->refs);
  return call;
}

static void
call_unref (Call *call)
{
  if (!g_atomic_ref_count_dec (&call->refs))
    return;
  g_cancellable_disconnect (call->request->daemon->stopping, call->stopping);
  g_atomic_int_add (&call->request->daemon->calls, -1);
  g_main_context_wakeup (NULL);
  g_queue_clear_full (&call->lines, g_free);
  g_mutex_clear (&call->lock);
  g_clear_pointer (&call->result, json_object_unref);
  g_clear_error (&call->error);
  request_free (call->request);
  g_object_unref (call->message);
  g_free (call);
}

/* ---- Lines of a streamed answer ---- */

/* Main thread: hands the lines that have gathered to the connection. */
static gboolean
flush_lines (gpointer data)
{
  Call *call = data;
  SoupMessageBody *body = soup_server_message_get_response_body (call->message);
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&call->lock);
  char *line;

  call->flush_queued = FALSE;
  while ((line = g_queue_pop_head (&call->lines)) != NULL) {
    if (call->gone)
      g_free (line);
    else
      soup_message_body_append (body, SOUP_MEMORY_TAKE, line, strlen (line));
  }
  if (!call->gone)
    soup_server_message_unpause (call->message);
  return G_SOURCE_REMOVE;
}

/* With the lock held. Takes @object. */
static void
add_line (Call *call, JsonObject *object)
{
  g_autofree char *text = json_to_line (object);

  json_object_unref (object);
  g_queue_push_tail (&call->lines, g_strconcat (text, "\n", NULL));
  if (!call->flush_queued) {
    call->flush_queued = TRUE;
    /* Never at once, even on the main thread: flushing takes the lock. */
    g_idle_add_full (G_PRIORITY_DEFAULT, flush_lines, call_ref (call), (GDestroyNotify)call_unref);
  }
}

/* With the lock held. */
static void
add_status (Call *call, gint64 now)
{
  JsonObject *status = json_object_new();
  double seconds = (now - call->phase_began_us) / 1e6;

  call->last_status_us = now;
  json_object_set_string_member (status, "type", "status");
  json_object_set_string_member (status, "phase", phase_name (call->phase));
  json_object_set_double_member (status, "seconds_elapsed", (now - call->began_us) / 1e6);
  if (call->phase_done > 0)
    json_object_set_int_member (status, "bytes_done", call->phase_done);
  if (call->phase_total > 0) {
    double part = MIN (1, (double)call->phase_done / call->phase_total);
    json_object_set_int_member (status, "total_bytes", call->phase_total);
    json_object_set_double_member (status, "percent_done", part);
    if (part > 0)
      json_object_set_double_member (status, "seconds_remaining", seconds * (1 - part) / part);
  }
  add_line (call, status);
}

/* Any thread; ProgressFunc. */
static void
on_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Call *call = user_data;
  gint64 now = g_get_monotonic_time();
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&call->lock);
  /* Work of the same phase that begins anew, at 0, has a time of its own to tell. */
  gboolean entered =
      phase != call->phase || call->phase_began_us == 0 || (done == 0 && call->phase_done > 0);

  if (entered) {
    call->phase = phase;
    call->phase_began_us = now;
  }
  call->phase_done = done;
  call->phase_total = total;
  if (call->streamed && (entered || now - call->last_status_us >= STATUS_INTERVAL_US))
    add_status (call, now);
}

/* Any thread. */
static void
on_message (const char *text, gpointer user_data)
{
  Call *call = user_data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&call->lock);

  if (!call->streamed)
    return;
  JsonObject *line = json_object_new();
  json_object_set_string_member (line, "type", "message");
  json_object_set_string_member (line, "text", text);
  add_line (call, line);
}

/* Any thread: what has come of a part of the work. */
static void
on_send_line (const char *type, JsonObject *line, gpointer user_data)
{
  Call *call = user_data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&call->lock);

  json_object_set_string_member (line, "type", type);
  if (call->streamed)
    add_line (call, line);
  else
    json_object_unref (line);
}

/* A line a second even when nothing moves, so that a client can tell a slow daemon from a dead one.
 */
static gboolean
on_heartbeat (gpointer data)
{
  Call *call = data;
  gint64 now = g_get_monotonic_time();
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&call->lock);

  if (now - call->last_status_us >= HEARTBEAT_MS * 1000 / 2)
    add_status (call, now);
  return G_SOURCE_CONTINUE;
}

/* ---- Answers ---- */

static void
send_json (SoupServerMessage *message, guint status, JsonObject *object)
{
  g_autofree char *text = json_to_line (object);
  g_autofree char *line = g_strconcat (text, "\n", NULL);

  soup_server_message_set_status (message, status, NULL);
  soup_server_message_set_response (message, "application/json", SOUP_MEMORY_COPY, line,
                                    strlen (line));
}

JsonObject *
call_error_to_json (const GError *error)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "kind", api_kind_name (api_error_kind (error)));
  /* What a client sent may be quoted in it, and need not be UTF-8. */
  g_autofree char *message = g_utf8_make_valid (error->message, -1);
  json_object_set_string_member (object, "message", message);
  return object;
}

void
call_refuse (SoupServerMessage *message, const GError *error)
{
  g_autoptr (JsonObject) object = json_object_new();

  json_object_set_object_member (object, "error", call_error_to_json (error));
  send_json (message, api_kind_status (api_error_kind (error)), object);
}

void
call_answer (SoupServerMessage *message, JsonObject *object)
{
  send_json (message, 200, object);
}

/* With the lock held: the last line of a streamed answer. */
static void
add_last_line (Call *call)
{
  JsonObject *line =
      call->error != NULL ? call_error_to_json (call->error) : json_object_ref (call->result);

  json_object_set_string_member (line, "type", call->error != NULL ? "error" : "result");
  add_line (call, line);
}

/* Main thread: the worker is done. */
static gboolean
finish (gpointer data)
{
  Call *call = data;

  g_clear_handle_id (&call->heartbeat, g_source_remove);
  client_watch_end (&call->hangup);
  if (call->gone)
    return G_SOURCE_REMOVE;
  if (call->streamed) {
    {
      g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&call->lock);
      add_last_line (call);
    }
    flush_lines (call);
    soup_message_body_complete (soup_server_message_get_response_body (call->message));
  } else if (call->error != NULL) {
    call_refuse (call->message, call->error);
  } else {
    send_json (call->message, 200, call->result);
  }
  soup_server_message_unpause (call->message);
  return G_SOURCE_REMOVE;
}

static gpointer
work (gpointer data)
{
  Call *call = data;

  call->result = call->handler (call->request, &call->error);
  if (call->result == NULL && call->error == NULL)
    g_set_error (&call->error, API_ERROR, API_FAILED, "the handler gave no answer");
  g_idle_add_full (G_PRIORITY_DEFAULT, finish, call, (GDestroyNotify)call_unref);
  return NULL;
}

/* Main thread: the exchange is over, be it because all was sent or because the client left. */
static void
on_finished (SoupServerMessage *message, gpointer user_data)
{
  Call *call = user_data;

  call->gone = TRUE;
  g_cancellable_cancel (call->request->cancellable);
  /* The handler holds the call, the call holds the message, the message its handlers. */
  g_signal_handler_disconnect (message, call->finished);
}

static gboolean
on_client_gone (gpointer user_data)
{
  Call *call = user_data;

  g_cancellable_cancel (call->request->cancellable);
  return G_SOURCE_REMOVE;
}

static void
watch_client (Call *call)
{
  call->finished =
      g_signal_connect_data (call->message, "finished", G_CALLBACK (on_finished), call_ref (call),
                             (GClosureNotify)(GCallback)call_unref, 0);
  call->hangup =
      client_watch (call->message, on_client_gone, call_ref (call), (GDestroyNotify)call_unref);
}

static void
begin_stream (Call *call)
{
  SoupMessageHeaders *headers = soup_server_message_get_response_headers (call->message);

  soup_server_message_set_status (call->message, 200, NULL);
  soup_message_headers_set_encoding (headers, SOUP_ENCODING_CHUNKED);
  soup_message_headers_set_content_type (headers, "application/x-ndjson", NULL);
  soup_message_body_set_accumulate (soup_server_message_get_response_body (call->message), FALSE);
  call->heartbeat = g_timeout_add_full (G_PRIORITY_DEFAULT, HEARTBEAT_MS, on_heartbeat,
                                        call_ref (call), (GDestroyNotify)call_unref);
}

static void
on_stopping (GCancellable *stopping, gpointer user_data)
{
  g_cancellable_cancel (user_data);
}

/* With too much at work already, or no thread to be had, the client is told so. */
static gboolean
start_thread (Call *call, GError **error)
{
  if (g_atomic_int_get (&call->request->daemon->calls) > MAX_CALLS) {
    g_set_error (error, API_ERROR, API_FAILED, "%d calls are at work already", MAX_CALLS);
    return FALSE;
  }
  GThread *thread = g_thread_try_new ("request", work, call, error);
  if (thread == NULL)
    return FALSE;
  g_thread_unref (thread);
  return TRUE;
}

void
call_start (SoupServerMessage *message, Request *request, RequestHandler handler, gboolean streamed)
{
  Call *call = g_new0 (Call, 1);

  g_atomic_ref_count_init (&call->refs);
  g_mutex_init (&call->lock);
  call->message = g_object_ref (message);
  call->request = request;
  call->handler = handler;
  call->streamed = streamed;
  call->began_us = g_get_monotonic_time();
  request->cancellable = g_cancellable_new();
  request->progress = (Progress){ on_progress, call };
  request->watcher = (UnitWatcher){ .progress = &request->progress,
                                    .message = on_message,
                                    .user_data = call,
                                    .cancellable = request->cancellable };
  request->send_line = on_send_line;
  g_atomic_int_inc (&request->daemon->calls);
  call->stopping = g_cancellable_connect (request->daemon->stopping, G_CALLBACK (on_stopping),
                                          request->cancellable, NULL);
  watch_client (call);
  if (streamed)
    begin_stream (call);
  soup_server_message_pause (message);
  /* Not into call->error: that is the thread's from the moment it runs. */
  GError *error = NULL;
  if (!start_thread (call, &error)) {
    call->error = error;
    finish (call);
    call_unref (call);
  }
}
