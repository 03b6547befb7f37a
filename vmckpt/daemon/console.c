/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "console.h"

#include "api-error.h"

#include <gio/gunixsocketaddress.h>
#include <string.h>

#define CONSOLES "/v1/consoles"
#define PIECE 4096
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
read_more (Console *console)
{
  g_input_stream_read_async (g_io_stream_get_input_stream (G_IO_STREAM (console->serial)),
                             console->piece, PIECE, G_PRIORITY_DEFAULT, console->cancellable,
                             on_read, console_ref (console));
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

static GSocketConnection *
connect_serial (Daemon *daemon, const char *path, GError **error)
{
  g_auto (GStrv) part = g_strsplit (path, "/", 8);
  g_autoptr (GSocketClient) client = g_socket_client_new();

  if (g_strv_length (part) != 4) {
    g_set_error (error, API_ERROR, API_NOT_FOUND, "no console at this path");
    return NULL;
  }
  g_autofree char *name = g_uri_unescape_string (part[3], "/");
  g_autoptr (Guest) guest = registry_get (daemon->registry, name != NULL ? name : "", error);
  if (guest == NULL)
    return NULL;
  g_autofree char *socket = g_build_filename (guest_directory (guest), GUEST_FILE_CONSOLE, NULL);
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (socket);
  return g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, error);
}

static void
on_websocket (SoupServer *server, SoupServerMessage *message, const char *path,
              SoupWebsocketConnection *client, gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  GSocketConnection *serial = connect_serial (user_data, path, &error);

  if (serial == NULL) {
    g_autofree char *why = g_strndup (error->message, 120); /* a close frame holds 123 bytes */
    soup_websocket_connection_close (client, SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, why);
    return;
  }
  Console *console = g_new0 (Console, 1);
  g_atomic_ref_count_init (&console->refs);
  console->client = g_object_ref (client);
  console->serial = serial;
  console->cancellable = g_cancellable_new();
  console->typed = g_byte_array_new();
  g_signal_connect (client, "message", G_CALLBACK (on_typed), console);
  g_signal_connect (client, "closed", G_CALLBACK (on_closed), console);
  read_more (console);
}

void
console_attach (SoupServer *server, Daemon *daemon)
{
  char *protocols[] = { (char *)"vmckpt-console", NULL }; /* copied; the API merely lacks const */
  /* libsoup tries to make a WebSocket of every request below the path that is not answered at once,
   * so the path is one of its own. */
  soup_server_add_websocket_handler (server, CONSOLES, NULL, protocols, on_websocket, daemon, NULL);
}
