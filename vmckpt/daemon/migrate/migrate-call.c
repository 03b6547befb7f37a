/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migrate-call.h"

#include "api-error.h"
#include "peer.h"

#include <vmckpt/util/json.h>

#define CHECK_US (100 * G_TIME_SPAN_MILLISECOND)
#define ARRIVE_US (120 * (gint64)G_USEC_PER_SEC) /* after all was sent */

struct _MigrateCall {
  Peer *peer; /* the thread's */
  JsonObject *offer;
  GCancellable *cancellable;
  GThread *thread;
  GMutex lock;
  GCond changed;
  /* Guarded by the lock. */
  char *uri, *nbd, *records;
  gboolean arrived, over;
  JsonObject *result;
  GError *error;
};

#define LOCK(call)                                                                                 \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(call)->lock)

static void
on_line (JsonObject *line, const char *type, gpointer user_data)
{
  MigrateCall *call = user_data;
  LOCK (call);

  if (g_str_equal (type, "listening") && call->uri == NULL) {
    call->uri = g_strdup (json_get_string_or (line, "uri", ""));
    call->records = g_strdup (json_get_string_or (line, "records", NULL));
    call->nbd = g_strdup (json_get_string_or (line, "nbd", NULL));
  } else if (g_str_equal (type, "arrived"))
    call->arrived = TRUE;
  g_cond_broadcast (&call->changed);
}

static gpointer
call_thread (gpointer data)
{
  MigrateCall *call = data;
  const PeerListener listener = { on_line, call, call->cancellable, 0 };
  GError *error = NULL;
  JsonObject *result =
      peer_call (call->peer, "POST", "/v1/migrations", call->offer, &listener, &error);
  LOCK (call);

  call->result = result;
  call->error = error;
  call->over = TRUE;
  g_cond_broadcast (&call->changed);
  return NULL;
}

MigrateCall *
migrate_call_new (const char *to, const char *tls, JsonObject *offer, GError **error)
{
  Peer *peer = peer_new (to, tls, error);

  if (peer == NULL)
    return NULL;
  MigrateCall *call = g_new0 (MigrateCall, 1);
  call->peer = peer;
  call->offer = json_object_ref (offer);
  call->cancellable = g_cancellable_new();
  g_mutex_init (&call->lock);
  g_cond_init (&call->changed);
  call->thread = g_thread_new ("migrate-call", call_thread, call);
  return call;
}

void
migrate_call_free (MigrateCall *call)
{
  if (call == NULL)
    return;
  g_cancellable_cancel (call->cancellable);
  g_thread_join (call->thread);
  peer_free (call->peer);
  json_object_unref (call->offer);
  g_object_unref (call->cancellable);
  g_free (call->uri);
  g_free (call->nbd);
  g_free (call->records);
  g_clear_pointer (&call->result, json_object_unref);
  g_clear_error (&call->error);
  g_mutex_clear (&call->lock);
  g_cond_clear (&call->changed);
  g_free (call);
}

/* With the lock held. */
static gboolean
check (MigrateCall *call, GError **error)
{
  if (!call->over)
    return TRUE;
  if (call->error != NULL)
    g_propagate_error (error, g_error_copy (call->error));
  else
    g_set_error_literal (error, API_ERROR, API_FAILED,
                         "the other host has ended the call too early");
  return FALSE;
}

gboolean
migrate_call_check (MigrateCall *call, GError **error)
{
  LOCK (call);
  return check (call, error);
}

gboolean
migrate_call_wait_listening (MigrateCall *call, const char **uri, const char **nbd,
                             GCancellable *cancellable, GError **error)
{
  LOCK (call);

  while (call->uri == NULL) {
    if (!check (call, error) || g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    g_cond_wait_until (&call->changed, &call->lock, g_get_monotonic_time() + CHECK_US);
  }
  if (call->records == NULL) {
    g_set_error_literal (error, API_ERROR, API_FAILED,
                         "the other host does not say where it records what it decides");
    return FALSE;
  }
  *uri = call->uri;
  *nbd = call->nbd;
  return TRUE;
}

const char *
migrate_call_records (MigrateCall *call)
{
  LOCK (call);
  return call->records;
}

gboolean
migrate_call_wait_arrived (MigrateCall *call, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + ARRIVE_US;
  LOCK (call);

  while (!call->arrived) {
    if (!check (call, error) || g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error_literal (error, API_ERROR, API_FAILED,
                           "the other host does not say that all has arrived");
      return FALSE;
    }
    g_cond_wait_until (&call->changed, &call->lock, g_get_monotonic_time() + CHECK_US);
  }
  return check (call, error);
}

JsonObject *
migrate_call_wait_served (MigrateCall *call, int timeout_ms)
{
  gint64 deadline = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
  LOCK (call);

  while (!call->over && g_cond_wait_until (&call->changed, &call->lock, deadline))
    ;
  return call->result;
}
