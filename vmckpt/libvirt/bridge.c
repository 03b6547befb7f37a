/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bridge.h"

#include "bridge-agent.h"
#include "bridge-client.h"
#include "bridge-record.h"
#include "console-relay.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LOCK_NAME "bridge.lock"
#define CLIENTS_MAX 32 /* of all sockets together; more wait in the listener's queue */

typedef struct {
  Host *host;
  Monitor *monitor;
  BridgeClients *clients;
  LibvirtBridge record;
  int n_clients; /* atomic */
} Bridge;

typedef void (*ServeFunc) (Bridge *bridge, int socket);

/* One listening socket, or one client of it. */
typedef struct {
  Bridge *bridge;
  int socket;
  ServeFunc serve;
} Served;

static void
serve_qmp (Bridge *bridge, int socket)
{
  bridge_client_serve (bridge->clients, bridge->monitor, socket);
}

static void
serve_agent (Bridge *bridge, int socket)
{
  bridge_agent_serve (bridge->monitor, socket);
}

/* Tells why there is no console, so that it is read: a socket that is closed with input unread is
 * reset. */
static void
say_last_words (int socket, const char *words)
{
  const struct timeval patience = { .tv_sec = 1 };
  g_autofree char *text = g_strdup_printf ("%s\r\n", words);
  char ignored[4096];

  if (!fd_write_full (socket, text, strlen (text), NULL))
    return;
  shutdown (socket, SHUT_WR);
  setsockopt (socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (recv (socket, ignored, sizeof ignored, 0) > 0)
    ;
}

static void
serve_console (Bridge *bridge, int socket)
{
  g_auto (AutoFd) own = socket;
  g_autoptr (GError) error = NULL;
  g_autoptr (virDomain) domain = monitor_domain (bridge->monitor, &error);

  if (domain == NULL || !console_relay (domain, NULL, socket, NULL, NULL, &error))
    say_last_words (socket, error->message);
}

static gpointer
run_client (gpointer data)
{
  Served *client = data;

  client->serve (client->bridge, client->socket);
  g_atomic_int_add (&client->bridge->n_clients, -1);
  g_free (client);
  return NULL;
}

static gpointer
run_listener (gpointer data)
{
  Served *listener = data;

  for (;;) {
    int socket = accept4 (listener->socket, NULL, NULL, SOCK_CLOEXEC);
    if (socket < 0 || g_atomic_int_get (&listener->bridge->n_clients) >= CLIENTS_MAX) {
      if (socket >= 0)
        close (socket);
      g_usleep (10000);
      continue;
    }
    Served *client = g_memdup2 (listener, sizeof *listener);
    client->socket = socket;
    g_atomic_int_inc (&listener->bridge->n_clients);
    g_thread_unref (g_thread_new ("client", run_client, client));
  }
  return NULL;
}

static gboolean
listen_on (Bridge *bridge, const char *name, ServeFunc serve, GError **error)
{
  int socket = fd_listen_unix (name, error);

  if (socket < 0)
    return FALSE;
  Served *listener = g_new (Served, 1);
  *listener = (Served){ bridge, socket, serve };
  g_thread_unref (g_thread_new (name, run_listener, listener));
  return TRUE;
}

static gboolean
open_sockets (Bridge *bridge, GError **error)
{
  g_autoptr (virDomain) domain = monitor_domain (bridge->monitor, error);

  if (domain == NULL)
    return FALSE;
  bridge->record.agent = bridge_agent_present (domain);
  bridge->record.console = TRUE;
  return listen_on (bridge, LIBVIRT_BRIDGE_QMP, serve_qmp, error) &&
         listen_on (bridge, LIBVIRT_BRIDGE_KEEPER_QMP, serve_qmp, error) &&
         (!bridge->record.agent || listen_on (bridge, LIBVIRT_BRIDGE_AGENT, serve_agent, error)) &&
         listen_on (bridge, LIBVIRT_BRIDGE_CONSOLE, serve_console, error);
}

/* One bridge per directory, whoever starts how many. The lock is held until the process ends. */
static gboolean
take_directory (const char *directory, GError **error)
{
  int lock;

  if (chdir (directory) < 0)
    return fd_set_errno_error (error, "%s", directory);
  lock = open (LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock >= 0 && flock (lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  return fd_set_errno_error (error, "another bridge has %s", directory);
}

static gboolean
start (Bridge *bridge, const char *uuid, const char *directory, GError **error)
{
  if (!take_directory (directory, error))
    return FALSE;
  /* What a killed one has left. */
  bridge_record_remove (".");
  bridge->clients = bridge_clients_new();
  bridge->monitor = monitor_open (bridge->host, uuid, bridge_clients_event, bridge->clients, error);
  if (bridge->monitor == NULL)
    return FALSE;
  bridge->record.bridge = process_id_of (getpid());
  bridge->record.qemu = monitor_qemu (bridge->monitor);
  bridge->record.uri = g_strdup (host_uri (bridge->host));
  bridge->record.uuid = g_strdup (uuid);
  if (open_sockets (bridge, error) && bridge_record_write (".", &bridge->record, error))
    return TRUE;
  bridge_record_remove (".");
  return FALSE;
}

static void
report (int fd, const GError *error)
{
  g_autofree char *text =
      error == NULL
          ? g_strdup ("ok\n")
          : g_strdup_printf ("%d %s\n",
                             error->domain == LIBVIRT_ERROR ? error->code : LIBVIRT_ERROR_FAILED,
                             error->message);

  if (fd >= 0)
    fd_write_full (fd, text, strlen (text), NULL);
  else if (error != NULL)
    fprintf (stderr, "vmckpt-libvirt: %s\n", error->message);
}

/* In a thread of its own, so that it comes whatever the others wait for. */
static gpointer
wait_for_signal (gpointer data)
{
  int number;

  sigwait (data, &number);
  bridge_record_remove (".");
  _exit (0);
}

int
bridge_run (Host *host, const char *uuid, const char *directory, int report_fd)
{
  g_auto (AutoFd) report_to = report_fd;
  sigset_t ending;
  Bridge bridge = { .host = host };
  g_autoptr (GError) error = NULL;

  if (report_fd >= 0)
    fcntl (report_fd, F_SETFD, FD_CLOEXEC);
  sigemptyset (&ending);
  sigaddset (&ending, SIGTERM);
  gboolean started = start (&bridge, uuid, directory, &error);
  report (report_fd, error);
  fd_close (&report_to);
  if (!started)
    return 1;
  g_thread_unref (g_thread_new ("signals", wait_for_signal, &ending));
  monitor_watch (bridge.monitor);
  bridge_record_remove (".");
  /* Threads that wait for clients and for libvirt go with the process, and the sockets with it. */
  _exit (0);
}
