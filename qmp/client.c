/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 *   any thread                        home (one GSource)
 *   ──────────                        ──────────────────
 *   submit ──▶ session.queued ──────▶ send ──▶ transport ──▶ server
 *   wake home                         receive ◀── transport ◀──
 *   wait      ◀── session.deliveries ◀──┘
 *             ──▶ event handler, callbacks
 *
 * The transport belongs to home. The session is shared and guarded by `lock`. Home is one GSource
 * that is ready when the socket is, or at its "ready time": at once when something was submitted or
 * is to be delivered, else at the next deadline. It is always set under `lock`, so that no wake-up
 * is lost.
 *
 * User code (event handler, callbacks) runs last in a dispatch, without the lock, one delivery at a
 * time, in the order of the server's messages; an answer is seen only after the events before it.
 * The source may be dispatched recursively: a handler may itself call qmp_client_execute(), which
 * iterates home.
 *
 * Lifetime: the public references are counted in `handles`; when the last one goes, the source is
 * destroyed. The memory is kept by `refs`: one for all handles together, one for the source.
 *
 * The lock is pthread's, not GLib's, because the thread sanitizer knows only the former.
 */
#include <vmckpt/qmp/client.h>

#include "handshake.h"
#include "result.h"
#include "session.h"
#include "transport.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <pthread.h>
#include <sys/socket.h>
#include <vmckpt/util/error.h>

#define DEFAULT_TIMEOUT_MS 30000

/* While so many events and answers wait for delivery, nothing more is read. */
#define MAX_DELIVERIES 1024

struct _QmpClient {
  int handles, refs; /* atomic */
  GMainContext *home;
  GThread *maker;
  QmpGreeting greeting;
  GSource *source;

  pthread_mutex_t lock;
  pthread_cond_t delivered; /* a call has become QMP_CALL_DELIVERED */
  QmpSession session;
  QmpEventFunc event_func;
  gpointer event_data;
  QmpTransport *transport; /* used at home only, set to NULL under the lock */
  gpointer fd_tag;         /* home only */
  GIOCondition wanted;     /* home only: what fd_tag waits for */
};

static void
lock_release (pthread_mutex_t **lock)
{
  pthread_mutex_unlock (*lock);
}

typedef pthread_mutex_t *LockGuard;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LockGuard, lock_release)

static LockGuard
lock_take (QmpClient *client)
{
  pthread_mutex_lock (&client->lock);
  return &client->lock;
}

#define LOCKED(client) g_auto (LockGuard) lock_guard G_GNUC_UNUSED = lock_take (client)

static void
client_drop (QmpClient *client)
{
  if (!g_atomic_int_dec_and_test (&client->refs))
    return;
  g_clear_pointer (&client->transport, qmp_transport_free);
  qmp_session_clear (&client->session);
  g_free (client->greeting.package);
  g_source_unref (client->source);
  g_main_context_unref (client->home);
  pthread_cond_destroy (&client->delivered);
  pthread_mutex_destroy (&client->lock);
  g_free (client);
}

/* Makes the source run as soon as home is iterated. Locking: held by the caller. */
static void
wake_home (QmpClient *client)
{
  g_source_set_ready_time (client->source, 0);
}

/*
 * Lets those who wait in qmp_client_execute() go on without home, which need not be running. Only
 * for calls that ended here: answers are delivered in their order. Locking: held.
 */
static void
release_waiters (QmpClient *client)
{
  for (GList *link = client->session.deliveries.head; link != NULL; link = link->next) {
    QmpCall *call = ((QmpDelivery *)link->data)->call;
    if (call != NULL && call->callback == NULL && call->ended_here)
      call->state = QMP_CALL_DELIVERED;
  }
  pthread_cond_broadcast (&client->delivered);
  g_main_context_wakeup (client->home);
}

/* Ends a call before its answer came. Locking: held. */
static void
finish_early (QmpClient *client, QmpCall *call, GError *error)
{
  if (!qmp_session_abandon (&client->session, call, error))
    return;
  release_waiters (client);
  wake_home (client);
}

/* --- home: input and output ----------------------------------------------------------------------
 */

static void
lose (QmpClient *client, const GError *reason, gboolean announce)
{
  LOCKED (client);
  qmp_session_lose (&client->session, reason, announce);
  wake_home (client);
}

static gboolean
may_receive (QmpClient *client)
{
  LOCKED (client);
  return client->session.lost == NULL && client->session.deliveries.length < MAX_DELIVERIES;
}

/* Takes the complete lines out of the transport. FALSE with @error (QMP_ERROR_PROTOCOL). */
static gboolean
receive_lines (QmpClient *client, GError **error)
{
  while (may_receive (client)) {
    g_auto (QmpMessage) message = { 0 };
    g_autoptr (GError) failure = NULL;
    gsize len;
    g_autofree char *line = qmp_transport_take_line (client->transport, &len, &failure);
    if (line == NULL) {
      if (failure != NULL)
        g_propagate_error (error, g_steal_pointer (&failure));
      return failure == NULL && *error == NULL;
    }
    if (!qmp_message_parse (line, len, &message, error))
      return FALSE;
    LOCKED (client);
    qmp_session_receive (&client->session, &message);
  }
  return TRUE;
}

static void
do_input (QmpClient *client)
{
  g_autoptr (GError) lost = NULL;
  g_autoptr (GError) garbled = NULL;

  if (!may_receive (client))
    return;
  qmp_transport_fill (client->transport, &lost);
  if (!receive_lines (client, &garbled))
    lose (client, garbled, TRUE);
  else if (lost != NULL && may_receive (client))
    lose (client, lost, TRUE);
}

static void
do_output (QmpClient *client)
{
  g_autoptr (GError) error = NULL;

  for (;;) {
    LOCKED (client);
    g_autoptr (QmpCall) call = qmp_session_next_to_send (&client->session);
    if (call == NULL)
      break;
    qmp_transport_queue (client->transport, g_steal_pointer (&call->line),
                         fd_steal (&call->pass_fd));
  }
  if (!qmp_transport_flush (client->transport, &error))
    lose (client, error, TRUE);
}

/* Gives the socket back once the monitor is lost. */
static void
drop_transport (QmpClient *client)
{
  LOCKED (client);
  if (client->transport == NULL || client->session.lost == NULL)
    return;
  g_source_remove_unix_fd (client->source, client->fd_tag);
  g_clear_pointer (&client->transport, qmp_transport_free);
}

/* --- home: delivery ------------------------------------------------------------------------------
 */

static void
deliver_call (QmpClient *client, QmpCall *call)
{
  if (call->callback == NULL)
    return;
  g_cancellable_disconnect (call->cancellable, call->cancel_id);
  qmp_result_deliver (call);
  qmp_client_unref (client);
}

/* Hands over the oldest event or answer. Runs user code, and so perhaps this function again. */
static void
deliver_one (QmpClient *client)
{
  g_autoptr (QmpDelivery) delivery = NULL;
  QmpEventFunc event_func;
  gpointer event_data;

  {
    LOCKED (client);
    delivery = g_queue_pop_head (&client->session.deliveries);
    event_func = client->event_func;
    event_data = client->event_data;
    if (delivery != NULL && delivery->call != NULL) {
      delivery->call->state = QMP_CALL_DELIVERED;
      pthread_cond_broadcast (&client->delivered);
    }
  }
  if (delivery == NULL)
    return;
  if (delivery->call != NULL)
    deliver_call (client, delivery->call);
  else if (event_func != NULL)
    event_func (client, delivery->message.event, delivery->message.data, delivery->message.time_us,
                event_data);
}

/* Says what the source is to wait for: at once, the socket, the next deadline. */
static void
rearm (QmpClient *client)
{
  LOCKED (client);
  GIOCondition wanted = G_IO_IN;

  if (client->transport != NULL && qmp_transport_pending (client->transport))
    wanted |= G_IO_OUT;
  /* Each change wakes the main loop up, so only when it is one. */
  if (client->transport != NULL && wanted != client->wanted)
    g_source_modify_unix_fd (client->source, client->fd_tag, wanted);
  client->wanted = wanted;
  /* Others may have submitted while this dispatch was past sending. */
  gboolean busy = !g_queue_is_empty (&client->session.deliveries) ||
                  qmp_session_may_send (&client->session) ||
                  (client->transport != NULL && client->session.lost != NULL);
  g_source_set_ready_time (client->source, busy ? 0 : qmp_session_next_deadline (&client->session));
}

static gboolean
run_home (gpointer data)
{
  QmpClient *client = data;

  /* What is delivered may give up the last handle, and with it the source. */
  g_atomic_int_inc (&client->refs);
  if (client->transport != NULL) {
    do_input (client);
    do_output (client);
    drop_transport (client);
  }
  {
    LOCKED (client);
    qmp_session_expire (&client->session, g_get_monotonic_time());
  }
  rearm (client);
  deliver_one (client);
  rearm (client);
  client_drop (client);
  return G_SOURCE_CONTINUE;
}

static gboolean
source_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  return callback (user_data);
}

static GSourceFuncs source_funcs = { .dispatch = source_dispatch };

/* --- making and ending ---------------------------------------------------------------------------
 */

static QmpClient *
client_new (int fd)
{
  QmpClient *client = g_new0 (QmpClient, 1);
  pthread_condattr_t attributes;

  client->handles = client->refs = 1;
  client->home = g_main_context_ref_thread_default();
  client->maker = g_thread_self();
  client->transport = qmp_transport_new (fd);
  client->source = g_source_new (&source_funcs, sizeof (GSource));
  qmp_session_init (&client->session);
  pthread_mutex_init (&client->lock, NULL);
  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (&client->delivered, &attributes);
  pthread_condattr_destroy (&attributes);
  return client;
}

/* Lets the source take over from the handshake. */
static void
start_home (QmpClient *client)
{
  g_atomic_int_inc (&client->refs);
  g_source_set_name (client->source, "qmp");
  g_source_set_can_recurse (client->source, TRUE);
  g_source_set_callback (client->source, run_home, client, (GDestroyNotify)client_drop);
  client->fd_tag =
      g_source_add_unix_fd (client->source, qmp_transport_fd (client->transport), G_IO_IN);
  client->wanted = G_IO_IN;
  /* Lines may have come with the last answer of the handshake already. */
  g_source_set_ready_time (client->source, 0);
  g_source_attach (client->source, client->home);
}

QmpClient *
qmp_client_new_for_fd (int fd, int timeout_ms, GError **error)
{
  gint64 deadline_us = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
  g_autoptr (QmpClient) client = client_new (fd);

  if (!qmp_handshake (client->transport, &client->session, &client->greeting, deadline_us, error))
    return NULL;
  start_home (client);
  return g_steal_pointer (&client);
}

QmpClient *
qmp_client_connect (const char *path, int timeout_ms, GError **error)
{
  ERROR_PREFIX (error, "monitor %s", path);
  gint64 deadline_us = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
  g_autoptr (GError) cause = NULL;

  int fd = fd_connect_unix_within (path, timeout_ms, &cause);
  if (fd < 0) {
    if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
      g_set_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT, "too many others wait to be let in");
    else
      g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  gint64 left_ms = (deadline_us - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;
  return qmp_client_new_for_fd (fd, (int)MAX (left_ms, 1), error);
}

QmpClient *
qmp_client_ref (QmpClient *client)
{
  g_atomic_int_inc (&client->handles);
  return client;
}

void
qmp_client_unref (QmpClient *client)
{
  if (!g_atomic_int_dec_and_test (&client->handles))
    return;
  qmp_client_close (client);
  g_source_destroy (client->source);
  client_drop (client);
}

const QmpGreeting *
qmp_client_greeting (QmpClient *client)
{
  return &client->greeting;
}

gboolean
qmp_client_connected (QmpClient *client)
{
  LOCKED (client);
  return client->session.lost == NULL;
}

/* Drops the events that wait for delivery; calls stay, their callers want to know. Locking: held.
 */
static void
drop_events (QmpSession *session)
{
  for (guint left = session->deliveries.length; left > 0; left--) {
    QmpDelivery *delivery = g_queue_pop_head (&session->deliveries);
    if (delivery->call != NULL)
      g_queue_push_tail (&session->deliveries, delivery);
    else
      qmp_delivery_free (delivery);
  }
}

void
qmp_client_close (QmpClient *client)
{
  g_autoptr (GError) reason =
      g_error_new (QMP_ERROR, QMP_ERROR_LOST, "the monitor was closed on this side");

  LOCKED (client);
  /* The server is told now; home closes the descriptor when it runs next. */
  if (client->transport != NULL)
    shutdown (qmp_transport_fd (client->transport), SHUT_RDWR);
  qmp_session_lose (&client->session, reason, FALSE);
  drop_events (&client->session);
  release_waiters (client);
  wake_home (client);
}

void
qmp_client_set_event_func (QmpClient *client, QmpEventFunc func, gpointer user_data)
{
  LOCKED (client);
  client->event_func = func;
  client->event_data = user_data;
}

/* --- commands ------------------------------------------------------------------------------------
 */

/* Who waits for a call: what the cancellation handler needs. */
typedef struct {
  QmpClient *client; /* kept alive by the call's submitter */
  QmpCall *call;
} Waiter;

static void
waiter_free (gpointer data)
{
  Waiter *waiter = data;

  qmp_call_unref (waiter->call);
  g_free (waiter);
}

/* Runs in the thread that cancels. */
static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  Waiter *waiter = data;
  GError *error =
      g_error_new (G_IO_ERROR, G_IO_ERROR_CANCELLED, "waiting for the answer to '%s' was cancelled",
                   waiter->call->command);

  LOCKED (waiter->client);
  finish_early (waiter->client, waiter->call, error);
}

static QmpCall *
call_new (const char *command, int pass_fd, gboolean oob, int timeout_ms, GCancellable *cancellable)
{
  QmpCall *call = g_new0 (QmpCall, 1);

  call->refs = 1;
  call->command = g_strdup (command);
  call->pass_fd = pass_fd < 0 ? -1 : fcntl (pass_fd, F_DUPFD_CLOEXEC, 3);
  call->oob = oob;
  call->timeout_ms = timeout_ms > 0 ? timeout_ms : DEFAULT_TIMEOUT_MS;
  call->deadline_us = g_get_monotonic_time() + call->timeout_ms * G_TIME_SPAN_MILLISECOND;
  call->cancellable = cancellable != NULL ? g_object_ref (cancellable) : NULL;
  if (pass_fd >= 0 && call->pass_fd < 0)
    fd_set_errno_error (&call->error, "passing descriptor %d with '%s'", pass_fd, command);
  return call;
}

/* Queues @call and wakes home. Takes @arguments. */
static void
submit (QmpClient *client, QmpCall *call, JsonObject *arguments)
{
  g_autoptr (JsonObject) owned = arguments;

  /* Connected first: a cancellation that comes before the call is queued ends it all the same. */
  if (call->cancellable != NULL) {
    Waiter *waiter = g_new0 (Waiter, 1);
    waiter->client = client;
    waiter->call = qmp_call_ref (call);
    call->cancel_id =
        g_cancellable_connect (call->cancellable, G_CALLBACK (on_cancelled), waiter, waiter_free);
  }
  LOCKED (client);
  if (call->error != NULL && call->state == QMP_CALL_NEW)
    qmp_session_abandon (&client->session, call, g_steal_pointer (&call->error));
  qmp_session_submit (&client->session, call, owned);
  release_waiters (client);
  wake_home (client);
}

static gboolean
is_delivered (QmpClient *client, QmpCall *call)
{
  LOCKED (client);
  return call->state == QMP_CALL_DELIVERED;
}

/* Waits at home, where nobody else does the work. FALSE if home is run by another thread. */
static gboolean
wait_at_home (QmpClient *client, QmpCall *call)
{
  gboolean owner = g_main_context_is_owner (client->home);

  if (!owner && g_thread_self() != client->maker)
    return FALSE;
  if (!g_main_context_acquire (client->home))
    return FALSE;
  while (!is_delivered (client, call))
    g_main_context_iteration (client->home, TRUE);
  g_main_context_release (client->home);
  return TRUE;
}

/* Waits for home, run by another thread; keeps the deadline by itself, in case home is stuck. */
static void
wait_elsewhere (QmpClient *client, QmpCall *call)
{
  struct timespec until = { call->deadline_us / G_USEC_PER_SEC,
                            call->deadline_us % G_USEC_PER_SEC * 1000 };

  LOCKED (client);
  while (call->state != QMP_CALL_DELIVERED) {
    if (pthread_cond_timedwait (&client->delivered, &client->lock, &until) == 0)
      continue;
    finish_early (client, call, qmp_call_timeout_error (call));
    break;
  }
}

static JsonNode *
execute (QmpClient *client, const char *command, JsonObject *arguments, int pass_fd, gboolean oob,
         int timeout_ms, GCancellable *cancellable, GError **error)
{
  g_autoptr (QmpCall) call = call_new (command, pass_fd, oob, timeout_ms, cancellable);

  submit (client, call, arguments);
  if (!wait_at_home (client, call))
    wait_elsewhere (client, call);
  g_cancellable_disconnect (cancellable, call->cancel_id);
  LOCKED (client);
  if (call->error != NULL)
    g_propagate_error (error, g_steal_pointer (&call->error));
  return g_steal_pointer (&call->result);
}

JsonNode *
qmp_client_execute (QmpClient *client, const char *command, JsonObject *arguments, int pass_fd,
                    int timeout_ms, GCancellable *cancellable, GError **error)
{
  return execute (client, command, arguments, pass_fd, FALSE, timeout_ms, cancellable, error);
}

JsonNode *
qmp_client_execute_oob (QmpClient *client, const char *command, JsonObject *arguments,
                        int timeout_ms, GCancellable *cancellable, GError **error)
{
  return execute (client, command, arguments, -1, client->greeting.oob, timeout_ms, cancellable,
                  error);
}

void
qmp_client_execute_async (QmpClient *client, const char *command, JsonObject *arguments,
                          int pass_fd, int timeout_ms, GCancellable *cancellable,
                          GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (QmpCall) call = call_new (command, pass_fd, FALSE, timeout_ms, cancellable);

  call->callback = callback != NULL ? callback : qmp_result_ignore;
  call->user_data = user_data;
  /* The client lives until the callback has run: deliver_call() gives this up. */
  submit (qmp_client_ref (client), call, arguments);
}

JsonNode *
qmp_client_execute_finish (QmpClient *client, GAsyncResult *result, GError **error)
{
  return qmp_result_take (result, error);
}
