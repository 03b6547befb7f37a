/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "console.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (16 * 1024)
#define RECONNECT_MS 200

struct _Console {
  char *serial_path;
  AutoFd serial; /* -1 while the connection is broken */
  AutoFd listener;
  SerialLog *log;
  GPtrArray *clients; /* of Client */
  GByteArray *input;  /* for the guest */
  guint serial_in, serial_out, accept_source, reconnect;
};

typedef struct {
  Console *console;
  AutoFd fd;
  GByteArray *output; /* for the client */
  guint in, out;      /* sources; 0 = not waiting for that */
  gboolean deaf;      /* takes no more output: it has closed */
} Client;

static void serial_opened (Console *console);

static void
clear_source (guint *id)
{
  if (*id != 0)
    g_source_remove (*id);
  *id = 0;
}

static void
client_free (gpointer data)
{
  Client *client = data;

  clear_source (&client->in);
  clear_source (&client->out);
  fd_close (&client->fd);
  g_byte_array_unref (client->output);
  g_free (client);
}

/* Sends as much of @queue as @fd takes now. FALSE if the peer is gone. */
static gboolean
flush_queue (int fd, GByteArray *queue)
{
  while (queue->len > 0) {
    ssize_t n = send (fd, queue->data, queue->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return errno == EAGAIN;
    g_byte_array_remove_range (queue, 0, n);
  }
  return TRUE;
}

static gboolean
on_client_writable (int fd, GIOCondition condition, gpointer user_data)
{
  Client *client = user_data;

  client->deaf = !flush_queue (fd, client->output);
  if (!client->deaf && client->output->len > 0)
    return G_SOURCE_CONTINUE;
  client->out = 0;
  return G_SOURCE_REMOVE;
}

/* Queues output for @client. FALSE if it takes too little: it is to be dropped. One that is gone
 * may have typed something before that is still to be read; reading finds its end. */
static gboolean
client_send (Client *client, const guint8 *data, gsize len)
{
  if (client->deaf)
    return TRUE;
  if (client->output->len + len > CONSOLE_CLIENT_QUEUE)
    return FALSE;
  g_byte_array_append (client->output, data, len);
  if (client->out != 0)
    return TRUE;
  client->deaf = !flush_queue (client->fd, client->output);
  if (!client->deaf && client->output->len > 0)
    client->out = g_unix_fd_add (client->fd, G_IO_OUT, on_client_writable, client);
  return TRUE;
}

static void
distribute (Console *console, const guint8 *data, gsize len)
{
  serial_log_append (console->log, data, len);
  for (guint i = console->clients->len; i-- > 0;)
    if (!client_send (console->clients->pdata[i], data, len))
      g_ptr_array_remove_index_fast (console->clients, i);
}

/* ---- Input: from clients to the guest ---- */

static gboolean on_client_readable (int fd, GIOCondition condition, gpointer user_data);

/* Listens to clients while there is room for what they type, else leaves it in their sockets. */
static void
update_client_reading (Console *console)
{
  gboolean room = console->input->len < CONSOLE_INPUT_QUEUE;

  for (guint i = 0; i < console->clients->len; i++) {
    Client *client = console->clients->pdata[i];
    if (room && client->in == 0)
      client->in =
          g_unix_fd_add (client->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_client_readable, client);
    else if (!room)
      clear_source (&client->in);
  }
}

static gboolean
on_serial_writable (int fd, GIOCondition condition, gpointer user_data)
{
  Console *console = user_data;
  gboolean more = flush_queue (fd, console->input) && console->input->len > 0;

  update_client_reading (console);
  if (!more)
    console->serial_out = 0;
  return more;
}

static void
flush_input (Console *console)
{
  /* A broken connection shows when reading, which is where it is dealt with. */
  if (console->serial >= 0 && console->serial_out == 0 &&
      flush_queue (console->serial, console->input) && console->input->len > 0)
    console->serial_out = g_unix_fd_add (console->serial, G_IO_OUT, on_serial_writable, console);
}

static gboolean
on_client_readable (int fd, GIOCondition condition, gpointer user_data)
{
  Client *client = user_data;
  Console *console = client->console;
  guint8 buf[4096];
  ssize_t n = recv (fd, buf, sizeof buf, MSG_DONTWAIT);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  if (n <= 0) {
    client->in = 0;
    g_ptr_array_remove_fast (console->clients, client);
    return G_SOURCE_REMOVE;
  }
  g_byte_array_append (console->input, buf, n);
  flush_input (console);
  if (console->input->len < CONSOLE_INPUT_QUEUE)
    return G_SOURCE_CONTINUE;
  /* This client's source goes by the return value, those of the others here. */
  client->in = 0;
  update_client_reading (console);
  return G_SOURCE_REMOVE;
}

static gboolean
on_client_connects (int fd, GIOCondition condition, gpointer user_data)
{
  Console *console = user_data;
  g_auto (AutoFd) accepted = accept4 (fd, NULL, NULL, SOCK_CLOEXEC);

  if (accepted < 0 || console->clients->len >= CONSOLE_MAX_CLIENTS)
    return G_SOURCE_CONTINUE;

  Client *client = g_new0 (Client, 1);
  client->console = console;
  client->fd = fd_steal (&accepted);
  client->output = g_byte_array_new();
  g_ptr_array_add (console->clients, client);
  update_client_reading (console);
  return G_SOURCE_CONTINUE;
}

/* ---- Output: from the guest ---- */

static gboolean
on_reconnect (gpointer user_data)
{
  Console *console = user_data;

  console->serial = fd_connect_unix (console->serial_path, NULL);
  if (console->serial < 0)
    return G_SOURCE_CONTINUE;
  console->reconnect = 0;
  serial_opened (console);
  return G_SOURCE_REMOVE;
}

/* Reads once. FALSE at the end of the connection. */
static gboolean
read_serial (Console *console)
{
  guint8 buf[PIECE];
  ssize_t n = recv (console->serial, buf, sizeof buf, MSG_DONTWAIT);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return TRUE;
  if (n <= 0)
    return FALSE;
  distribute (console, buf, n);
  return TRUE;
}

static gboolean
on_serial_readable (int fd, GIOCondition condition, gpointer user_data)
{
  Console *console = user_data;

  if (read_serial (console))
    return G_SOURCE_CONTINUE;
  console->serial_in = 0;
  clear_source (&console->serial_out);
  fd_close (&console->serial);
  console->reconnect = g_timeout_add (RECONNECT_MS, on_reconnect, console);
  return G_SOURCE_REMOVE;
}

static void
serial_opened (Console *console)
{
  console->serial_in =
      g_unix_fd_add (console->serial, G_IO_IN | G_IO_HUP | G_IO_ERR, on_serial_readable, console);
  flush_input (console);
}

Console *
console_new (const char *serial_path, int serial, int listener, SerialLog *log)
{
  Console *console = g_new0 (Console, 1);

  console->serial_path = g_strdup (serial_path);
  console->serial = serial;
  console->listener = listener;
  console->log = log;
  console->clients = g_ptr_array_new_with_free_func (client_free);
  console->input = g_byte_array_new();
  console->accept_source = g_unix_fd_add (listener, G_IO_IN, on_client_connects, console);
  serial_opened (console);
  return console;
}

void
console_finish (Console *console, int timeout_ms)
{
  gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

  /* QEMU is gone, so its end of the connection is closed and the rest can be read at once. */
  clear_source (&console->serial_in);
  while (console->serial >= 0 && g_get_monotonic_time() < deadline) {
    struct pollfd wait = { .fd = console->serial, .events = POLLIN };
    if (poll (&wait, 1, 10) > 0 && !read_serial (console))
      break;
  }
  for (guint i = console->clients->len; i-- > 0;) {
    Client *client = console->clients->pdata[i];
    struct pollfd wait = { .fd = client->fd, .events = POLLOUT };
    while (client->output->len > 0 && g_get_monotonic_time() < deadline)
      if (poll (&wait, 1, 10) > 0 && !flush_queue (client->fd, client->output))
        break;
  }
}

void
console_free (Console *console)
{
  if (console == NULL)
    return;
  clear_source (&console->serial_in);
  clear_source (&console->serial_out);
  clear_source (&console->accept_source);
  clear_source (&console->reconnect);
  g_ptr_array_unref (console->clients);
  g_byte_array_unref (console->input);
  fd_close (&console->serial);
  fd_close (&console->listener);
  serial_log_free (console->log);
  g_free (console->serial_path);
  g_free (console);
}
