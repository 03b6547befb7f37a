/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease-server.h"

#include "protocol.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

struct _LeaseServer {
  AutoFd listener;
  guint accept_source;
  KeeperState state;
  const LeaseServerFuncs *funcs;
  gpointer user_data;
  GPtrArray *connections; /* of Connection */
  gboolean held;          /* no lease is granted now */
  gboolean thawing;       /* no freeze is */
};

typedef enum {
  CONNECTED,
  WAITING, /* a lease was asked for and is not granted yet */
  HOLDING,
  GUARD_WAITING,
  GUARDING,
  FREEZING,
  DONE, /* had its lease, guard or freeze */
} ConnectionState;

typedef struct {
  LeaseServer *server;
  AutoFd fd;
  guint source;
  ConnectionState state;
  LeaseKind lease; /* asked for or held */
  AutoFd stream;   /* came with the lease, or -1 */
  KeeperMessage request;
  gsize have; /* bytes of @request that are there */
} Connection;

static void
connection_free (gpointer data)
{
  Connection *connection = data;

  if (connection->source != 0)
    g_source_remove (connection->source);
  fd_close (&connection->fd);
  fd_close (&connection->stream);
  g_free (connection);
}

static Connection *
find_in_state (LeaseServer *server, ConnectionState state)
{
  for (guint i = 0; i < server->connections->len; i++) {
    Connection *connection = server->connections->pdata[i];
    if (connection->state == state)
      return connection;
  }
  return NULL;
}

/* Answers @type. An answer is far smaller than a socket's buffer: a peer that lets it run full by
 * asking without reading gets nothing, and is dropped when it goes away. */
static void
answer (Connection *connection, KeeperMessageType type, KeeperStatus status)
{
  KeeperMessage message = keeper_message (type);
  const KeeperState *state = &connection->server->state;

  message.status = status;
  message.keeper_pid = state->keeper.pid;
  message.keeper_start = state->keeper.start_ticks;
  message.qemu_pid = state->qemu.pid;
  message.qemu_start = state->qemu.start_ticks;
  if (send (connection->fd, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
    shutdown (connection->fd, SHUT_RDWR);
}

static KeeperMessageType
lease_message_type (LeaseKind kind)
{
  return kind == LEASE_RESTORE ? KEEPER_LEASE_RESTORE : KEEPER_LEASE_CHECKPOINT;
}

static void
grant (Connection *connection)
{
  LeaseServer *server = connection->server;

  connection->state = HOLDING;
  server->funcs->changed (connection->lease, server->user_data);
  answer (connection, lease_message_type (connection->lease), KEEPER_OK);
}

static void
handle_lease (Connection *connection)
{
  LeaseServer *server = connection->server;
  const KeeperMessage *request = &connection->request;

  if (connection->state != CONNECTED) {
    answer (connection, request->type, KEEPER_REFUSED);
    return;
  }
  if (find_in_state (server, HOLDING) != NULL || find_in_state (server, WAITING) != NULL) {
    answer (connection, request->type, KEEPER_BUSY);
    return;
  }
  if (request->type == KEEPER_LEASE_RESTORE)
    connection->lease = LEASE_RESTORE;
  else if (request->flags & KEEPER_FLAG_RESUME)
    connection->lease = LEASE_CHECKPOINT_RESUME;
  else
    connection->lease = LEASE_CHECKPOINT;
  connection->state = WAITING;
  if (!server->held)
    grant (connection);
}

/* Who is at the other end; start_ticks 0 if that cannot be found out. */
static ProcessId
peer_of (const Connection *connection)
{
  struct ucred peer = { 0 };
  socklen_t len = sizeof peer;

  getsockopt (connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
  return process_id_of (peer.pid);
}

static void
grant_guard (Connection *connection)
{
  LeaseServer *server = connection->server;

  connection->state = GUARDING;
  server->funcs->guarded (peer_of (connection), server->user_data);
  answer (connection, KEEPER_GUARD, KEEPER_OK);
}

static void
handle_guard (Connection *connection)
{
  LeaseServer *server = connection->server;

  if (connection->state != CONNECTED) {
    answer (connection, KEEPER_GUARD, KEEPER_REFUSED);
    return;
  }
  if (find_in_state (server, GUARDING) != NULL || find_in_state (server, GUARD_WAITING) != NULL) {
    answer (connection, KEEPER_GUARD, KEEPER_BUSY);
    return;
  }
  connection->state = GUARD_WAITING;
  if (!server->held)
    grant_guard (connection);
}

static void
handle_freeze (Connection *connection)
{
  LeaseServer *server = connection->server;

  if (connection->state != CONNECTED) {
    answer (connection, KEEPER_FREEZE, KEEPER_REFUSED);
    return;
  }
  if (server->thawing || find_in_state (server, FREEZING) != NULL) {
    answer (connection, KEEPER_FREEZE, KEEPER_BUSY);
    return;
  }
  connection->state = FREEZING;
  server->funcs->frozen (TRUE, server->user_data);
  answer (connection, KEEPER_FREEZE, KEEPER_OK);
}

static void
handle_end (Connection *connection)
{
  LeaseServer *server = connection->server;

  if (connection->state == HOLDING) {
    fd_close (&connection->stream);
    server->funcs->changed (LEASE_NONE, server->user_data);
  } else if (connection->state == GUARDING) {
    server->funcs->guarded ((ProcessId){ 0 }, server->user_data);
  } else if (connection->state == FREEZING) {
    server->funcs->frozen (FALSE, server->user_data);
  } else {
    answer (connection, KEEPER_END, KEEPER_REFUSED);
    return;
  }
  connection->state = DONE;
  answer (connection, KEEPER_END, KEEPER_OK);
}

static void
handle (Connection *connection)
{
  switch ((KeeperMessageType)connection->request.type) {
  case KEEPER_HELLO:
    answer (connection, KEEPER_HELLO, KEEPER_OK);
    break;
  case KEEPER_LEASE_CHECKPOINT:
  case KEEPER_LEASE_RESTORE:
    handle_lease (connection);
    break;
  case KEEPER_GUARD:
    handle_guard (connection);
    break;
  case KEEPER_FREEZE:
    handle_freeze (connection);
    break;
  case KEEPER_END:
    handle_end (connection);
    break;
  }
}

/* Reads into the connection's request. FALSE when the connection is over or talks nonsense. */
static gboolean
read_request (Connection *connection)
{
  guint8 *to = (guint8 *)&connection->request + connection->have;
  g_auto (AutoFd) passed = -1;
  gssize n =
      fd_receive (connection->fd, to, sizeof connection->request - connection->have, &passed, NULL);

  if (n <= 0)
    return FALSE;
  connection->have += n;
  /* A descriptor belongs to a connection's first lease; any other is closed here. */
  if (passed >= 0 && connection->state == CONNECTED && connection->stream < 0)
    connection->stream = fd_steal (&passed);
  if (connection->have < sizeof connection->request)
    return TRUE;
  connection->have = 0;
  if (!keeper_message_valid (&connection->request)) {
    /* The peer sees our version in an answer of our own. */
    answer (connection, KEEPER_HELLO, KEEPER_REFUSED);
    return FALSE;
  }
  handle (connection);
  return TRUE;
}

static gboolean
on_connection_readable (int fd, GIOCondition condition, gpointer user_data)
{
  Connection *connection = user_data;
  LeaseServer *server = connection->server;

  if (read_request (connection))
    return G_SOURCE_CONTINUE;

  gboolean broken = connection->state == HOLDING;
  gboolean unguarded = connection->state == GUARDING;
  gboolean frozen = connection->state == FREEZING;
  LeaseKind lease = connection->lease;
  int stream = fd_steal (&connection->stream);
  connection->source = 0;
  g_ptr_array_remove_fast (server->connections, connection);
  if (unguarded) {
    server->held = TRUE;
    server->funcs->unguarded (server->user_data);
  }
  if (frozen) {
    server->thawing = TRUE;
    server->funcs->thaw (server->user_data);
  }
  if (broken) {
    server->held = TRUE;
    server->funcs->broken (lease, stream, server->user_data);
  } else {
    fd_close (&stream);
  }
  return G_SOURCE_REMOVE;
}

static gboolean
on_connection (int fd, GIOCondition condition, gpointer user_data)
{
  LeaseServer *server = user_data;
  g_auto (AutoFd) accepted = accept4 (fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

  if (accepted < 0 || server->connections->len >= LEASE_MAX_CONNECTIONS)
    return G_SOURCE_CONTINUE;

  Connection *connection = g_new0 (Connection, 1);
  connection->server = server;
  connection->fd = fd_steal (&accepted);
  connection->stream = -1;
  connection->source = g_unix_fd_add (connection->fd, G_IO_IN | G_IO_HUP | G_IO_ERR,
                                      on_connection_readable, connection);
  g_ptr_array_add (server->connections, connection);
  return G_SOURCE_CONTINUE;
}

LeaseServer *
lease_server_new (int listener, const KeeperState *state, const LeaseServerFuncs *funcs,
                  gpointer user_data)
{
  LeaseServer *server = g_new0 (LeaseServer, 1);

  server->listener = listener;
  server->state = *state;
  server->funcs = funcs;
  server->user_data = user_data;
  server->connections = g_ptr_array_new_with_free_func (connection_free);
  server->accept_source = g_unix_fd_add (listener, G_IO_IN, on_connection, server);
  return server;
}

void
lease_server_hold (LeaseServer *server)
{
  server->held = TRUE;
}

void
lease_server_thawing (LeaseServer *server)
{
  server->thawing = TRUE;
}

void
lease_server_thawed (LeaseServer *server)
{
  server->thawing = FALSE;
}

void
lease_server_ready (LeaseServer *server)
{
  Connection *waiting = find_in_state (server, WAITING);
  Connection *guard = find_in_state (server, GUARD_WAITING);

  server->held = FALSE;
  if (waiting != NULL)
    grant (waiting);
  if (guard != NULL)
    grant_guard (guard);
}

void
lease_server_free (LeaseServer *server)
{
  if (server == NULL)
    return;
  g_source_remove (server->accept_source);
  g_ptr_array_unref (server->connections);
  fd_close (&server->listener);
  g_free (server);
}
