/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "link-request.h"

#include <vmckpt/util/json.h>

void
request_free (Request *request)
{
  g_free (request->name);
  g_clear_pointer (&request->members, json_object_unref);
  g_free (request);
}

/* Others' words on what is wrong with a line are words on its use. */
static gpointer
usage (GError **error, GError *cause)
{
  g_set_error_literal (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE, cause->message);
  g_error_free (cause);
  return NULL;
}

Request *
request_parse (const char *line, gsize len, GError **error)
{
  g_autoptr (Request) request = g_new0 (Request, 1);
  const char *name;
  GError *cause = NULL;

  request->members = json_parse_bounded (line, len, LIBVIRT_LINE_MAX, REQUEST_DEPTH, &cause);
  if (request->members == NULL || !json_get_uint64 (request->members, "id", &request->id, &cause) ||
      (name = json_get_string (request->members, "request", &cause)) == NULL)
    return usage (error, cause);
  request->name = g_strdup (name);
  request->fd = json_get_bool_or (request->members, "fd", FALSE);
  return g_steal_pointer (&request);
}

const char *
request_text (const Request *request, const char *member, GError **error)
{
  GError *cause = NULL;
  const char *text = json_get_string (request->members, member, &cause);

  return text != NULL ? text : usage (error, cause);
}
