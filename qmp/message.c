/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "message.h"

#include "transport.h"

#include <string.h>
#include <vmckpt/util/json.h>

GQuark
qmp_error_quark (void)
{
  return g_quark_from_static_string ("qmp-error-quark");
}

gboolean
qmp_error_is_class (const GError *error, const char *class_name)
{
  if (!g_error_matches (error, QMP_ERROR, QMP_ERROR_COMMAND))
    return FALSE;
  /* Callers up the stack put what they attempted in front, each with ": " behind it. */
  g_autofree char *wanted = g_strdup_printf ("%s: ", class_name);
  for (const char *at = error->message; at != NULL; at = strstr (at, ": ")) {
    if (at != error->message)
      at += 2;
    if (g_str_has_prefix (at, wanted))
      return TRUE;
  }
  return FALSE;
}

void
qmp_message_clear (QmpMessage *message)
{
  g_free (message->greeting.package);
  g_clear_pointer (&message->result, json_node_unref);
  g_clear_error (&message->failure);
  g_free (message->event);
  g_clear_pointer (&message->data, json_object_unref);
  *message = (QmpMessage){ 0 };
}

/* The member if it is an object, else NULL. */
static JsonObject *
object_member (JsonObject *object, const char *member)
{
  return object != NULL ? json_get_object (object, member, NULL) : NULL;
}

static guint
small_number (JsonObject *object, const char *member)
{
  return object != NULL ? (guint)MIN (json_get_uint64_or (object, member, 0), G_MAXINT) : 0;
}

/* Every part of a greeting may be missing: QEMU is not the only server. */
static void
parse_greeting (JsonObject *qmp, QmpGreeting *greeting)
{
  JsonObject *version = object_member (qmp, "version");
  JsonObject *number = object_member (version, "qemu");
  JsonArray *capabilities = json_get_array (qmp, "capabilities", NULL);

  greeting->major = small_number (number, "major");
  greeting->minor = small_number (number, "minor");
  greeting->micro = small_number (number, "micro");
  greeting->package = g_strdup (version != NULL ? json_get_string_or (version, "package", "") : "");
  for (guint i = 0; capabilities != NULL && i < json_array_get_length (capabilities); i++) {
    JsonNode *node = json_array_get_element (capabilities, i);
    if (JSON_NODE_HOLDS_VALUE (node) && g_strcmp0 (json_node_get_string (node), "oob") == 0)
      greeting->oob = TRUE;
  }
}

static gboolean
parse_answer (JsonObject *root, QmpMessage *message, GError **error)
{
  JsonObject *failure = object_member (root, "error");

  message->id = json_get_uint64_or (root, "id", 0);
  if (failure != NULL)
    message->failure = g_error_new (QMP_ERROR, QMP_ERROR_COMMAND, "%s: %s",
                                    json_get_string_or (failure, "class", "GenericError"),
                                    json_get_string_or (failure, "desc", "no description"));
  else
    message->result = json_node_copy (json_object_get_member (root, "return"));
  if (failure != NULL && !json_object_has_member (root, "id")) {
    g_set_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL, "the server could not read a command: %s",
                 message->failure->message);
    return FALSE;
  }
  return TRUE;
}

static void
parse_event (JsonObject *root, const char *event, QmpMessage *message)
{
  JsonObject *data = object_member (root, "data");
  JsonObject *timestamp = object_member (root, "timestamp");

  message->event = g_strdup (event);
  message->data = data != NULL ? json_object_ref (data) : NULL;
  if (timestamp != NULL) {
    /* QEMU sends -1 where the host has no clock, which reads as missing. */
    guint64 seconds = json_get_uint64_or (timestamp, "seconds", 0);
    guint64 micro = json_get_uint64_or (timestamp, "microseconds", 0);
    if (seconds < G_MAXINT64 / G_USEC_PER_SEC && micro < G_USEC_PER_SEC)
      message->time_us = (gint64)(seconds * G_USEC_PER_SEC + micro);
  }
}

gboolean
qmp_message_parse (const char *line, gsize len, QmpMessage *message, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) root =
      json_parse_bounded (line, len, QMP_MAX_LINE, QMP_MAX_NESTING, &cause);

  *message = (QmpMessage){ .type = QMP_MESSAGE_OTHER };
  if (root == NULL) {
    g_set_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL, "the monitor does not speak QMP: %s",
                 cause->message);
    return FALSE;
  }
  const char *event = json_get_string_or (root, "event", NULL);
  JsonObject *qmp = object_member (root, "QMP");
  if (json_object_has_member (root, "return") || object_member (root, "error") != NULL) {
    message->type = QMP_MESSAGE_ANSWER;
    return parse_answer (root, message, error);
  }
  if (event != NULL) {
    message->type = QMP_MESSAGE_EVENT;
    parse_event (root, event, message);
  } else if (qmp != NULL) {
    message->type = QMP_MESSAGE_GREETING;
    parse_greeting (qmp, &message->greeting);
  }
  return TRUE;
}

char *
qmp_message_command (guint64 id, const char *command, JsonObject *arguments, gboolean oob)
{
  g_autoptr (JsonObject) root = json_object_new();

  json_object_set_string_member (root, oob ? "exec-oob" : "execute", command);
  if (arguments != NULL)
    json_object_set_object_member (root, "arguments", json_object_ref (arguments));
  json_object_set_int_member (root, "id", (gint64)id);
  g_autofree char *text = json_to_line (root);
  return g_strconcat (text, "\r\n", NULL);
}
