/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bridge-agent.h"

#include "line-input.h"

#include <vmckpt/util/json.h>

#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (4u << 20) /* as the agent's clients have it */
#define JSON_DEPTH 64
#define SYNC_TIMEOUT_S 5
#define TIMEOUT_S 60
#define FREEZE_TIMEOUT_S 600 /* hooks of the guest run then; whoever asked gives up earlier */
#define DELIMITER "\xff"

gboolean
bridge_agent_present (virDomainPtr domain)
{
  char *xml = virDomainGetXMLDesc (domain, 0);
  gboolean present = xml != NULL && strstr (xml, "name='org.qemu.guest_agent.0'") != NULL;

  free (xml);
  return present;
}

static int
timeout_of (const char *execute)
{
  if (g_str_equal (execute, "guest-ping"))
    return SYNC_TIMEOUT_S;
  return g_str_has_prefix (execute, "guest-fsfreeze-") ? FREEZE_TIMEOUT_S : TIMEOUT_S;
}

static char *
ask (Monitor *monitor, const char *execute, const char *line, GError **error)
{
  g_autoptr (virDomain) domain = monitor_domain (monitor, error);
  char *answer =
      domain != NULL ? virDomainQemuAgentCommand (domain, line, timeout_of (execute), 0) : NULL;

  if (domain != NULL && answer == NULL)
    host_set_error (virDomainGetConnect (domain), error);
  return answer;
}

/* "guest-sync-delimited" is answered here, once the agent answers: libvirt is in step with it. */
static gboolean
answer_sync (Monitor *monitor, JsonObject *command, int socket)
{
  JsonObject *arguments = json_get_object (command, "arguments", NULL);
  char *pong = ask (monitor, "guest-ping", "{\"execute\":\"guest-ping\"}", NULL);
  gboolean there = pong != NULL;

  free (pong);
  /* Nobody answers: then the port says nothing either. */
  if (!there || arguments == NULL || !json_object_has_member (arguments, "id"))
    return TRUE;
  g_autoptr (JsonObject) answer = json_object_new();
  json_object_set_member (answer, "return", json_object_dup_member (arguments, "id"));
  g_autofree char *text = json_to_line (answer);
  g_autofree char *line = g_strconcat (DELIMITER, text, "\n", NULL);
  return fd_write_full (socket, line, strlen (line), NULL);
}

static gboolean
answer_failure (int socket, const GError *error)
{
  g_autoptr (JsonObject) answer = json_object_new();
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "class", "GenericError");
  json_object_set_string_member (object, "desc", error->message);
  json_object_set_object_member (answer, "error", object);
  g_autofree char *text = json_to_line (answer);
  g_autofree char *line = g_strconcat (text, "\n", NULL);
  return fd_write_full (socket, line, strlen (line), NULL);
}

static gboolean
answer_line (Monitor *monitor, const char *line, gsize len, int socket)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) command = NULL;

  while (len > 0 && *line == DELIMITER[0]) {
    line++;
    len--;
  }
  command = json_parse_bounded (line, len, LINE_MAX_BYTES, JSON_DEPTH, &error);
  if (command == NULL)
    return answer_failure (socket, error);
  const char *execute = json_get_string_or (command, "execute", "");
  if (g_str_equal (execute, "guest-sync-delimited"))
    return answer_sync (monitor, command, socket);
  g_autofree char *text = json_to_line (command);
  char *answer = ask (monitor, execute, text, &error);
  if (answer == NULL)
    return answer_failure (socket, error);
  g_strdelimit (answer, "\n\r", ' ');
  g_autofree char *whole = g_strconcat (answer, "\n", NULL);
  free (answer);
  return fd_write_full (socket, whole, strlen (whole), NULL);
}

void
bridge_agent_serve (Monitor *monitor, int socket)
{
  g_auto (AutoFd) own = socket;
  g_auto (LineInput) input = { 0 };
  gboolean goes_on = TRUE;
  gsize len;
  char *line;

  line_input_init (&input, socket, LINE_MAX_BYTES);
  while (goes_on && (line = line_input_next (&input, &len, NULL)) != NULL) {
    goes_on = answer_line (monitor, line, len, socket);
    g_free (line);
  }
}
