/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host.h"

#include <vmckpt/libvirt/libvirt-link.h>

#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>

/* A connection whose daemon is silent for that long is lost; one that only works is not silent. */
#define KEEPALIVE_S 5
#define KEEPALIVE_COUNT 6

struct _Host {
  char *uri;
  GMutex lock;        /* guards what follows */
  virConnectPtr conn; /* (nullable) */
  gboolean read_only;
};

/* libvirt prints errors to standard error by itself; here they are answers. */
static void
ignore_error (void *user_data, virErrorPtr error)
{
}

static gpointer
run_events (gpointer data)
{
  for (;;)
    virEventRunDefaultImpl();
  return NULL;
}

/* Keeps libvirt's event loop from sleeping for good while there is nothing registered. */
static void
on_tick (int timer, void *user_data)
{
}

void
host_init_library (void)
{
  virInitialize();
  virSetErrorFunc (NULL, ignore_error);
  virEventRegisterDefaultImpl();
  virEventAddTimeout (60000, on_tick, NULL, NULL);
  g_thread_unref (g_thread_new ("libvirt-events", run_events, NULL));
}

Host *
host_new (const char *uri)
{
  Host *host = g_new0 (Host, 1);

  host->uri = g_strdup (uri);
  g_mutex_init (&host->lock);
  return host;
}

void
host_free (Host *host)
{
  if (host->conn != NULL)
    virConnectClose (host->conn);
  g_mutex_clear (&host->lock);
  g_free (host->uri);
  g_free (host);
}

const char *
host_uri (const Host *host)
{
  return host->uri;
}

gboolean
host_uri_is_remote (const char *uri)
{
  const char *authority = strstr (uri, "://");

  return authority != NULL && authority[3] != '/' && authority[3] != '\0' && authority[3] != '?';
}

/* Whether it was a matter of rights that the connection in full was not had. */
static gboolean
denied (void)
{
  virErrorPtr last = virGetLastError();

  return last != NULL &&
         (last->code == VIR_ERR_AUTH_FAILED || last->code == VIR_ERR_AUTH_CANCELLED ||
          last->code == VIR_ERR_AUTH_UNAVAILABLE || last->code == VIR_ERR_ACCESS_DENIED ||
          (last->code == VIR_ERR_SYSTEM_ERROR && (last->int1 == EACCES || last->int1 == EPERM)));
}

static virConnectPtr
open_connection (const char *uri, gboolean *read_only)
{
  virConnectPtr conn = NULL;

  *read_only = host_uri_is_remote (uri);
  if (!*read_only) {
    conn = virConnectOpen (uri);
    *read_only = conn == NULL && denied();
  }
  if (*read_only)
    conn = virConnectOpenReadOnly (uri);
  /* Drivers without a daemon have no need of it. */
  if (conn != NULL && virConnectSetKeepAlive (conn, KEEPALIVE_S, KEEPALIVE_COUNT) < 0)
    virResetLastError();
  return conn;
}

virConnectPtr
host_connect (Host *host, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&host->lock);

  if (host->conn != NULL && virConnectIsAlive (host->conn) != 1)
    virConnectClose (g_steal_pointer (&host->conn));
  if (host->conn == NULL)
    host->conn = open_connection (host->uri, &host->read_only);
  if (host->conn == NULL) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_UNREACHABLE,
                 "libvirt at %s cannot be reached: %s", host->uri, virGetLastErrorMessage());
    return NULL;
  }
  virConnectRef (host->conn);
  return host->conn;
}

gboolean
host_read_only (Host *host)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&host->lock);

  return host->read_only;
}

static LibvirtError
map_code (int code)
{
  switch (code) {
  case VIR_ERR_NO_DOMAIN:
    return LIBVIRT_ERROR_NOT_FOUND;
  case VIR_ERR_DOM_EXIST:
    return LIBVIRT_ERROR_EXISTS;
  case VIR_ERR_OPERATION_TIMEOUT:
    return LIBVIRT_ERROR_BUSY;
  case VIR_ERR_OPERATION_INVALID:
  case VIR_ERR_OPERATION_DENIED:
  case VIR_ERR_ACCESS_DENIED:
  case VIR_ERR_AUTH_FAILED:
  case VIR_ERR_CPU_INCOMPATIBLE:
  case VIR_ERR_MIGRATE_UNSAFE:
  case VIR_ERR_AGENT_UNRESPONSIVE:
  case VIR_ERR_RESOURCE_BUSY:
    return LIBVIRT_ERROR_REFUSED;
  case VIR_ERR_XML_ERROR:
  case VIR_ERR_XML_DETAIL:
  case VIR_ERR_XML_INVALID_SCHEMA:
  case VIR_ERR_INVALID_ARG:
    return LIBVIRT_ERROR_USAGE;
  case VIR_ERR_NO_SUPPORT:
  case VIR_ERR_CONFIG_UNSUPPORTED:
  case VIR_ERR_ARGUMENT_UNSUPPORTED:
  case VIR_ERR_OPERATION_UNSUPPORTED:
    return LIBVIRT_ERROR_IMPOSSIBLE;
  case VIR_ERR_NO_CONNECT:
  case VIR_ERR_INVALID_CONN:
    return LIBVIRT_ERROR_UNREACHABLE;
  default:
    return LIBVIRT_ERROR_FAILED;
  }
}

gboolean
host_set_error (virConnectPtr conn, GError **error)
{
  virErrorPtr last = virSaveLastError(); /* asking for the connection's state would reset it */
  const char *message = last != NULL && last->message != NULL ? last->message : "no reason given";

  if (conn != NULL && virConnectIsAlive (conn) != 1)
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_LOST,
                 "libvirt's daemon went away meanwhile (%s)", message);
  else
    g_set_error_literal (error, LIBVIRT_ERROR,
                         map_code (last != NULL ? last->code : VIR_ERR_INTERNAL_ERROR), message);
  if (last != NULL)
    virFreeError (last);
  return FALSE;
}
