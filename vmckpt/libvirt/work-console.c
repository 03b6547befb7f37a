/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's console, on a socket that came with the request. */
#include "console-relay.h"
#include "work.h"

#include <vmckpt/util/json.h>

#include <sys/socket.h>

static void
tell_opened (gpointer work)
{
  JsonObject *progress = json_object_new();

  json_object_set_boolean_member (progress, "opened", TRUE);
  work_progress (work, progress);
}

static void
hang_up (GCancellable *cancellable, gpointer work)
{
  shutdown (((Work *)work)->fd, SHUT_RDWR);
}

JsonObject *
work_open_console (Work *work, GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);
  const char *device = json_get_string_or (work->request->members, "device", NULL);
  gboolean ok;
  gulong handler;

  if (domain == NULL)
    return NULL;
  handler = g_cancellable_connect (work->cancellable, G_CALLBACK (hang_up), work, NULL);
  ok = console_relay (domain, device, work->fd, tell_opened, work, error);
  g_cancellable_disconnect (work->cancellable, handler);
  return ok ? json_object_new() : NULL;
}
