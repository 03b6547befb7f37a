/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt console: the guest's serial port, interactively, over a WebSocket. */
#include "cli-error.h"
#include "terminal.h"
#include "verb.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#define ESCAPE_BYTE 0x1d /* Ctrl-] */
#define PROTOCOL "vmckpt-console"
#define READ_SIZE 4096
#define CLOSE_MS 1000 /* how long a goodbye may take */

typedef struct {
  SoupWebsocketConnection *socket;
  Output *out;
  gboolean terminal; /* the input is one: Ctrl-] leaves */
  gboolean left;     /* by us: Ctrl-], end of input, nobody reads the output */
  gboolean closed;   /* the connection is */
  gboolean late;
  GError *error;
} Console;

static void
console_clear (Console *console)
{
  g_clear_error (&console->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Console, console_clear)

static void
on_message (SoupWebsocketConnection *socket, gint type, GBytes *message, gpointer user_data)
{
  Console *console = user_data;
  gsize len;
  gconstpointer data = g_bytes_get_data (message, &len);

  if (!output_write (console->out, data, len))
    console->left = TRUE;
}

static void
on_closed (SoupWebsocketConnection *socket, gpointer user_data)
{
  ((Console *)user_data)->closed = TRUE;
}

static void
on_error (SoupWebsocketConnection *socket, GError *error, gpointer user_data)
{
  Console *console = user_data;

  if (console->error == NULL)
    console->error = g_error_copy (error);
}

static void
send_input (Console *console, const char *data, gsize len)
{
  if (len > 0 && soup_websocket_connection_get_state (console->socket) == SOUP_WEBSOCKET_STATE_OPEN)
    soup_websocket_connection_send_binary (console->socket, data, len);
}

static gboolean
on_input (int fd, GIOCondition condition, gpointer user_data)
{
  Console *console = user_data;
  char buf[READ_SIZE];
  ssize_t n = read (fd, buf, sizeof buf);
  const char *escape;

  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return G_SOURCE_CONTINUE;
  escape = n > 0 && console->terminal ? memchr (buf, ESCAPE_BYTE, n) : NULL;
  console->left = n <= 0 || escape != NULL;
  send_input (console, buf, escape != NULL ? (gsize)(escape - buf) : (gsize)MAX (n, 0));
  return console->left ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean
on_late (gpointer user_data)
{
  ((Console *)user_data)->late = TRUE;
  return G_SOURCE_CONTINUE;
}

/* Says goodbye, so that bytes sent just before still arrive. */
static void
close_socket (Console *console)
{
  guint timer = g_timeout_add (CLOSE_MS, on_late, console);

  if (soup_websocket_connection_get_state (console->socket) == SOUP_WEBSOCKET_STATE_OPEN)
    soup_websocket_connection_close (console->socket, SOUP_WEBSOCKET_CLOSE_NORMAL, NULL);
  while (!console->closed && !console->late)
    g_main_context_iteration (NULL, TRUE);
  g_source_remove (timer);
}

/* Copies both ways until one side ends it. */
static void
copy_both_ways (Cli *cli, Console *console)
{
  g_autoptr (GSource) input = g_unix_fd_source_new (STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR);

  g_source_set_callback (input, G_SOURCE_FUNC (on_input), console, NULL);
  g_source_attach (input, NULL);
  while (!console->closed && !console->left && !g_cancellable_is_cancelled (cli->cancellable))
    g_main_context_iteration (NULL, TRUE);
  g_source_destroy (input);
}

/* What the end of the connection means. */
static gboolean
conclude (Cli *cli, const Console *console, const char *name, GError **error)
{
  gushort code = soup_websocket_connection_get_close_code (console->socket);

  if (g_cancellable_set_error_if_cancelled (cli->cancellable, error))
    return FALSE;
  if (console->left) {
    cli_say (cli, "left the console of %s", name);
    return TRUE;
  }
  /* A guest's end may cut off what was being sent. */
  if (code == SOUP_WEBSOCKET_CLOSE_NORMAL || code == SOUP_WEBSOCKET_CLOSE_GOING_AWAY ||
      cli_guest_has_ended (cli, name)) {
    cli_say (cli, "the console of %s has ended", name);
    return TRUE;
  }
  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "console of %s: the connection was lost: %s",
               name, console->error != NULL ? console->error->message : "the daemon has ended");
  return FALSE;
}

/* The handshake cannot say why it is refused: ask for the guest first. */
static gboolean
check_guest (Cli *cli, const char *name, GError **error)
{
  g_autoptr (GString) path = cli_guest_path (name, NULL);
  g_autoptr (JsonObject) guest = api_call (cli->api, "GET", path, NULL, error);

  if (guest == NULL || !cli_attach (cli, guest, error))
    return FALSE;
  if (g_str_equal (json_get_string_or (guest, "state", ""), "exited")) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_CONFLICT,
                 "console of %s: the guest has exited; 'vmckpt log %s' shows what it wrote", name,
                 name);
    return FALSE;
  }
  return TRUE;
}

static gboolean
run_console (Cli *cli, const VerbCall *call, GError **error)
{
  const char *name = call->args[0];
  g_autoptr (GString) path = api_path ("consoles", name, NULL);
  g_autoptr (SoupWebsocketConnection) socket = NULL;
  g_auto (Console) console = { .out = cli->out, .terminal = isatty (STDIN_FILENO) };
  g_auto (RawTerminal) raw = RAW_TERMINAL_NONE;

  if (!check_guest (cli, name, error))
    return FALSE;
  socket = api_open_websocket (cli->api, path, PROTOCOL, error);
  if (socket == NULL)
    return FALSE;
  console.socket = socket;
  g_signal_connect (socket, "message", G_CALLBACK (on_message), &console);
  g_signal_connect (socket, "closed", G_CALLBACK (on_closed), &console);
  g_signal_connect (socket, "error", G_CALLBACK (on_error), &console);
  if (console.terminal) {
    cli_say (cli, "console of %s; Ctrl-] leaves it", name);
    if (!terminal_raw_begin (&raw, STDIN_FILENO, error))
      return FALSE;
  }
  copy_both_ways (cli, &console);
  terminal_raw_end (&raw);
  /* What is said next begins a line of its own. */
  if (console.terminal)
    output_line (cli->out, "");
  if (!g_cancellable_is_cancelled (cli->cancellable))
    close_socket (&console);
  g_signal_handlers_disconnect_by_data (socket, &console);
  return conclude (cli, &console, name, error);
}

const Verb verb_console = {
  .name = "console",
  .arguments = "NAME",
  .summary = "Use the serial port of a guest interactively",
  .details = "Ctrl-] leaves; the guest runs on. Input that is not a terminal is sent to its\n"
             "end.",
  .group = VERB_GROUP_GUESTS,
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; the guest runs on",
  .run = run_console,
};
