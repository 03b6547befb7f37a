/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "body.h"

#include "api-error.h"
#include "call.h"
#include "client-watch.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#define PIECE (64 * 1024)
#define UNSENT_MAX 8 /* pieces that the connection has not taken yet */

typedef struct {
  gatomicrefcount refs;
  SoupServerMessage *message;
  Request *request;
  BodyFunc func;
  gboolean framed;
  AutoFd read_end;  /* main thread */
  AutoFd write_end; /* worker */
  GSource *ready;   /* (nullable): the pipe has something */
  GSource *hangup;
  guint unsent;
  gboolean begun, gone;
  gulong wrote, finished, stopping;
  GMutex lock;
  GError *error; /* guarded: why it ended early */
} Body;

static Body *
body_ref (Body *body)
{
  g_atomic_ref_count_inc (&body->refs);
  return body;
}

static void
body_unref (Body *body)
{
  if (!g_atomic_ref_count_dec (&body->refs))
    return;
  g_cancellable_disconnect (body->request->daemon->stopping, body->stopping);
  g_atomic_int_add (&body->request->daemon->calls, -1);
  g_main_context_wakeup (NULL);
  fd_close (&body->read_end);
  fd_close (&body->write_end);
  g_clear_error (&body->error);
  g_mutex_clear (&body->lock);
  request_free (body->request);
  g_object_unref (body->message);
  g_free (body);
}

/* ---- Worker ---- */

/* An error before the first byte is the answer's status; later it has a frame, or nothing but the
 * connection's end. */
static gpointer
work (gpointer data)
{
  Body *body = data;
  g_autoptr (ExportFrames) frames =
      export_frames_new (body->write_end, body->framed, body->request->cancellable);
  GError *error = NULL;

  if (!body->func (body->request, frames, &error) && body->framed && export_frames_begun (frames)) {
    g_autoptr (JsonObject) last = call_error_to_json (error);
    json_object_set_string_member (last, "type", "error");
    if (export_frames_end (frames, last, NULL))
      g_clear_error (&error);
  }
  g_mutex_lock (&body->lock);
  body->error = error;
  g_mutex_unlock (&body->lock);
  fd_close (&body->write_end);
  body_unref (body);
  return NULL;
}

/* ---- Main thread ---- */

static void
stop_pump (Body *body)
{
  if (body->ready == NULL)
    return;
  g_source_destroy (body->ready);
  g_clear_pointer (&body->ready, g_source_unref);
}

static void
begin_answer (Body *body)
{
  SoupMessageHeaders *headers = soup_server_message_get_response_headers (body->message);

  body->begun = TRUE;
  soup_server_message_set_status (body->message, 200, NULL);
  soup_message_headers_set_encoding (headers, SOUP_ENCODING_CHUNKED);
  soup_message_headers_set_content_type (
      headers, body->framed ? EXPORT_FRAMES_TYPE : "application/octet-stream", NULL);
  soup_message_body_set_accumulate (soup_server_message_get_response_body (body->message), FALSE);
}

/* The worker is done: its last byte has been read. */
static void
end_answer (Body *body)
{
  g_autoptr (GError) error = NULL;
  GSocket *socket = soup_server_message_get_socket (body->message);

  stop_pump (body);
  client_watch_end (&body->hangup);
  g_mutex_lock (&body->lock);
  error = g_steal_pointer (&body->error);
  g_mutex_unlock (&body->lock);
  if (!body->begun && error != NULL)
    call_refuse (body->message, error);
  else if (error != NULL && socket != NULL) {
    /* A body without its end is no whole file: the end that is put here goes nowhere, but without
     * anything to write libsoup would not notice that the connection is gone. */
    g_socket_shutdown (socket, TRUE, TRUE, NULL);
    soup_message_body_complete (soup_server_message_get_response_body (body->message));
  } else {
    if (!body->begun)
      begin_answer (body);
    soup_message_body_complete (soup_server_message_get_response_body (body->message));
  }
  soup_server_message_unpause (body->message);
}

static gboolean
on_ready (int fd, GIOCondition condition, gpointer user_data)
{
  Body *body = user_data;
  g_autofree guint8 *piece = g_malloc (PIECE);
  ssize_t n = read (fd, piece, PIECE);

  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return G_SOURCE_CONTINUE;
  if (n <= 0) {
    end_answer (body);
    return G_SOURCE_REMOVE;
  }
  if (!body->begun)
    begin_answer (body);
  soup_message_body_append (soup_server_message_get_response_body (body->message), SOUP_MEMORY_TAKE,
                            g_steal_pointer (&piece), n);
  soup_server_message_unpause (body->message);
  if (++body->unsent < UNSENT_MAX)
    return G_SOURCE_CONTINUE;
  stop_pump (body);
  return G_SOURCE_REMOVE;
}

static void
start_pump (Body *body)
{
  body->ready = g_unix_fd_source_new (body->read_end, G_IO_IN | G_IO_HUP);
  g_source_set_callback (body->ready, G_SOURCE_FUNC (on_ready), body_ref (body),
                         (GDestroyNotify)body_unref);
  g_source_attach (body->ready, NULL);
}

static void
on_wrote_chunk (SoupServerMessage *message, gpointer user_data)
{
  Body *body = user_data;

  if (body->unsent > 0 && body->unsent-- == UNSENT_MAX && !body->gone)
    start_pump (body);
}

/* The exchange is over, be it because all was sent or because the client left. */
static void
on_finished (SoupServerMessage *message, gpointer user_data)
{
  Body *body = user_data;

  body->gone = TRUE;
  g_cancellable_cancel (body->request->cancellable);
  stop_pump (body);
  client_watch_end (&body->hangup);
  fd_close (&body->read_end); /* a worker that waits for room is freed */
  g_signal_handler_disconnect (message, body->wrote);
  g_signal_handler_disconnect (message, body->finished);
}

static gboolean
on_client_gone (gpointer user_data)
{
  Body *body = user_data;

  g_cancellable_cancel (body->request->cancellable);
  return G_SOURCE_REMOVE;
}

static void
on_stopping (GCancellable *stopping, gpointer user_data)
{
  g_cancellable_cancel (user_data);
}

static gboolean
wants_frames (SoupServerMessage *message)
{
  const char *accept =
      soup_message_headers_get_list (soup_server_message_get_request_headers (message), "Accept");
  return accept != NULL && strstr (accept, EXPORT_FRAMES_TYPE) != NULL;
}

static Body *
body_new (Daemon *daemon, SoupServerMessage *message, Request *request, BodyFunc func,
          const int ends[2])
{
  Body *body = g_new0 (Body, 1);

  g_atomic_ref_count_init (&body->refs);
  g_mutex_init (&body->lock);
  body->message = g_object_ref (message);
  body->request = request;
  body->func = func;
  body->framed = wants_frames (message);
  body->read_end = ends[0];
  body->write_end = ends[1];
  request->cancellable = g_cancellable_new();
  g_atomic_int_inc (&daemon->calls);
  body->stopping = g_cancellable_connect (daemon->stopping, G_CALLBACK (on_stopping),
                                          request->cancellable, NULL);
  return body;
}

void
body_serve (Daemon *daemon, SoupServerMessage *message, Request *request, BodyFunc func)
{
  g_autoptr (GError) error = NULL;
  int ends[2];

  if (!g_unix_open_pipe (ends, FD_CLOEXEC, &error)) {
    call_refuse (message, error);
    return;
  }
  fcntl (ends[1], F_SETPIPE_SZ, 1 << 20);
  Body *body = body_new (daemon, message, request_steal (request), func, ends);
  GThread *thread = g_thread_try_new ("body", work, body_ref (body), &error);
  if (thread == NULL) {
    body_unref (body);
    call_refuse (message, error);
  } else {
    g_thread_unref (thread);
    body->wrote = g_signal_connect_data (message, "wrote-chunk", G_CALLBACK (on_wrote_chunk),
                                         body_ref (body), (GClosureNotify)(GCallback)body_unref, 0);
    body->finished =
        g_signal_connect_data (message, "finished", G_CALLBACK (on_finished), body_ref (body),
                               (GClosureNotify)(GCallback)body_unref, 0);
    body->hangup =
        client_watch (message, on_client_gone, body_ref (body), (GDestroyNotify)body_unref);
    soup_server_message_pause (message);
    start_pump (body);
  }
  body_unref (body);
}
