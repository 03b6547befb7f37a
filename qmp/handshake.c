/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handshake.h"

/* Waits for the next message. */
static gboolean
receive (QmpTransport *transport, gint64 deadline_us, QmpMessage *message, GError **error)
{
  g_autoptr (GError) lost = NULL;

  for (;;) {
    g_autoptr (GError) failure = NULL;
    gsize len;
    g_autofree char *line = qmp_transport_take_line (transport, &len, &failure);
    if (line != NULL)
      return qmp_message_parse (line, len, message, error);
    if (failure == NULL && lost != NULL)
      failure = g_steal_pointer (&lost);
    if (failure == NULL && qmp_transport_flush (transport, &failure) &&
        qmp_transport_wait (transport, deadline_us, &failure))
      qmp_transport_fill (transport, &lost);
    if (failure != NULL) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return FALSE;
    }
  }
}

/* Sends qmp_capabilities, with what was offered and is wanted; its id. */
static guint64
send_capabilities (QmpTransport *transport, QmpSession *session, gboolean oob)
{
  guint64 id = ++session->last_id;
  g_autoptr (JsonObject) arguments = json_object_new();

  if (oob) {
    JsonArray *enable = json_array_new();
    json_array_add_string_element (enable, "oob");
    json_object_set_array_member (arguments, "enable", enable);
  }
  qmp_transport_queue (
      transport, qmp_message_command (id, "qmp_capabilities", oob ? arguments : NULL, FALSE), -1);
  return id;
}

gboolean
qmp_handshake (QmpTransport *transport, QmpSession *session, QmpGreeting *greeting,
               gint64 deadline_us, GError **error)
{
  g_auto (QmpMessage) first = { 0 };

  if (!receive (transport, deadline_us, &first, error))
    return FALSE;
  if (first.type != QMP_MESSAGE_GREETING) {
    g_set_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL,
                 "the server does not greet as QMP servers do");
    return FALSE;
  }
  *greeting = first.greeting;
  first.greeting.package = NULL;

  guint64 id = send_capabilities (transport, session, greeting->oob);
  for (;;) {
    g_auto (QmpMessage) message = { 0 };
    if (!receive (transport, deadline_us, &message, error))
      return FALSE;
    if (message.type == QMP_MESSAGE_ANSWER && message.failure != NULL) {
      g_propagate_error (error, g_steal_pointer (&message.failure));
      return FALSE;
    }
    if (message.type == QMP_MESSAGE_ANSWER && message.id == id)
      return TRUE;
    qmp_session_receive (session, &message);
  }
}
