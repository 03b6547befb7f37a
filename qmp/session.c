/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *              submit            next_to_send              receive
 *   caller ───────────▶ queued ───────────────▶ sent ─────────────────▶ deliveries ───▶ caller,
 *                         │                       │                         ▲           event
 * handler └──── abandon, expire, lose: complete early ──────┘
 *
 * A call that ends early stays in `sent` until its late answer comes: it still takes a place in the
 * server's queue. The late answer finds it completed and is dropped.
 */
#include "session.h"

QmpCall *
qmp_call_ref (QmpCall *call)
{
  g_atomic_int_inc (&call->refs);
  return call;
}

void
qmp_call_unref (QmpCall *call)
{
  if (!g_atomic_int_dec_and_test (&call->refs))
    return;
  g_free (call->command);
  g_free (call->line);
  fd_close (&call->pass_fd);
  g_clear_pointer (&call->result, json_node_unref);
  g_clear_error (&call->error);
  g_clear_object (&call->cancellable);
  g_free (call);
}

void
qmp_delivery_free (QmpDelivery *delivery)
{
  g_clear_pointer (&delivery->call, qmp_call_unref);
  qmp_message_clear (&delivery->message);
  g_free (delivery);
}

void
qmp_session_init (QmpSession *session)
{
  *session = (QmpSession){ 0 };
  g_queue_init (&session->queued);
  g_queue_init (&session->deliveries);
  session->sent =
      g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, (GDestroyNotify)qmp_call_unref);
}

void
qmp_session_clear (QmpSession *session)
{
  g_queue_clear_full (&session->queued, (GDestroyNotify)qmp_call_unref);
  g_queue_clear_full (&session->deliveries, (GDestroyNotify)qmp_delivery_free);
  g_clear_pointer (&session->sent, g_hash_table_unref);
  g_clear_error (&session->lost);
}

/* The call's fate is known (`result` or `error` is set): queue it for its caller. */
static void
complete (QmpSession *session, QmpCall *call)
{
  QmpDelivery *delivery = g_new0 (QmpDelivery, 1);

  call->state = QMP_CALL_COMPLETED;
  delivery->call = qmp_call_ref (call);
  g_queue_push_tail (&session->deliveries, delivery);
}

static GError *
lost_error (QmpCall *call, const GError *reason)
{
  return g_error_new (QMP_ERROR, reason->code, "'%s' has no answer: %s", call->command,
                      reason->message);
}

GError *
qmp_call_timeout_error (QmpCall *call)
{
  return g_error_new (QMP_ERROR, QMP_ERROR_TIMEOUT, "'%s' has no answer after %d ms", call->command,
                      call->timeout_ms);
}

void
qmp_session_submit (QmpSession *session, QmpCall *call, JsonObject *arguments)
{
  if (call->state != QMP_CALL_NEW)
    return;
  if (session->lost != NULL) {
    call->error = lost_error (call, session->lost);
    call->ended_here = TRUE;
    complete (session, call);
    return;
  }
  call->id = ++session->last_id;
  call->state = QMP_CALL_QUEUED;
  call->line = qmp_message_command (call->id, call->command, arguments, call->oob);
  g_queue_push_tail (&session->queued, qmp_call_ref (call));
}

/* The place in `queued` of the next call that may be sent, or NULL. */
static GList *
find_sendable (QmpSession *session)
{
  for (GList *link = session->queued.head; link != NULL; link = link->next)
    if (((QmpCall *)link->data)->oob || session->in_flight < QMP_MAX_IN_FLIGHT)
      return link;
  return NULL;
}

gboolean
qmp_session_may_send (QmpSession *session)
{
  return session->lost == NULL && find_sendable (session) != NULL;
}

QmpCall *
qmp_session_next_to_send (QmpSession *session)
{
  GList *link = session->lost == NULL ? find_sendable (session) : NULL;

  if (link == NULL)
    return NULL;
  QmpCall *call = link->data;
  g_queue_delete_link (&session->queued, link);
  call->state = QMP_CALL_SENT;
  session->in_flight += call->oob ? 0 : 1;
  g_hash_table_insert (session->sent, &call->id, call);
  return qmp_call_ref (call);
}

/* An answer came: the server's queue has a place again, whoever still waits or not. */
static void
receive_answer (QmpSession *session, QmpMessage *message)
{
  QmpCall *call = g_hash_table_lookup (session->sent, &message->id);

  if (call == NULL) {
    g_debug ("an answer without a command was dropped");
    return;
  }
  g_autoptr (QmpCall) held G_GNUC_UNUSED = qmp_call_ref (call);
  g_hash_table_remove (session->sent, &message->id);
  session->in_flight -= call->oob ? 0 : 1;
  if (call->state != QMP_CALL_SENT) {
    g_debug ("the late answer to '%s' was dropped", call->command);
    return;
  }
  call->result = g_steal_pointer (&message->result);
  call->error = g_steal_pointer (&message->failure);
  complete (session, call);
}

void
qmp_session_receive (QmpSession *session, QmpMessage *message)
{
  if (message->type == QMP_MESSAGE_ANSWER) {
    receive_answer (session, message);
  } else if (message->type == QMP_MESSAGE_EVENT) {
    QmpDelivery *delivery = g_new0 (QmpDelivery, 1);
    delivery->message = *message;
    *message = (QmpMessage){ 0 };
    g_queue_push_tail (&session->deliveries, delivery);
  }
}

gboolean
qmp_session_abandon (QmpSession *session, QmpCall *call, GError *error)
{
  if (call->state == QMP_CALL_COMPLETED || call->state == QMP_CALL_DELIVERED) {
    g_error_free (error);
    return FALSE;
  }
  gboolean queued = call->state == QMP_CALL_QUEUED;
  call->error = error;
  call->ended_here = TRUE;
  complete (session, call);
  if (queued && g_queue_remove (&session->queued, call))
    qmp_call_unref (call);
  return TRUE;
}

/* Calls @visit for every call that has neither been answered nor given up. */
static void
foreach_open_call (QmpSession *session, void (*visit) (QmpCall *call, gpointer data), gpointer data)
{
  GHashTableIter iter;
  gpointer call;

  for (GList *link = session->queued.head; link != NULL; link = link->next)
    visit (link->data, data);
  g_hash_table_iter_init (&iter, session->sent);
  while (g_hash_table_iter_next (&iter, NULL, &call))
    if (((QmpCall *)call)->state == QMP_CALL_SENT)
      visit (call, data);
}

static void
take_earlier_deadline (QmpCall *call, gpointer data)
{
  gint64 *deadline_us = data;

  if (*deadline_us < 0 || call->deadline_us < *deadline_us)
    *deadline_us = call->deadline_us;
}

gint64
qmp_session_next_deadline (QmpSession *session)
{
  gint64 deadline_us = -1;

  foreach_open_call (session, take_earlier_deadline, &deadline_us);
  return deadline_us;
}

static void
collect_call (QmpCall *call, gpointer data)
{
  g_ptr_array_add (data, qmp_call_ref (call));
}

/* The open calls, kept alive while they are being ended. */
static GPtrArray *
open_calls (QmpSession *session)
{
  GPtrArray *calls = g_ptr_array_new_with_free_func ((GDestroyNotify)qmp_call_unref);

  foreach_open_call (session, collect_call, calls);
  return calls;
}

void
qmp_session_expire (QmpSession *session, gint64 now_us)
{
  g_autoptr (GPtrArray) calls = open_calls (session);

  for (guint i = 0; i < calls->len; i++) {
    QmpCall *call = g_ptr_array_index (calls, i);
    if (call->deadline_us <= now_us)
      qmp_session_abandon (session, call, qmp_call_timeout_error (call));
  }
}

void
qmp_session_lose (QmpSession *session, const GError *reason, gboolean announce)
{
  if (session->lost != NULL)
    return;
  session->lost = g_error_copy (reason);
  g_autoptr (GPtrArray) calls = open_calls (session);
  for (guint i = 0; i < calls->len; i++) {
    QmpCall *call = g_ptr_array_index (calls, i);
    qmp_session_abandon (session, call, lost_error (call, reason));
  }
  g_hash_table_remove_all (session->sent);
  session->in_flight = 0;
  if (announce)
    g_queue_push_tail (&session->deliveries, g_new0 (QmpDelivery, 1));
}
