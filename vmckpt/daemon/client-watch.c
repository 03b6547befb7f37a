/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client-watch.h"

typedef struct {
  GSourceFunc func;
  gpointer user_data;
  GDestroyNotify destroy;
} ClientWatch;

static gboolean
on_hangup (GSocket *socket, GIOCondition condition, gpointer data)
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
  g_free (watch);
}

GSource *
client_watch (SoupServerMessage *message, GSourceFunc func, gpointer user_data,
              GDestroyNotify destroy)
{
  GSocket *socket = soup_server_message_get_socket (message);
  ClientWatch *watch = g_new (ClientWatch, 1);

  *watch = (ClientWatch){ func, user_data, destroy };
  if (socket == NULL) {
    watch_free (watch);
    return NULL;
  }
  GSource *source = g_socket_create_source (socket, G_IO_HUP | G_IO_ERR, NULL);
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
