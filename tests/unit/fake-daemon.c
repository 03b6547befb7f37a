/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-daemon.h"

#include <vmckpt/util/fd.h>

#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <string.h>

typedef struct {
  guint status;
  char *type;
  char *body;
  FakeEnding ending;
} Answer;

struct FakeDaemon {
  char *runtime;
  char *socket;
  GThread *thread;
  GMainContext *context; /* of the thread */
  GMainLoop *loop;
  SoupServer *server;

  GMutex lock; /* for what follows */
  GCond changed;
  GHashTable *answers; /* "METHOD PATH" to Answer */
  GString *requests;
  guint left;
  GCancellable *cancellable;
};

static void
answer_free (gpointer data)
{
  Answer *answer = data;

  g_free (answer->type);
  g_free (answer->body);
  g_free (answer);
}

static gboolean
cancel_in_default_context (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_REMOVE;
}

static gboolean
on_hang_up (GSocket *socket, GIOCondition condition, gpointer user_data)
{
  FakeDaemon *fake = user_data;

  g_mutex_lock (&fake->lock);
  fake->left++;
  g_cond_broadcast (&fake->changed);
  g_mutex_unlock (&fake->lock);
  return G_SOURCE_REMOVE;
}

/* While an answer is held back libsoup does not look at the connection. */
static void
watch_hang_up (FakeDaemon *fake, SoupServerMessage *message)
{
  GSource *source =
      g_socket_create_source (soup_server_message_get_socket (message), G_IO_HUP, NULL);

  g_source_set_callback (source, G_SOURCE_FUNC (on_hang_up), fake, NULL);
  g_source_attach (source, fake->context);
  g_source_unref (source);
}

static gboolean
cut (gpointer message)
{
  g_socket_shutdown (soup_server_message_get_socket (message), TRUE, TRUE, NULL);
  return G_SOURCE_REMOVE;
}

/* After the last chunk that is meant to come. */
static void
on_wrote_chunk (SoupServerMessage *message, gpointer user_data)
{
  GSource *source = g_idle_source_new();

  g_source_set_callback (source, cut, g_object_ref (message), g_object_unref);
  g_source_attach (source, g_main_context_get_thread_default());
  g_source_unref (source);
}

/* Sends what there is and leaves the call open. */
static void
leave_open (FakeDaemon *fake, SoupServerMessage *message, const Answer *answer)
{
  SoupMessageBody *body = soup_server_message_get_response_body (message);

  watch_hang_up (fake, message);
  if (answer->body[0] == '\0') {
    soup_server_message_pause (message);
  } else {
    soup_server_message_set_status (message, answer->status, NULL);
    soup_message_headers_set_encoding (soup_server_message_get_response_headers (message),
                                       SOUP_ENCODING_CHUNKED);
    soup_message_headers_set_content_type (soup_server_message_get_response_headers (message),
                                           answer->type, NULL);
    soup_message_body_append (body, SOUP_MEMORY_COPY, answer->body, strlen (answer->body));
    if (answer->ending == FAKE_CUT)
      g_signal_connect (message, "wrote-chunk", G_CALLBACK (on_wrote_chunk), fake);
  }
  if (answer->ending == FAKE_CANCEL)
    g_idle_add_full (G_PRIORITY_LOW, cancel_in_default_context, g_object_ref (fake->cancellable),
                     g_object_unref);
}

static void
on_request (SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
            gpointer user_data)
{
  FakeDaemon *fake = user_data;
  GUri *uri = soup_server_message_get_uri (message);
  SoupMessageHeaders *headers = soup_server_message_get_request_headers (message);
  SoupMessageBody *body = soup_server_message_get_request_body (message);
  g_autoptr (GBytes) bytes = soup_message_body_flatten (body);
  const char *method = soup_server_message_get_method (message);
  g_autofree char *call = g_strdup_printf ("%s %s", method, path);

  g_mutex_lock (&fake->lock);
  const Answer *answer = g_hash_table_lookup (fake->answers, call);
  const char *key = soup_message_headers_get_one (headers, "Vmckpt-Key");
  const char *new_key = soup_message_headers_get_one (headers, "Vmckpt-New-Key");
  g_string_append_printf (fake->requests, "%s %s%s%s %.*s", method, g_uri_get_path (uri),
                          g_uri_get_query (uri) != NULL ? "?" : "",
                          g_uri_get_query (uri) != NULL ? g_uri_get_query (uri) : "",
                          (int)g_bytes_get_size (bytes),
                          (const char *)g_bytes_get_data (bytes, NULL));
  if (key != NULL)
    g_string_append_printf (fake->requests, " key: %s", key);
  if (new_key != NULL)
    g_string_append_printf (fake->requests, " new: %s", new_key);
  g_string_append_c (fake->requests, '\n');
  if (answer == NULL) {
    soup_server_message_set_status (message, 404, NULL);
  } else if (answer->ending == FAKE_END) {
    soup_server_message_set_status (message, answer->status, NULL);
    soup_server_message_set_response (message, answer->type, SOUP_MEMORY_COPY, answer->body,
                                      strlen (answer->body));
  } else {
    leave_open (fake, message, answer);
  }
  g_mutex_unlock (&fake->lock);
}

static gpointer
serve (gpointer user_data)
{
  FakeDaemon *fake = user_data;
  g_autoptr (GError) error = NULL;
  int fd = fd_listen_unix (fake->socket, &error);
  g_autoptr (GSocket) socket = fd >= 0 ? g_socket_new_from_fd (fd, &error) : NULL;

  g_assert_no_error (error);
  g_main_context_push_thread_default (fake->context);
  fake->server = soup_server_new (NULL, NULL);
  soup_server_listen_socket (fake->server, socket, 0, &error);
  g_assert_no_error (error);
  soup_server_add_handler (fake->server, NULL, on_request, fake, NULL);
  g_main_loop_run (fake->loop);
  soup_server_disconnect (fake->server);
  g_clear_object (&fake->server);
  while (g_main_context_iteration (fake->context, FALSE))
    ;
  g_main_context_pop_thread_default (fake->context);
  return NULL;
}

static void
wait_for_listener (const char *socket)
{
  g_auto (AutoFd) fd = -1;

  while (fd < 0) {
    g_thread_yield();
    fd = fd_connect_unix (socket, NULL);
  }
}

FakeDaemon *
fake_daemon_new (void)
{
  FakeDaemon *fake = g_new0 (FakeDaemon, 1);

  /* GLib's debug messages would go through the test log, which is not for several threads. */
  g_log_set_default_handler (g_log_default_handler, NULL);
  fake->runtime = g_dir_make_tmp ("vmckpt-cli-XXXXXX", NULL);
  fake->socket = g_build_filename (fake->runtime, "api.sock", NULL);
  fake->context = g_main_context_new();
  fake->loop = g_main_loop_new (fake->context, FALSE);
  fake->answers = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, answer_free);
  fake->requests = g_string_new (NULL);
  g_mutex_init (&fake->lock);
  g_cond_init (&fake->changed);
  fake->thread = g_thread_new ("fake-daemon", serve, fake);
  wait_for_listener (fake->socket);
  return fake;
}

static gboolean
quit (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

void
fake_daemon_free (FakeDaemon *fake)
{
  g_main_context_invoke (fake->context, quit, fake->loop);
  g_thread_join (fake->thread);
  g_unlink (fake->socket);
  g_rmdir (fake->runtime);
  g_main_loop_unref (fake->loop);
  g_main_context_unref (fake->context);
  g_hash_table_unref (fake->answers);
  g_string_free (fake->requests, TRUE);
  g_clear_object (&fake->cancellable);
  g_mutex_clear (&fake->lock);
  g_cond_clear (&fake->changed);
  g_free (fake->runtime);
  g_free (fake->socket);
  g_free (fake);
}

const char *
fake_daemon_runtime (FakeDaemon *fake)
{
  return fake->runtime;
}

void
fake_daemon_set_cancellable (FakeDaemon *fake, GCancellable *cancellable)
{
  g_set_object (&fake->cancellable, cancellable);
}

void
fake_daemon_answer (FakeDaemon *fake, const char *call, guint status, const char *type,
                    const char *body, FakeEnding ending)
{
  Answer *answer = g_new0 (Answer, 1);

  answer->status = status;
  answer->type = g_strdup (type != NULL ? type : "application/json");
  answer->body = g_strdup (body);
  answer->ending = ending;
  g_mutex_lock (&fake->lock);
  g_hash_table_replace (fake->answers, g_strdup (call), answer);
  g_mutex_unlock (&fake->lock);
}

char *
fake_daemon_take_requests (FakeDaemon *fake)
{
  g_mutex_lock (&fake->lock);
  char *requests = g_strdup (fake->requests->str);
  g_string_truncate (fake->requests, 0);
  g_mutex_unlock (&fake->lock);
  return requests;
}

gboolean
fake_daemon_wait_left (FakeDaemon *fake)
{
  gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
  gboolean in_time = TRUE;

  g_mutex_lock (&fake->lock);
  while (fake->left == 0 && in_time)
    in_time = g_cond_wait_until (&fake->changed, &fake->lock, deadline);
  g_mutex_unlock (&fake->lock);
  return in_time;
}

/* ---- Console ---- */

static void
on_message (SoupWebsocketConnection *socket, gint type, GBytes *message, gpointer user_data)
{
  gsize len;
  const char *data = g_bytes_get_data (message, &len);
  g_autofree char *upper = g_ascii_strup (data, len);

  soup_websocket_connection_send_binary (socket, upper, len);
  if (memchr (data, 'q', len) != NULL)
    soup_websocket_connection_close (socket, SOUP_WEBSOCKET_CLOSE_GOING_AWAY,
                                     "the guest has ended");
}

static void
on_console (SoupServer *server, SoupServerMessage *message, const char *path,
            SoupWebsocketConnection *socket, gpointer greeting)
{
  /* The connection lives until it is closed. */
  g_signal_connect (socket, "message", G_CALLBACK (on_message), NULL);
  g_signal_connect (g_object_ref (socket), "closed", G_CALLBACK (g_object_unref), NULL);
  soup_websocket_connection_send_binary (socket, greeting, strlen (greeting));
}

typedef struct {
  FakeDaemon *fake;
  char *path, *greeting;
} ConsoleSetup;

static gboolean
add_console (gpointer user_data)
{
  ConsoleSetup *setup = user_data;
  char *protocols[] = { (char *)"vmckpt-console", NULL };

  soup_server_add_websocket_handler (setup->fake->server, setup->path, NULL, protocols, on_console,
                                     setup->greeting, g_free);
  g_free (setup->path);
  g_free (setup);
  return G_SOURCE_REMOVE;
}

void
fake_daemon_console (FakeDaemon *fake, const char *path, const char *greeting)
{
  ConsoleSetup *setup = g_new0 (ConsoleSetup, 1);

  setup->fake = fake;
  setup->path = g_strdup (path);
  setup->greeting = g_strdup (greeting);
  g_main_context_invoke (fake->context, add_console, setup);
}
