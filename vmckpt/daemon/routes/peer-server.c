/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer-server.h"

#include "api-error.h"
#include "client-watch.h"
#include "peer-tls.h"
#include "peer.h"
#include "router.h"

#include <libsoup/soup.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <vmckpt/util/error.h>

#define MAX_CONNECTIONS 64
#define MAX_HANDSHAKES 32
#define HANDSHAKE_SECONDS 5
#define REQUEST_SECONDS 20 /* from the handshake to the end of the request */
#define IDLE_SECONDS 60    /* to the next request */
/* So long may a host that has gone silently keep its connection: its work is stopped then. */
#define SILENCE_MS 20000
#define LOG_EVERY_US G_USEC_PER_SEC

struct _PeerServer {
  SoupServer *soup;
  GSocketService *service;
  PeerTls *tls;
  GQueue handshakes; /* of Connection *, oldest first */
  guint n_connections;
  gint64 last_log_us;
  guint unlogged;
};

typedef struct {
  gatomicrefcount refs;
  PeerServer *server;
  GSocket *socket;
  GSocketAddress *remote;
  GIOStream *tls;       /* until libsoup has it; then not owned */
  GCancellable *cancel; /* of the handshake */
  guint timer;
  GTlsCertificateFlags distrust;
} Connection;

#define OF_ADDRESS "vmckpt-peer-connection"

/* ---- What is logged: not more than a stranger is worth ---- */

static char *
address_text (GSocketAddress *address)
{
  return g_socket_connectable_to_string (G_SOCKET_CONNECTABLE (address));
}

static void
log_refusal (Connection *connection, const char *reason)
{
  PeerServer *server = connection->server;
  gint64 now = g_get_monotonic_time();
  g_autofree char *address = address_text (connection->remote);

  if (now - server->last_log_us < LOG_EVERY_US && server->last_log_us != 0) {
    server->unlogged++;
    return;
  }
  if (server->unlogged > 0)
    g_message ("%u more connections of other hosts were refused", server->unlogged);
  g_message ("%s is refused: %s", address, reason);
  server->unlogged = 0;
  server->last_log_us = now;
}

/* ---- One connection ---- */

static void
connection_unref (Connection *connection)
{
  if (!g_atomic_ref_count_dec (&connection->refs))
    return;
  g_object_set_data (G_OBJECT (connection->remote), OF_ADDRESS, NULL);
  g_clear_handle_id (&connection->timer, g_source_remove);
  g_clear_object (&connection->socket);
  g_clear_object (&connection->remote);
  g_clear_object (&connection->cancel);
  connection->server->n_connections--;
  g_free (connection);
}

/* Nothing has come in time. */
static gboolean
on_too_late (gpointer user_data)
{
  Connection *connection = user_data;

  connection->timer = 0;
  g_cancellable_cancel (connection->cancel);
  g_socket_shutdown (connection->socket, TRUE, TRUE, NULL);
  return G_SOURCE_REMOVE;
}

static void
wait_at_most (Connection *connection, guint seconds)
{
  g_clear_handle_id (&connection->timer, g_source_remove);
  if (seconds > 0)
    connection->timer = g_timeout_add_seconds (seconds, on_too_late, connection);
}

/* libsoup has let go of it. */
static void
on_stream_gone (gpointer user_data, GObject *stream G_GNUC_UNUSED)
{
  connection_unref (user_data);
}

static Connection *
connection_of (SoupServerMessage *message)
{
  GSocketAddress *remote = soup_server_message_get_remote_address (message);
  return remote != NULL ? g_object_get_data (G_OBJECT (remote), OF_ADDRESS) : NULL;
}

static void
on_request_read (SoupServer *soup, SoupServerMessage *message, gpointer user_data)
{
  Connection *connection = connection_of (message);

  if (connection != NULL)
    wait_at_most (connection, 0);
}

static void
on_request_over (SoupServer *soup, SoupServerMessage *message, gpointer user_data)
{
  Connection *connection = connection_of (message);

  if (connection != NULL)
    wait_at_most (connection, IDLE_SECONDS);
}

/* ---- The handshake ---- */

/* A server is asked about good ones too. */
static gboolean
on_certificate (GTlsConnection *tls, GTlsCertificate *certificate, GTlsCertificateFlags flags,
                gpointer user_data)
{
  ((Connection *)user_data)->distrust = flags;
  return flags == G_TLS_CERTIFICATE_NO_FLAGS;
}

static void
refuse (Connection *connection, const GError *error)
{
  g_autofree char *text =
      connection->distrust != 0 ? peer_tls_describe (connection->distrust) : NULL;
  g_autofree char *reason = text != NULL ? g_strdup_printf ("its certificate %s", text)
                            : g_cancellable_is_cancelled (connection->cancel)
                                ? g_strdup ("its handshake takes too long")
                                : g_strdup (error->message);

  log_refusal (connection, reason);
  g_socket_shutdown (connection->socket, TRUE, TRUE, NULL);
}

/* TLS's default is that already; this does not depend on it. */
static gboolean
check_known (GTlsConnection *tls, GError **error)
{
  GTlsProtocolVersion version = g_tls_connection_get_protocol_version (tls);
  gboolean known = g_tls_connection_get_peer_certificate (tls) != NULL &&
                   g_tls_connection_get_peer_certificate_errors (tls) == 0;

  if (known &&
      (version == G_TLS_PROTOCOL_VERSION_TLS_1_2 || version == G_TLS_PROTOCOL_VERSION_TLS_1_3))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE,
                       known ? "it speaks an old TLS" : "it has shown no certificate");
  return FALSE;
}

static void
hand_over (Connection *connection)
{
  PeerServer *server = connection->server;
  g_autoptr (GSocketAddress) local = g_socket_get_local_address (connection->socket, NULL);
  g_autoptr (GError) error = NULL;

  g_object_set_data (G_OBJECT (connection->remote), OF_ADDRESS, connection);
  client_watch_set_socket (connection->remote, connection->socket);
  g_atomic_ref_count_inc (&connection->refs);
  g_object_weak_ref (G_OBJECT (connection->tls), on_stream_gone, connection);
  wait_at_most (connection, REQUEST_SECONDS);
  if (!soup_server_accept_iostream (server->soup, connection->tls, local, connection->remote,
                                    &error))
    log_refusal (connection, error->message);
}

static void
on_handshake (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Connection *connection = user_data;
  g_autoptr (GIOStream) stream = connection->tls;
  g_autoptr (GError) error = NULL;

  g_queue_remove (&connection->server->handshakes, connection);
  wait_at_most (connection, 0);
  if (g_tls_connection_handshake_finish (G_TLS_CONNECTION (source), result, &error) &&
      check_known (G_TLS_CONNECTION (source), &error))
    hand_over (connection);
  else
    refuse (connection, error);
  connection_unref (connection);
}

static void
begin_handshake (Connection *connection)
{
  GTlsConnection *tls = G_TLS_CONNECTION (connection->tls);

  g_object_set (tls, "authentication-mode", G_TLS_AUTHENTICATION_REQUIRED, NULL);
  g_tls_connection_set_database (tls, connection->server->tls->authority);
  g_signal_connect (tls, "accept-certificate", G_CALLBACK (on_certificate), connection);
  g_queue_push_tail (&connection->server->handshakes, connection);
  wait_at_most (connection, HANDSHAKE_SECONDS);
  g_tls_connection_handshake_async (tls, G_PRIORITY_DEFAULT, connection->cancel, on_handshake,
                                    connection);
}

/* ---- Accepting ---- */

/* FALSE if all that are there are at work. */
static gboolean
make_room (PeerServer *server)
{
  if (server->handshakes.length < MAX_HANDSHAKES && server->n_connections < MAX_CONNECTIONS)
    return TRUE;
  Connection *oldest = g_queue_peek_head (&server->handshakes);
  if (oldest == NULL)
    return FALSE;
  g_cancellable_cancel (oldest->cancel);
  g_queue_remove (&server->handshakes, oldest);
  return TRUE;
}

static void
prepare_socket (GSocket *socket)
{
  g_socket_set_keepalive (socket, TRUE);
  g_socket_set_option (socket, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
  g_socket_set_option (socket, IPPROTO_TCP, TCP_KEEPIDLE, SILENCE_MS / 2000, NULL);
  g_socket_set_option (socket, IPPROTO_TCP, TCP_KEEPINTVL, SILENCE_MS / 4000, NULL);
  g_socket_set_option (socket, IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_MS, NULL);
}

static gboolean
on_incoming (GSocketService *service, GSocketConnection *accepted, GObject *source,
             gpointer user_data)
{
  PeerServer *server = user_data;
  GSocketAddress *remote = g_socket_connection_get_remote_address (accepted, NULL);
  g_autoptr (GIOStream) tls =
      remote != NULL && make_room (server)
          ? g_tls_server_connection_new (G_IO_STREAM (accepted), server->tls->certificate, NULL)
          : NULL;

  if (tls == NULL) {
    g_clear_object (&remote);
    return TRUE; /* closed */
  }
  Connection *connection = g_new0 (Connection, 1);
  g_atomic_ref_count_init (&connection->refs);
  connection->server = server;
  connection->socket = g_object_ref (g_socket_connection_get_socket (accepted));
  connection->remote = remote;
  connection->cancel = g_cancellable_new();
  connection->tls = g_steal_pointer (&tls);
  server->n_connections++;
  prepare_socket (connection->socket);
  begin_handshake (connection);
  return TRUE;
}

/* Binds the first of the address's that there are. */
static gboolean
bind_to (GSocketListener *listener, const char *listen, GError **error)
{
  g_autoptr (GSocketConnectable) wanted = g_network_address_parse (listen, PEER_PORT, error);
  if (wanted == NULL)
    return FALSE;
  g_autoptr (GSocketAddressEnumerator) addresses = g_socket_connectable_enumerate (wanted);
  g_autoptr (GSocketAddress) address = g_socket_address_enumerator_next (addresses, NULL, error);

  return address != NULL &&
         g_socket_listener_add_address (listener, address, G_SOCKET_TYPE_STREAM,
                                        G_SOCKET_PROTOCOL_TCP, NULL, NULL, error);
}

PeerServer *
peer_server_new (Daemon *daemon, const char *listen, const char *tls, GError **error)
{
  ERROR_PREFIX (error, "listening on %s", listen);
  g_autoptr (PeerTls) credentials = NULL;

  if (tls == NULL) {
    g_set_error_literal (error, API_ERROR, API_USAGE,
                         "hosts talk over TLS only: --tls DIR is needed, with their certificates");
    return NULL;
  }
  credentials = peer_tls_read (tls, PEER_TLS_SERVER, error);
  if (credentials == NULL)
    return NULL;
  g_autoptr (GSocketService) service = g_socket_service_new();
  if (!bind_to (G_SOCKET_LISTENER (service), listen, error))
    return NULL;
  PeerServer *server = g_new0 (PeerServer, 1);
  server->tls = g_steal_pointer (&credentials);
  server->service = g_steal_pointer (&service);
  server->soup = soup_server_new ("server-header", "vmckptd", NULL);
  router_attach_peers (server->soup, daemon);
  g_signal_connect (server->soup, "request-read", G_CALLBACK (on_request_read), server);
  g_signal_connect (server->soup, "request-finished", G_CALLBACK (on_request_over), server);
  g_signal_connect (server->soup, "request-aborted", G_CALLBACK (on_request_over), server);
  g_signal_connect (server->service, "incoming", G_CALLBACK (on_incoming), server);
  g_socket_service_start (server->service);
  return server;
}
