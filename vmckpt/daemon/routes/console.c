/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "console.h"

#include "api-error.h"

#include <gio/gunixsocketaddress.h>
#include <string.h>

#define CONSOLES "/v1/consoles"
#define PIECE 4096
#define CONNECT_SECONDS 10
#define MAX_CLOSE_TEXT 120 /* a close frame holds 123 bytes */
/* A guest that does not read its serial port must not make us keep what is typed for ever. */
#define MAX_TYPED (1u << 20)

typedef struct {
  gatomicrefcount refs;
  SoupWebsocketConnection *client;
  GSocketConnection *serial; /* to the keeper */
  GCancellable *cancellable;
  GByteArray *typed; /* not yet written to the guest */
  gboolean writing;
  guint8 piece[PIECE];
} Console;

static Console *
console_ref (Console *console)
{
  g_atomic_ref_count_inc (&console->refs);
  return console;
}

static void
console_unref (Console *console)
{
  if (!g_atomic_ref_count_dec (&console->refs))
    return;
  g_clear_object (&console->client);
  g_clear_object (&console->serial);
  g_clear_object (&console->cancellable);
  g_byte_array_unref (console->typed);
  g_free (console);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Console, console_unref)

static void
close_client (Console *console, const char *why)
{
  g_cancellable_cancel (console->cancellable);
  if (soup_websocket_connection_get_state (console->client) == SOUP_WEBSOCKET_STATE_OPEN)
    soup_websocket_connection_close (console->client, SOUP_WEBSOCKET_CLOSE_GOING_AWAY, why);
}

/* ---- Guest to client ---- */

static void read_more (Console *console);

static void
on_read (GObject *stream, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Console) console = user_data;
  gssize n = g_input_stream_read_finish (G_INPUT_STREAM (stream), result, NULL);

  if (n <= 0) {
    close_client (console, "the guest has ended");
    return;
  }
  if (soup_websocket_connection_get_state (console->client) != SOUP_WEBSOCKET_STATE_OPEN)
    return;
  soup_websocket_connection_send_binary (console->client, console->piece, n);
  read_more (console);
}

static void
read_now (Console *console)
{
  g_input_stream_read_async (g_io_stream_get_input_stream (G_IO_STREAM (console->serial)),
                             console->piece, PIECE, G_PRIORITY_DEFAULT, console->cancellable,
                             on_read, console_ref (console));
}

static gboolean
on_writable (GObject *stream, gpointer user_data)
{
  Console *console = user_data;

  if (!g_cancellable_is_cancelled (console->cancellable))
    read_now (console);
  return G_SOURCE_REMOVE;
}

/* Reads on when the client's connection takes more: one that stopped reading then stops the keeper,
 * too, which knows what to do with consoles that are stuck. */
static void
read_more (Console *console)
{
  GIOStream *stream = soup_websocket_connection_get_io_stream (console->client);
  GOutputStream *output = g_io_stream_get_output_stream (stream);
  g_autoptr (GSource) writable = g_pollable_output_stream_create_source (
      G_POLLABLE_OUTPUT_STREAM (output), console->cancellable);

  g_source_set_callback (writable, G_SOURCE_FUNC (on_writable), console_ref (console),
                         (GDestroyNotify)console_unref);
  g_source_attach (writable, NULL);
}

/* ---- Client to guest ---- */

static void write_more (Console *console);

static void
on_written (GObject *stream, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Console) console = user_data;
  gssize n = g_output_stream_write_bytes_finish (G_OUTPUT_STREAM (stream), result, NULL);

  console->writing = FALSE;
  if (n <= 0) {
    close_client (console, "the serial port is gone");
    return;
  }
  g_byte_array_remove_range (console->typed, 0, n);
  write_more (console);
}

static void
write_more (Console *console)
{
  if (console->writing || console->typed->len == 0)
    return;
  console->writing = TRUE;
  /* One write at a time, of bytes that on_typed() does not touch meanwhile: it only appends, and
   * the array may move, so what is being written is copied. */
  g_autoptr (GBytes) bytes = g_bytes_new (console->typed->data, MIN (console->typed->len, PIECE));
  g_output_stream_write_bytes_async (g_io_stream_get_output_stream (G_IO_STREAM (console->serial)),
                                     bytes, G_PRIORITY_DEFAULT, console->cancellable, on_written,
                                     console_ref (console));
}

static void
on_typed (SoupWebsocketConnection *client, int type, GBytes *message, gpointer user_data)
{
  Console *console = user_data;
  gsize len;
  const guint8 *data = g_bytes_get_data (message, &len);

  if (len > MAX_TYPED - MIN (console->typed->len, MAX_TYPED)) {
    close_client (console, "the guest does not read its serial port");
    return;
  }
  g_byte_array_append (console->typed, data, len);
  write_more (console);
}

static void
on_closed (SoupWebsocketConnection *client, gpointer user_data)
{
  Console *console = user_data;

  g_cancellable_cancel (console->cancellable);
  g_signal_handlers_disconnect_by_data (client, console);
  console_unref (console);
}

/* ---- Beginning ---- */

static void
refuse (SoupWebsocketConnection *client, const char *why)
{
  g_autofree char *valid = g_utf8_make_valid (why, MIN (strlen (why), MAX_CLOSE_TEXT));

  soup_websocket_connection_close (client, SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, valid);
}

static void
on_connected (GObject *connector, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Console) console = user_data;
  g_autoptr (GError) error = NULL;

  console->serial = g_socket_client_connect_finish (G_SOCKET_CLIENT (connector), result, &error);
  if (console->serial == NULL) {
    refuse (console->client, error->message);
    return;
  }
  /* The connector's timeout would go on for reads, and a guest may be silent for long. */
  g_socket_set_timeout (g_socket_connection_get_socket (console->serial), 0);
  if (soup_websocket_connection_get_state (console->client) != SOUP_WEBSOCKET_STATE_OPEN)
    return;
  g_signal_connect (console->client, "message", G_CALLBACK (on_typed), console);
  g_signal_connect (console->client, "closed", G_CALLBACK (on_closed), console_ref (console));
  read_more (console);
}

/* The guest that a console's path names. */
static Guest *
find_guest (Daemon *daemon, const char *path, GError **error)
{
  g_auto (GStrv) part = g_strsplit (path, "/", 8);
  g_autofree char *name = g_strv_length (part) == 4 ? g_uri_unescape_string (part[3], "/") : NULL;

  return registry_get (daemon->registry, name != NULL ? name : "", error);
}

static void
on_websocket (SoupServer *server, SoupServerMessage *message, const char *path,
              SoupWebsocketConnection *client, gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) guest = find_guest (user_data, path, &error);
  g_autoptr (GSocketClient) connector = g_socket_client_new();

  if (guest == NULL) {
    refuse (client, error->message);
    return;
  }
  g_autofree char *socket = g_build_filename (guest_directory (guest), GUEST_FILE_CONSOLE, NULL);
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (socket);
  Console *console = g_new0 (Console, 1);
  g_atomic_ref_count_init (&console->refs);
  console->client = g_object_ref (client);
  console->cancellable = g_cancellable_new();
  console->typed = g_byte_array_new();
  g_socket_client_set_timeout (connector, CONNECT_SECONDS);
  g_socket_client_connect_async (connector, G_SOCKET_CONNECTABLE (address), console->cancellable,
                                 on_connected, console);
}

void
console_attach (SoupServer *server, Daemon *daemon)
{
  char *protocols[] = { (char *)"vmckpt-console", NULL }; /* copied; the API merely lacks const */
  /* libsoup tries to make a WebSocket of every request below the path that is not answered at once,
   * so the path is one of its own. */
  soup_server_add_websocket_handler (server, CONSOLES, NULL, protocols, on_websocket, daemon, NULL);
}
