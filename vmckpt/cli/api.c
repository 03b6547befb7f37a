/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api.h"

#include "cli-error.h"
#include <vmckpt/util/line-splitter.h>
#include <vmckpt/util/operation.h>

#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/un.h>

#define MAX_DEPTH 32
#define READ_SIZE (64 * 1024)
#define NDJSON "application/x-ndjson"

struct Api {
  SoupSession *session;
  char *runtime;
  ApiStartFunc start;
  GCancellable *cancellable;
  guint deadline_ms;
  ApiKeyFunc key_func; /* (nullable) */
  gpointer key_data;
  KeyMaterial *key, *new_key, *other_key; /* (nullable) */
};

Api *
api_new (const char *runtime, ApiStartFunc start, GCancellable *cancellable, GError **error)
{
  g_autofree char *socket = g_build_filename (runtime, "api.sock", NULL);
  g_autoptr (GSocketAddress) address = NULL;
  Api *api;

  if (strlen (socket) >= sizeof ((struct sockaddr_un *)NULL)->sun_path) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                 "the runtime directory's name is too long for a socket: %s", runtime);
    return NULL;
  }
  address = g_unix_socket_address_new (socket);
  api = g_new0 (Api, 1);
  api->session = soup_session_new_with_options ("remote-connectable", address, NULL);
  soup_session_remove_feature_by_type (api->session, SOUP_TYPE_CONTENT_DECODER);
  api->runtime = g_strdup (runtime);
  api->start = start;
  api->cancellable = g_object_ref (cancellable);
  api->deadline_ms = API_DEADLINE_MS;
  return api;
}

void
api_free (Api *api)
{
  soup_session_abort (api->session);
  g_object_unref (api->session);
  g_object_unref (api->cancellable);
  key_material_free (api->key);
  key_material_free (api->new_key);
  key_material_free (api->other_key);
  g_free (api->runtime);
  g_free (api);
}

void
api_set_key_func (Api *api, ApiKeyFunc func, gpointer user_data)
{
  api->key_func = func;
  api->key_data = user_data;
}

static void
replace_key (KeyMaterial **key, const KeyMaterial *by)
{
  g_clear_pointer (key, key_material_free);
  *key = by != NULL ? key_material_copy (by) : NULL;
}

void
api_set_key (Api *api, const KeyMaterial *key)
{
  replace_key (&api->key, key);
  api->key_func = NULL;
}

void
api_set_new_key (Api *api, const KeyMaterial *key)
{
  replace_key (&api->new_key, key);
}

void
api_set_other_key (Api *api, const KeyMaterial *key)
{
  replace_key (&api->other_key, key);
}

void
api_set_deadline (Api *api, guint deadline_ms)
{
  api->deadline_ms = deadline_ms;
}

GString *
api_path (const char *segment, ...)
{
  GString *path = g_string_new ("/v1");
  va_list args;

  va_start (args, segment);
  for (const char *text = segment; text != NULL; text = va_arg (args, const char *)) {
    g_string_append_c (path, '/');
    g_string_append_uri_escaped (path, text, "@", FALSE);
  }
  va_end (args);
  return path;
}

void
api_path_add (GString *path, const char *key, const char *value)
{
  g_string_append_printf (path, "%c%s=", strchr (path->str, '?') != NULL ? '&' : '?', key);
  g_string_append_uri_escaped (path, value, "/", FALSE);
}

/* Turns what went wrong on the way to the daemon into an error for people. */
static void
explain (Api *api, const Operation *op, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (error == NULL || *error == NULL || (*error)->domain == CLI_ERROR)
    return;
  cause = g_steal_pointer (error);
  if (op->late)
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
                 "the daemon in %s has said nothing for %u s: it hangs or is overloaded; "
                 "if it must be ended, guests run on without it",
                 api->runtime, api->deadline_ms / 1000);
  else if (g_cancellable_is_cancelled (op->outer))
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_INTERRUPTED, "interrupted");
  else if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
                 "the daemon in %s takes no connections: it hangs or is overloaded", api->runtime);
  else
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "talking to the daemon in %s: %s",
                 api->runtime, cause->message);
}

/* Lets go of the answer. Where only a part of it was read, that closes the connection: libsoup does
 * it in the main loop, once nothing holds the stream, not even the last step's result. */
static void
end_call (Operation *op, GInputStream **stream)
{
  g_clear_object (&op->result);
  g_clear_object (stream);
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

static gboolean
names_store (const GString *path)
{
  return strstr (path->str, "store=") != NULL;
}

/* Looks for a key before the first call that names a store; FALSE with @error if that fails. */
static gboolean
find_key (Api *api, const GString *path, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (api->key == NULL && api->key_func != NULL && names_store (path))
    api->key = api->key_func (api->key_data, FALSE, &cause);
  if (cause == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* A call failed: TRUE if that was for want of a key and there is one now, so that it is to be made
 * again. Nothing has been done by a call without a key. */
static gboolean
ask_for_key (Api *api, const GString *path, GError **error)
{
  if (api->key != NULL || api->key_func == NULL || !names_store (path) ||
      !g_error_matches (*error, CLI_ERROR, CLI_ERROR_KEY))
    return FALSE;
  g_autoptr (GError) cause = NULL;
  api->key = api->key_func (api->key_data, TRUE, &cause);
  if (cause != NULL) {
    g_clear_error (error);
    g_propagate_error (error, g_steal_pointer (&cause));
  }
  if (api->key != NULL)
    g_clear_error (error);
  return api->key != NULL;
}

static void
add_key (SoupMessage *message, const char *header, const KeyMaterial *key)
{
  if (key == NULL)
    return;
  g_autoptr (SecretText) text = key_material_to_text (key);
  soup_message_headers_replace (soup_message_get_request_headers (message), header, text);
}

static SoupMessage *
new_message (Api *api, const char *method, const GString *path, JsonObject *body)
{
  g_autofree char *uri = g_strconcat ("http://localhost", path->str, NULL);
  SoupMessage *message = soup_message_new (method, uri);

  if (body != NULL) {
    char *text = json_to_line (body);
    g_autoptr (GBytes) bytes = g_bytes_new_take (text, strlen (text));
    soup_message_set_request_body_from_bytes (message, "application/json", bytes);
  }
  if (names_store (path)) {
    add_key (message, "Vmckpt-Key", api->key);
    add_key (message, "Vmckpt-New-Key", api->new_key);
    add_key (message, "Vmckpt-Other-Key", api->other_key);
  }
  return message;
}

/* TRUE if nobody listens on the socket, so nothing of the request can have been done. */
static gboolean
nobody_listens (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);
}

/* Reads at most READ_SIZE bytes; empty at the end. */
static GBytes *
read_some (Operation *op, GInputStream *stream, guint deadline_ms, GError **error)
{
  g_input_stream_read_bytes_async (stream, READ_SIZE, G_PRIORITY_DEFAULT, op->steps,
                                   operation_on_ready, op);
  return g_input_stream_read_bytes_finish (stream, operation_wait (op, deadline_ms), error);
}

/* Reads an answer to its end and parses it. */
static JsonObject *
read_answer (Api *api, Operation *op, GInputStream *stream, GError **error)
{
  g_autoptr (GByteArray) text = g_byte_array_new();

  while (TRUE) {
    g_autoptr (GBytes) piece = read_some (op, stream, api->deadline_ms, error);
    if (piece == NULL)
      return NULL;
    if (g_bytes_get_size (piece) == 0)
      break;
    g_byte_array_append (text, g_bytes_get_data (piece, NULL), g_bytes_get_size (piece));
    if (text->len > API_MAX_ANSWER) {
      g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "the daemon's answer is larger than %d MiB",
                   API_MAX_ANSWER >> 20);
      return NULL;
    }
  }
  return json_parse_bounded ((const char *)text->data, text->len, API_MAX_ANSWER, MAX_DEPTH, error);
}

static void
set_error_from_json (JsonObject *object, GError **error)
{
  g_set_error_literal (error, CLI_ERROR,
                       cli_error_from_kind (json_get_string_or (object, "kind", NULL)),
                       json_get_string_or (object, "message", "the daemon gave no reason"));
}

/* Turns an answer with an error status into the error that it holds. */
static void
read_refusal (Api *api, Operation *op, SoupMessage *message, GInputStream *stream, GError **error)
{
  g_autoptr (JsonObject) answer = read_answer (api, op, stream, NULL);
  JsonObject *refusal = answer != NULL ? json_get_object (answer, "error", NULL) : NULL;

  if (refusal != NULL)
    set_error_from_json (refusal, error);
  else if (op->late || g_cancellable_is_cancelled (op->outer))
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "cancelled");
  else
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "the daemon answered HTTP status %u to %s",
                 soup_message_get_status (message),
                 g_uri_get_path (soup_message_get_uri (message)));
}

/* Sends @message, starting a daemon if there is none; returns the answer's body, status 2xx. */
static GInputStream *
send_message (Api *api, Operation *op, SoupMessage *message, GError **error)
{
  g_autoptr (GInputStream) stream = NULL;

  for (gboolean started = FALSE; stream == NULL; started = TRUE) {
    g_autoptr (GError) cause = NULL;
    soup_session_send_async (api->session, message, G_PRIORITY_DEFAULT, op->steps,
                             operation_on_ready, op);
    stream = soup_session_send_finish (api->session, operation_wait (op, api->deadline_ms), &cause);
    if (stream != NULL)
      break;
    if (started || api->start == NULL || !nobody_listens (cause)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
    if (!api->start (api->runtime, op->steps, error))
      return NULL;
  }
  if (!SOUP_STATUS_IS_SUCCESSFUL (soup_message_get_status (message))) {
    read_refusal (api, op, message, stream, error);
    return NULL;
  }
  return g_steal_pointer (&stream);
}

static JsonObject *
call_once (Api *api, const char *method, const GString *path, JsonObject *body, GError **error)
{
  g_autoptr (SoupMessage) message = new_message (api, method, path, body);
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GError) cause = NULL;
  JsonObject *answer = NULL;
  g_auto (Operation) op = { 0 };

  operation_begin (&op, api->cancellable);
  stream = send_message (api, &op, message, &cause);
  if (stream != NULL)
    answer = read_answer (api, &op, stream, &cause);
  end_call (&op, &stream);
  explain (api, &op, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return answer;
}

JsonObject *
api_call (Api *api, const char *method, const GString *path, JsonObject *body, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonObject *answer = NULL;

  if (find_key (api, path, &cause))
    answer = call_once (api, method, path, body, &cause);
  if (cause != NULL && ask_for_key (api, path, &cause))
    answer = call_once (api, method, path, body, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return answer;
}

/* Takes one line; returns the result if that is what it is, NULL with @error if it is an error. */
static JsonObject *
take_line (const char *text, ApiLineFunc func, gpointer user_data, GError **error)
{
  g_autoptr (JsonObject) line =
      json_parse_bounded (text, strlen (text), API_MAX_LINE, MAX_DEPTH, error);
  const char *type;

  if (line == NULL || (type = json_get_string (line, "type", error)) == NULL)
    return NULL;
  if (g_str_equal (type, "result"))
    return g_steal_pointer (&line);
  if (g_str_equal (type, "error"))
    set_error_from_json (line, error);
  else if (g_str_equal (type, "status") || g_str_equal (type, "message") ||
           g_str_equal (type, "checkpoint") || g_str_equal (type, "guest") ||
           g_str_equal (type, "files") || g_str_equal (type, "changes") ||
           g_str_equal (type, "serving"))
    func (line, type, user_data);
  return NULL;
}

/* Reads lines until one is the result or an error. */
static JsonObject *
read_lines (Api *api, Operation *op, GInputStream *stream, ApiLineFunc func, gpointer user_data,
            GError **error)
{
  g_autoptr (LineSplitter) lines = line_splitter_new (API_MAX_LINE);
  g_autoptr (GError) cause = NULL;
  JsonObject *result = NULL;

  while (result == NULL && cause == NULL) {
    g_autofree char *line = NULL;
    if (!line_splitter_next (lines, &line, &cause))
      break;
    if (line != NULL) {
      result = take_line (line, func, user_data, &cause);
      continue;
    }
    g_autoptr (GBytes) piece = read_some (op, stream, api->deadline_ms, &cause);
    if (piece == NULL)
      break;
    if (g_bytes_get_size (piece) == 0) {
      g_set_error_literal (
          &cause, CLI_ERROR, CLI_ERROR_FAILED,
          "the daemon ended before the work was done: it is undone, guests run on");
      break;
    }
    line_splitter_add (lines, g_bytes_get_data (piece, NULL), g_bytes_get_size (piece));
  }
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return result;
}

/* The result of a call that may be long: in lines, or at once. */
static JsonObject *
read_result (Api *api, Operation *op, SoupMessage *message, GInputStream *stream, ApiLineFunc func,
             gpointer user_data, GError **error)
{
  const char *type =
      soup_message_headers_get_content_type (soup_message_get_response_headers (message), NULL);

  return g_strcmp0 (type, NDJSON) == 0 ? read_lines (api, op, stream, func, user_data, error)
                                       : read_answer (api, op, stream, error);
}

static JsonObject *
call_long_once (Api *api, const GString *path, JsonObject *body, ApiLineFunc func,
                gpointer user_data, GError **error)
{
  g_autoptr (SoupMessage) message = new_message (api, "POST", path, body);
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GError) cause = NULL;
  JsonObject *result = NULL;
  g_auto (Operation) op = { 0 };

  soup_message_headers_replace (soup_message_get_request_headers (message), "Accept", NDJSON);
  operation_begin (&op, api->cancellable);
  stream = send_message (api, &op, message, &cause);
  if (stream != NULL)
    result = read_result (api, &op, message, stream, func, user_data, &cause);
  end_call (&op, &stream);
  explain (api, &op, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return result;
}

JsonObject *
api_call_long (Api *api, const GString *path, JsonObject *body, ApiLineFunc func,
               gpointer user_data, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonObject *result = NULL;

  if (find_key (api, path, &cause))
    result = call_long_once (api, path, body, func, user_data, &cause);
  if (cause != NULL && ask_for_key (api, path, &cause))
    result = call_long_once (api, path, body, func, user_data, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return result;
}

/* Hands the body of the answer to @message on as it comes. */
static gboolean
copy_body (Api *api, SoupMessage *message, gboolean endless, ApiTextFunc func, gpointer user_data,
           GError **error)
{
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GError) cause = NULL;
  gboolean going_on;
  g_auto (Operation) op = { 0 };

  operation_begin (&op, api->cancellable);
  stream = send_message (api, &op, message, &cause);
  going_on = stream != NULL;
  while (going_on) {
    g_autoptr (GBytes) piece = read_some (&op, stream, endless ? 0 : api->deadline_ms, &cause);
    going_on = piece != NULL && g_bytes_get_size (piece) > 0 &&
               func (g_bytes_get_data (piece, NULL), g_bytes_get_size (piece), user_data);
  }
  g_clear_object (&stream);
  end_call (&op, &stream);
  explain (api, &op, &cause);
  if (cause == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
copy_once (Api *api, const GString *path, const char *accept, gboolean endless, ApiTextFunc func,
           gpointer user_data, GError **error)
{
  g_autoptr (SoupMessage) message = new_message (api, "GET", path, NULL);

  if (accept != NULL)
    soup_message_headers_replace (soup_message_get_request_headers (message), "Accept", accept);
  return copy_body (api, message, endless, func, user_data, error);
}

gboolean
api_copy_text (Api *api, const GString *path, gboolean endless, ApiTextFunc func,
               gpointer user_data, GError **error)
{
  return copy_once (api, path, NULL, endless, func, user_data, error);
}

gboolean
api_download (Api *api, const GString *path, const char *accept, ApiTextFunc func,
              gpointer user_data, GError **error)
{
  g_autoptr (GError) cause = NULL;
  gboolean done = FALSE;

  if (find_key (api, path, &cause))
    done = copy_once (api, path, accept, FALSE, func, user_data, &cause);
  if (cause != NULL && ask_for_key (api, path, &cause))
    done = copy_once (api, path, accept, FALSE, func, user_data, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return done;
}

/* ---- Uploads ---- */

typedef struct {
  Operation *op;
  guint64 sent, seen; /* seen: at the last look */
  ApiSentFunc func;
  gpointer user_data;
} Upload;

static void
on_wrote_data (SoupMessage *message, guint count, gpointer user_data)
{
  Upload *upload = user_data;

  upload->sent += count;
  upload->func (upload->sent, upload->user_data);
}

/* Nothing has moved since the last look: the daemon hangs. */
static gboolean
on_upload_check (gpointer user_data)
{
  Upload *upload = user_data;

  if (upload->sent == upload->seen) {
    upload->op->late = TRUE;
    g_cancellable_cancel (upload->op->steps);
  }
  upload->seen = upload->sent;
  return G_SOURCE_CONTINUE;
}

/* The daemon must be there, and the key right, before the first byte: a body cannot be sent twice.
 */
static gboolean
prepare_upload (Api *api, const GString *probe, GError **error)
{
  g_autoptr (JsonObject) answer = api_call (api, "GET", probe, NULL, error);

  return answer != NULL;
}

JsonObject *
api_upload (Api *api, const GString *probe, const GString *path, GInputStream *body, gint64 length,
            ApiSentFunc func, ApiLineFunc line_func, gpointer user_data, GError **error)
{
  g_autoptr (SoupMessage) message = NULL;
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GError) cause = NULL;
  JsonObject *answer = NULL;
  g_auto (Operation) op = { 0 };
  Upload upload = { .op = &op, .func = func, .user_data = user_data };

  if (!prepare_upload (api, probe, error))
    return NULL;
  message = new_message (api, "POST", path, NULL);
  soup_message_headers_replace (soup_message_get_request_headers (message), "Accept", NDJSON);
  operation_begin (&op, api->cancellable);
  soup_message_set_request_body (message, "application/octet-stream", body, length);
  g_signal_connect (message, "wrote-body-data", G_CALLBACK (on_wrote_data), &upload);
  guint check = g_timeout_add (API_UPLOAD_PATIENCE_MS, on_upload_check, &upload);
  soup_session_send_async (api->session, message, G_PRIORITY_DEFAULT, op.steps, operation_on_ready,
                           &op);
  stream = soup_session_send_finish (api->session, operation_wait (&op, 0), &cause);
  g_source_remove (check);
  if (stream != NULL && !SOUP_STATUS_IS_SUCCESSFUL (soup_message_get_status (message)))
    read_refusal (api, &op, message, stream, &cause);
  else if (stream != NULL)
    answer = read_result (api, &op, message, stream, line_func, user_data, &cause);
  g_signal_handlers_disconnect_by_data (message, &upload);
  end_call (&op, &stream);
  explain (api, &op, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return answer;
}

SoupWebsocketConnection *
api_open_websocket (Api *api, const GString *path, const char *protocol, GError **error)
{
  g_autoptr (SoupMessage) message = new_message (api, "GET", path, NULL);
  g_autoptr (GError) cause = NULL;
  char *protocols[] = { (char *)protocol, NULL };
  SoupWebsocketConnection *connection;
  g_auto (Operation) op = { 0 };

  operation_begin (&op, api->cancellable);
  soup_session_websocket_connect_async (api->session, message, NULL, protocols, G_PRIORITY_DEFAULT,
                                        op.steps, operation_on_ready, &op);
  connection = soup_session_websocket_connect_finish (
      api->session, operation_wait (&op, api->deadline_ms), &cause);
  explain (api, &op, &cause);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return connection;
}
