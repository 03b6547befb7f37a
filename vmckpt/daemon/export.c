/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export.h"

#include "api-error.h"
#include "call.h"
#include "client-watch.h"
#include "export-frames.h"

#include <vmckpt/exchange/export.h>
#include <vmckpt/store/key.h>
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
} Export;

static Export *
export_ref (Export *export)
{
  g_atomic_ref_count_inc (&export->refs);
  return export;
}

static void
export_unref (Export *export)
{
  if (!g_atomic_ref_count_dec (&export->refs))
    return;
  g_cancellable_disconnect (export->request->daemon->stopping, export->stopping);
  g_atomic_int_add (&export->request->daemon->calls, -1);
  g_main_context_wakeup (NULL);
  fd_close (&export->read_end);
  fd_close (&export->write_end);
  g_clear_error (&export->error);
  g_mutex_clear (&export->lock);
  request_free (export->request);
  g_object_unref (export->message);
  g_free (export);
}

/* ---- Worker ---- */

/* What was asked for. Formats other than ram and disk have no parts. */
static gboolean
parse_wish (Request *request, ExportFormat *format, ExportOptions *options, GError **error)
{
  const char *text = request_query (request, "format");
  guint index = EXPORT_ARCHIVE;

  if (text != NULL && !request_choice ("format", text, export_format_names, &index, error))
    return FALSE;
  *format = index;
  *options = (ExportOptions){ .part = request_query (request, "part"),
                              .physical = request_query_bool (request, "physical") };
  if ((options->part != NULL && *format != EXPORT_RAM && *format != EXPORT_DISK) ||
      (options->physical && (*format != EXPORT_RAM || options->part != NULL))) {
    g_set_error (error, API_ERROR, API_USAGE,
                 "part is for the formats ram and disk, physical for ram without a part");
    return FALSE;
  }
  return TRUE;
}

static JsonObject *
describe (Store *store, const Manifest *manifest, ExportFormat format, const ExportFrames *frames)
{
  JsonObject *last = json_object_new();

  json_object_set_string_member (last, "type", "result");
  json_object_set_string_member (last, "id", manifest->id);
  json_object_set_string_member (last, "guest", manifest->guest);
  json_object_set_string_member (last, "format", export_format_names[format]);
  json_object_set_int_member (last, "bytes", export_frames_bytes (frames));
  json_object_set_boolean_member (last, "decrypted", store_is_encrypted (store));
  return last;
}

static gboolean
write_all (Request *request, ExportFrames *frames, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  g_autoptr (Manifest) manifest = NULL;
  ExportFormat format;
  ExportOptions options;
  ExportSink sink = export_frames_sink (frames);

  if (store == NULL || !parse_wish (request, &format, &options, error) ||
      (manifest = store_manifest_find (store, request->params[0], error)) == NULL ||
      !export_check (store, manifest, format, &options, error) ||
      !export_checkpoint (store, manifest, format, &options, &sink, error))
    return FALSE;
  g_autoptr (JsonObject) last = describe (store, manifest, format, frames);
  return export_frames_end (frames, last, error);
}

/* An error before the first byte is the answer's status; later it has a frame, or nothing but the
 * connection's end. */
static gpointer
work (gpointer data)
{
  Export *export = data;
  g_autoptr (ExportFrames) frames =
      export_frames_new (export->write_end, export->framed, export->request->cancellable);
  GError *error = NULL;

  if (!write_all (export->request, frames, &error) && export->framed &&
      export_frames_begun (frames)) {
    g_autoptr (JsonObject) last = call_error_to_json (error);
    json_object_set_string_member (last, "type", "error");
    if (export_frames_end (frames, last, NULL))
      g_clear_error (&error);
  }
  g_mutex_lock (&export->lock);
  export->error = error;
  g_mutex_unlock (&export->lock);
  fd_close (&export->write_end);
  export_unref (export);
  return NULL;
}

/* ---- Main thread ---- */

static void
stop_pump (Export *export)
{
  if (export->ready == NULL)
    return;
  g_source_destroy (export->ready);
  g_clear_pointer (&export->ready, g_source_unref);
}

static void
begin_answer (Export *export)
{
  SoupMessageHeaders *headers = soup_server_message_get_response_headers (export->message);

  export->begun = TRUE;
  soup_server_message_set_status (export->message, 200, NULL);
  soup_message_headers_set_encoding (headers, SOUP_ENCODING_CHUNKED);
  soup_message_headers_set_content_type (
      headers, export->framed ? EXPORT_FRAMES_TYPE : "application/octet-stream", NULL);
  soup_message_body_set_accumulate (soup_server_message_get_response_body (export->message), FALSE);
}

/* The worker is done: its last byte has been read. */
static void
end_answer (Export *export)
{
  g_autoptr (GError) error = NULL;
  GSocket *socket = soup_server_message_get_socket (export->message);

  stop_pump (export);
  client_watch_end (&export->hangup);
  g_mutex_lock (&export->lock);
  error = g_steal_pointer (&export->error);
  g_mutex_unlock (&export->lock);
  if (!export->begun && error != NULL)
    call_refuse (export->message, error);
  else if (error != NULL && socket != NULL)
    g_socket_shutdown (socket, TRUE, TRUE, NULL); /* a body without its end is no whole file */
  else {
    if (!export->begun)
      begin_answer (export);
    soup_message_body_complete (soup_server_message_get_response_body (export->message));
  }
  soup_server_message_unpause (export->message);
}

static gboolean
on_ready (int fd, GIOCondition condition, gpointer user_data)
{
  Export *export = user_data;
  g_autofree guint8 *piece = g_malloc (PIECE);
  ssize_t n = read (fd, piece, PIECE);

  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return G_SOURCE_CONTINUE;
  if (n <= 0) {
    end_answer (export);
    return G_SOURCE_REMOVE;
  }
  if (!export->begun)
    begin_answer (export);
  soup_message_body_append (soup_server_message_get_response_body (export->message),
                            SOUP_MEMORY_TAKE, g_steal_pointer (&piece), n);
  soup_server_message_unpause (export->message);
  if (++export->unsent < UNSENT_MAX)
    return G_SOURCE_CONTINUE;
  stop_pump (export);
  return G_SOURCE_REMOVE;
}

static void
start_pump (Export *export)
{
  export->ready = g_unix_fd_source_new (export->read_end, G_IO_IN | G_IO_HUP);
  g_source_set_callback (export->ready, G_SOURCE_FUNC (on_ready), export_ref (export),
                         (GDestroyNotify)export_unref);
  g_source_attach (export->ready, NULL);
}

static void
on_wrote_chunk (SoupServerMessage *message, gpointer user_data)
{
  Export *export = user_data;

  if (export->unsent > 0 && export->unsent-- == UNSENT_MAX && !export->gone)
    start_pump (export);
}

/* The exchange is over, be it because all was sent or because the client left. */
static void
on_finished (SoupServerMessage *message, gpointer user_data)
{
  Export *export = user_data;

  export->gone = TRUE;
  g_cancellable_cancel (export->request->cancellable);
  stop_pump (export);
  client_watch_end (&export->hangup);
  fd_close (&export->read_end); /* a worker that waits for room is freed */
  g_signal_handler_disconnect (message, export->wrote);
  g_signal_handler_disconnect (message, export->finished);
}

static gboolean
on_client_gone (gpointer user_data)
{
  Export *export = user_data;

  g_cancellable_cancel (export->request->cancellable);
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

static Export *
export_new (Daemon *daemon, SoupServerMessage *message, Request *request, const int ends[2])
{
  Export *export = g_new0 (Export, 1);

  g_atomic_ref_count_init (&export->refs);
  g_mutex_init (&export->lock);
  export->message = g_object_ref (message);
  export->request = request;
  export->framed = wants_frames (message);
  export->read_end = ends[0];
  export->write_end = ends[1];
  request->cancellable = g_cancellable_new();
  g_atomic_int_inc (&daemon->calls);
  export->stopping = g_cancellable_connect (daemon->stopping, G_CALLBACK (on_stopping),
                                            request->cancellable, NULL);
  return export;
}

void
export_serve (Daemon *daemon, SoupServerMessage *message, Request *request)
{
  g_autoptr (GError) error = NULL;
  int ends[2];

  if (!g_unix_open_pipe (ends, FD_CLOEXEC, &error)) {
    call_refuse (message, error);
    return;
  }
  fcntl (ends[1], F_SETPIPE_SZ, 1 << 20);
  Export *export = export_new (daemon, message, request_steal (request), ends);
  GThread *thread = g_thread_try_new ("export", work, export_ref (export), &error);
  if (thread == NULL) {
    export_unref (export);
    call_refuse (message, error);
  } else {
    g_thread_unref (thread);
    export->wrote =
        g_signal_connect_data (message, "wrote-chunk", G_CALLBACK (on_wrote_chunk),
                               export_ref (export), (GClosureNotify)(GCallback)export_unref, 0);
    export->finished =
        g_signal_connect_data (message, "finished", G_CALLBACK (on_finished), export_ref (export),
                               (GClosureNotify)(GCallback)export_unref, 0);
    export->hangup =
        client_watch (message, on_client_gone, export_ref (export), (GDestroyNotify)export_unref);
    soup_server_message_pause (message);
    start_pump (export);
  }
  export_unref (export);
}
