/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client-watch.h"

#include <glib-unix.h>
#include <poll.h>

#define OF_ADDRESS "vmckpt-client-socket"

typedef struct {
  GSocket *socket;
  GSourceFunc func;
  gpointer user_data;
  GDestroyNotify destroy;
} ClientWatch;

static gboolean
on_hangup (int fd, GIOCondition condition, gpointer data)
{
  ClientWatch *watch = data;

  watch->func (watch->user_data);
  return G_SOURCE_REMOVE;
}

static void
watch_free (gpointer data)
{
  ClientWatch *watch = data;

  if (watch->destroy != NULL)
    watch->destroy (watch->user_data);
  g_clear_object (&watch->socket);
  g_free (watch);
}

void
client_watch_set_socket (GSocketAddress *remote, GSocket *socket)
{
  g_object_set_data_full (G_OBJECT (remote), OF_ADDRESS, g_object_ref (socket), g_object_unref);
}

static GSocket *
socket_of (SoupServerMessage *message)
{
  GSocket *socket = soup_server_message_get_socket (message);
  GSocketAddress *remote = socket == NULL ? soup_server_message_get_remote_address (message) : NULL;

  return remote != NULL ? g_object_get_data (G_OBJECT (remote), OF_ADDRESS) : socket;
}

GSource *
client_watch (SoupServerMessage *message, GSourceFunc func, gpointer user_data,
              GDestroyNotify destroy)
{
  GSocket *socket = socket_of (message);
  ClientWatch *watch = g_new0 (ClientWatch, 1);
  /* TCP tells of the other side's end of a connection, UNIX sockets of both. */
  int gone = POLLHUP | POLLERR;

  *watch = (ClientWatch){ NULL, func, user_data, destroy };
  if (socket == NULL) {
    watch_free (watch);
    return NULL;
  }
  if (g_socket_get_family (socket) != G_SOCKET_FAMILY_UNIX)
    gone |= POLLRDHUP;
  watch->socket = g_object_ref (socket);
  GSource *source = g_unix_fd_source_new (g_socket_get_fd (socket), (GIOCondition)gone);
  g_source_set_callback (source, G_SOURCE_FUNC (on_hangup), watch, watch_free);
  g_source_attach (source, NULL);
  return source;
}

void
client_watch_end (GSource **watch)
{
  if (*watch == NULL)
    return;
  g_source_destroy (*watch);
  g_clear_pointer (watch, g_source_unref);
}
