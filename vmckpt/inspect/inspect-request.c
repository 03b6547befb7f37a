/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inspect-request.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/json.h>

#include <string.h>

static const char *const command_names[] = {
  [COMMAND_INSPECT] = "inspect", [COMMAND_LS] = "ls",     [COMMAND_FILES] = "files",
  [COMMAND_COPY] = "copy",       [COMMAND_FSCK] = "fsck",
};

void
inspect_request_free (InspectRequest *request)
{
  g_free (request->path);
  g_free (request->volume);
  g_free (request);
}

/* Bytes of @member: its base64 twin if there is one. NULL: none, or no bytes that a path can be. */
static char *
take_bytes (JsonObject *object, const char *member)
{
  g_autofree char *twin = g_strconcat (member, "_bytes", NULL);
  const char *coded = json_get_string_or (object, twin, NULL);
  gsize len = 0;

  if (coded == NULL)
    return g_strdup (json_get_string_or (object, member, NULL));
  g_autofree guchar *raw = g_base64_decode (coded, &len);
  return len > 0 && memchr (raw, '\0', len) == NULL ? g_strndup ((const char *)raw, len) : NULL;
}

static gboolean
parse_command (JsonObject *object, InspectCommand *command, GError **error)
{
  const char *name = json_get_string_or (object, "command", "");

  for (guint i = 0; i < G_N_ELEMENTS (command_names); i++)
    if (g_str_equal (name, command_names[i])) {
      *command = i;
      return TRUE;
    }
  g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_USAGE, "there is no command '%.32s'", name);
  return FALSE;
}

static gboolean
check_path (const char *path, GError **error)
{
  if (path != NULL && path[0] == '/' && strlen (path) < REQUEST_PATH_MAX)
    return TRUE;
  g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_USAGE,
               "a path in a guest begins with '/' and has less than %d bytes", REQUEST_PATH_MAX);
  return FALSE;
}

InspectRequest *
inspect_request_parse (const char *line, gsize len, GError **error)
{
  g_autoptr (InspectRequest) request = g_new0 (InspectRequest, 1);
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) object = json_parse_bounded (line, len, REQUEST_LINE_MAX, 4, &cause);

  if (object == NULL) {
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_USAGE, "the request: %s", cause->message);
    return NULL;
  }
  if (!parse_command (object, &request->command, error))
    return NULL;
  request->path =
      json_object_has_member (object, "path") ? take_bytes (object, "path") : g_strdup ("/");
  request->volume = g_strdup (json_get_string_or (object, "volume", NULL));
  request->checksums = json_get_bool_or (object, "checksums", FALSE);
  request->file_only = json_get_bool_or (object, "file_only", FALSE);
  return check_path (request->path, error) ? g_steal_pointer (&request) : NULL;
}
