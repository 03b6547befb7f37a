/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "import.h"

#include "api-error.h"
#include "call.h"
#include "checkpoint-json.h"
#include "client-watch.h"
#include "request-headers.h"

#include <vmckpt/exchange/import.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IMPORT_KEY "vmckpt-import"
#define SPEC_TEXT_MAX (64 * 1024)
#define SPEC_DEPTH 8

typedef struct {
  gatomicrefcount refs;
  SoupServerMessage *message;
  Request *request;
  AutoFd in;       /* main thread: what comes goes in here; -1: it is dropped */
  AutoFd out;      /* worker */
  GQueue pending;  /* of GBytes: came, but did not fit */
  GSource *room;   /* (nullable): waits until something fits; the message is paused */
  GSource *hangup; /* (nullable): the client's end, once the body is read */
  gboolean read;   /* the body has come to its end */
  gboolean called; /* a call waits for the result and answers */
  gboolean done;   /* the worker has */
  gboolean gone;   /* the exchange is over */
  gulong chunk, finished, stopping;
  Progress progress;
  GPtrArray *messages; /* worker, then main thread: of char * */
  JsonObject *result;
  GError *error;
  GMutex lock;
  GCond changed;
  /* Guarded: for a call that waits. */
  gboolean ended, moved; /* ended: result or error are set */
  Phase phase;
  guint64 phase_done, phase_total;
} Import;

static Import *
import_ref (Import *import)
{
  g_atomic_ref_count_inc (&import->refs);
  return import;
}

static void
import_unref (gpointer data)
{
  Import *import = data;

  if (!g_atomic_ref_count_dec (&import->refs))
    return;
  g_cancellable_disconnect (import->request->daemon->stopping, import->stopping);
  g_atomic_int_add (&import->request->daemon->calls, -1);
  g_main_context_wakeup (NULL);
  fd_close (&import->in);
  fd_close (&import->out);
  g_queue_clear_full (&import->pending, (GDestroyNotify)g_bytes_unref);
  g_ptr_array_unref (import->messages);
  g_clear_pointer (&import->result, json_object_unref);
  g_clear_error (&import->error);
  g_mutex_clear (&import->lock);
  g_cond_clear (&import->changed);
  request_free (import->request);
  g_free (import);
}

/* ---- Worker ---- */

static void
on_message (const char *text, gpointer user_data)
{
  Import *import = user_data;
  g_ptr_array_add (import->messages, g_strdup (text));
}

/* ProgressFunc; nobody but a call listens, once the body is read. */
static void
on_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Import *import = user_data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&import->lock);

  import->phase = phase;
  import->phase_done = done;
  import->phase_total = total;
  import->moved = TRUE;
  g_cond_signal (&import->changed);
}

/* What ?like= names: a checkpoint of the store, else a guest of this host. */
static gboolean
find_like (Request *request, Store *store, Manifest **like, GuestSpec **spec, GError **error)
{
  const char *text = request_query (request, "like");
  g_autoptr (GError) cause = NULL;

  if (text == NULL || (*like = store_manifest_find (store, text, &cause)) != NULL)
    return TRUE;
  g_autoptr (Guest) guest = registry_get (request->daemon->registry, text, NULL);
  if (guest == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  *spec = guest_spec_copy (guest_spec (guest));
  return TRUE;
}

static gboolean
parse_spec (Request *request, GuestSpec **spec, GError **error)
{
  const char *text = request_query (request, "spec");
  g_autoptr (JsonObject) object = NULL;

  if (text == NULL)
    return TRUE;
  object = json_parse_bounded (text, strlen (text), SPEC_TEXT_MAX, SPEC_DEPTH, error);
  *spec = object != NULL ? guest_spec_from_json (object, error) : NULL;
  return *spec != NULL;
}

static gboolean
parse_options (Request *request, Store *store, ImportOptions *options, Manifest **like,
               GError **error)
{
  const char *text = request_query (request, "format");
  guint index = IMPORT_AUTO;

  if (text != NULL && !request_choice ("format", text, import_format_names, &index, error))
    return FALSE;
  options->format = index;
  options->name = request_query (request, "as");
  options->tag = request_query (request, "tag");
  options->note = request_query (request, "note");
  if (!parse_spec (request, &options->spec, error))
    return FALSE;
  if (options->spec != NULL && request_query (request, "like") != NULL) {
    g_set_error (error, API_ERROR, API_USAGE, "either like or spec: both say what the machine is");
    return FALSE;
  }
  if (!find_like (request, store, like, &options->spec, error))
    return FALSE;
  options->like = *like;
  return TRUE;
}

static JsonObject *
describe (Import *import, Store *store, const Manifest *manifest)
{
  JsonObject *result = checkpoint_to_json (store, manifest);
  JsonArray *messages = json_array_new();

  for (guint i = 0; i < import->messages->len; i++)
    json_array_add_string_element (messages, import->messages->pdata[i]);
  json_object_set_array_member (result, "messages", messages);
  return result;
}

static JsonObject *
take_in (Import *import, GError **error)
{
  Request *request = import->request;
  g_autoptr (Store) store = request_store (request, error);
  g_autoptr (Manifest) like = NULL;
  g_autoptr (Manifest) manifest = NULL;
  ImportOptions options = { .host = g_get_host_name(),
                            .message = on_message,
                            .user_data = import,
                            .progress = &import->progress,
                            .cancellable = request->cancellable };

  if (store != NULL && parse_options (request, store, &options, &like, error))
    manifest = import_checkpoint (store, import->out, &options, error);
  g_clear_pointer (&options.spec, guest_spec_free);
  return manifest != NULL ? describe (import, store, manifest) : NULL;
}

static gboolean on_done (gpointer data);

static gpointer
work (gpointer data)
{
  Import *import = data;

  import->result = take_in (import, &import->error);
  fd_close (&import->out); /* what still comes is dropped */
  g_mutex_lock (&import->lock);
  import->ended = TRUE;
  g_cond_signal (&import->changed);
  g_mutex_unlock (&import->lock);
  g_idle_add_full (G_PRIORITY_DEFAULT, on_done, import, import_unref);
  return NULL;
}

/* ---- Main thread ---- */

static void
answer (Import *import)
{
  client_watch_end (&import->hangup);
  if (import->error != NULL)
    call_refuse (import->message, import->error);
  else
    call_answer (import->message, import->result);
  soup_server_message_unpause (import->message);
}

static void
drop_pending (Import *import)
{
  fd_close (&import->in);
  g_queue_clear_full (&import->pending, (GDestroyNotify)g_bytes_unref);
  if (import->room != NULL) {
    g_source_destroy (import->room);
    g_clear_pointer (&import->room, g_source_unref);
    if (!import->gone && !import->read)
      soup_server_message_unpause (import->message);
  }
}

static gboolean
on_done (gpointer data)
{
  Import *import = data;

  import->done = TRUE;
  drop_pending (import);
  if (import->read && !import->gone && !import->called)
    answer (import);
  return G_SOURCE_REMOVE;
}

/* Writes what fits; FALSE if something is left. A worker that has gone takes nothing any more. */
static gboolean
feed (Import *import)
{
  GBytes *piece;

  while ((piece = g_queue_peek_head (&import->pending)) != NULL) {
    gsize len;
    const guint8 *data = g_bytes_get_data (piece, &len);
    ssize_t n = import->in >= 0 ? send (import->in, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;
    if (n < 0 && import->in >= 0 && (errno == EAGAIN || errno == EINTR))
      return FALSE;
    if (n < 0) {
      fd_close (&import->in);
      g_queue_clear_full (&import->pending, (GDestroyNotify)g_bytes_unref);
      return TRUE;
    }
    g_queue_pop_head (&import->pending);
    if ((gsize)n < len)
      g_queue_push_head (&import->pending, g_bytes_new_from_bytes (piece, n, len - n));
    g_bytes_unref (piece);
  }
  if (import->read)
    fd_close (&import->in); /* the end */
  return TRUE;
}

static gboolean
on_room (int fd, GIOCondition condition, gpointer user_data)
{
  Import *import = user_data;

  if (!feed (import))
    return G_SOURCE_CONTINUE;
  g_clear_pointer (&import->room, g_source_unref);
  if (!import->gone && !import->read)
    soup_server_message_unpause (import->message);
  return G_SOURCE_REMOVE;
}

static void
wait_for_room (Import *import)
{
  if (import->room != NULL)
    return;
  import->room = g_unix_fd_source_new (import->in, G_IO_OUT | G_IO_ERR | G_IO_HUP);
  g_source_set_callback (import->room, G_SOURCE_FUNC (on_room), import_ref (import), import_unref);
  g_source_attach (import->room, NULL);
}

static void
on_got_chunk (SoupServerMessage *message, GBytes *chunk, gpointer user_data)
{
  Import *import = user_data;

  if (import->in < 0 || g_bytes_get_size (chunk) == 0)
    return;
  /* libsoup's own buffer is used again for the next piece. */
  g_queue_push_tail (&import->pending,
                     g_bytes_new (g_bytes_get_data (chunk, NULL), g_bytes_get_size (chunk)));
  if (!feed (import)) {
    wait_for_room (import);
    soup_server_message_pause (message);
  }
}

static void
on_finished (SoupServerMessage *message, gpointer user_data)
{
  Import *import = user_data;

  import->gone = TRUE;
  client_watch_end (&import->hangup);
  g_cancellable_cancel (import->request->cancellable);
  drop_pending (import);
  g_signal_handler_disconnect (message, import->chunk);
  g_signal_handler_disconnect (message, import->finished);
}

static void
on_stopping (GCancellable *stopping, gpointer user_data)
{
  g_cancellable_cancel (user_data);
}

static Import *
import_new (Daemon *daemon, SoupServerMessage *message, GHashTable *query, const int ends[2])
{
  Import *import = g_new0 (Import, 1);

  g_atomic_ref_count_init (&import->refs);
  import->message = message; /* it holds this */
  import->in = ends[0];
  import->out = ends[1];
  import->progress = (Progress){ on_progress, import };
  g_mutex_init (&import->lock);
  g_cond_init (&import->changed);
  import->messages = g_ptr_array_new_with_free_func (g_free);
  g_queue_init (&import->pending);
  import->request = g_new0 (Request, 1);
  import->request->daemon = daemon;
  import->request->query = query != NULL ? g_hash_table_ref (query) : NULL;
  import->request->cancellable = g_cancellable_new();
  g_atomic_int_inc (&daemon->calls);
  import->stopping = g_cancellable_connect (daemon->stopping, G_CALLBACK (on_stopping),
                                            import->request->cancellable, NULL);
  return import;
}

/* The headers are read, the body is to come. */
static void
on_early (SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
          gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  int ends[2];

  if (!import_is_meant (message))
    return;
  soup_message_body_set_accumulate (soup_server_message_get_request_body (message), FALSE);
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    fd_set_errno_error (&error, "making a socket pair");
    call_refuse (message, error);
    return;
  }
  Import *import = import_new (user_data, message, query, ends);
  if (!request_headers_take_key (message, REQUEST_KEY_HEADER, &import->request->key, &error)) {
    import_unref (import);
    call_refuse (message, error);
    return;
  }
  GThread *thread = g_thread_try_new ("import", work, import_ref (import), &error);
  if (thread == NULL) {
    import_unref (import);
    import_unref (import);
    call_refuse (message, error);
    return;
  }
  g_thread_unref (thread);
  import->chunk =
      g_signal_connect_data (message, "got-chunk", G_CALLBACK (on_got_chunk), import_ref (import),
                             (GClosureNotify)(GCallback)import_unref, 0);
  import->finished =
      g_signal_connect_data (message, "finished", G_CALLBACK (on_finished), import_ref (import),
                             (GClosureNotify)(GCallback)import_unref, 0);
  g_object_set_data_full (G_OBJECT (message), IMPORT_KEY, import, import_unref);
}

gboolean
import_is_meant (SoupServerMessage *message)
{
  return g_strcmp0 (soup_server_message_get_method (message), "POST") == 0 &&
         g_strcmp0 (g_uri_get_path (soup_server_message_get_uri (message)), IMPORT_PATH) == 0;
}

void
import_attach (SoupServer *server, Daemon *daemon)
{
  soup_server_add_early_handler (server, IMPORT_PATH, on_early, daemon, NULL);
}

static gboolean
on_client_gone (gpointer user_data)
{
  Import *import = user_data;

  g_cancellable_cancel (import->request->cancellable);
  return G_SOURCE_REMOVE;
}

/* RequestHandler of a client that wants lines: the call sends them while this waits for the
 * import's own thread, which began long before. */
static JsonObject *
wait_for_worker (Request *request, GError **error)
{
  Import *import = request->work;
  gulong gone = g_cancellable_connect (request->cancellable, G_CALLBACK (on_stopping),
                                       import->request->cancellable, NULL);

  g_mutex_lock (&import->lock);
  while (!import->ended) {
    if (!import->moved) {
      g_cond_wait (&import->changed, &import->lock);
      continue;
    }
    Phase phase = import->phase;
    guint64 done = import->phase_done, total = import->phase_total;
    import->moved = FALSE;
    g_mutex_unlock (&import->lock);
    progress_report (&request->progress, phase, done, total);
    g_mutex_lock (&import->lock);
  }
  g_mutex_unlock (&import->lock);
  g_cancellable_disconnect (request->cancellable, gone);
  if (import->result != NULL)
    return json_object_ref (import->result);
  g_propagate_error (error, g_error_copy (import->error));
  return NULL;
}

static void
start_call (Import *import, SoupServerMessage *message, Request *request)
{
  Request *taken = request_steal (request);

  taken->work = import_ref (import);
  taken->free_work = import_unref;
  import->called = TRUE;
  call_start (message, taken, wait_for_worker, TRUE);
}

void
import_serve (Daemon *daemon, SoupServerMessage *message, Request *request)
{
  Import *import = g_object_get_data (G_OBJECT (message), IMPORT_KEY);
  g_autoptr (GError) error = NULL;

  if (import == NULL) {
    error = g_error_new_literal (API_ERROR, API_FAILED, "the import did not begin");
    call_refuse (message, error);
    return;
  }
  import->read = TRUE;
  if (request_headers_want_stream (message)) {
    start_call (import, message, request);
  } else {
    soup_server_message_pause (message);
    if (import->done)
      answer (import);
    else
      import->hangup = client_watch (message, on_client_gone, import_ref (import), import_unref);
  }
  if (import->done)
    return;
  if (!feed (import))
    wait_for_room (import);
}
