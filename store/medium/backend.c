/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend-private.h"

#include <string.h>

void
backend_free (Backend *backend)
{
  if (backend != NULL)
    backend->ops->free (backend);
}

void
backend_stream_free (BackendStream *stream)
{
  if (stream != NULL)
    stream->backend->ops->stream_free (stream);
}

gboolean
backend_name_valid (const char *name, GError **error)
{
  gboolean good = *name != 0 && strlen (name) < 512;
  gboolean start = TRUE; /* of a component */

  for (const char *c = name; good && *c != 0; c++) {
    good = start ? g_ascii_isalnum (*c) : g_ascii_isalnum (*c) || strchr ("._-/", *c) != NULL;
    start = *c == '/';
  }
  if (!good || start) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME,
                 "'%.80s' cannot be the name of an object", name);
    return FALSE;
  }
  return TRUE;
}

gboolean
backend_prefix_valid (const char *prefix, GError **error)
{
  gsize len = strlen (prefix);

  if (len == 0)
    return TRUE;
  g_autofree char *name = g_strndup (prefix, len - 1);
  if (prefix[len - 1] == '/' && backend_name_valid (name, NULL))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME,
               "'%.80s' is not a prefix that can be listed", prefix);
  return FALSE;
}

gboolean
backend_check_range (const char *name, guint64 size, guint64 offset, gsize *len, GError **error)
{
  if (*len == G_MAXSIZE && offset <= size)
    *len = size - offset;
  if (offset <= size && *len <= size - offset)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT,
               "%s has %" G_GUINT64_FORMAT " bytes, too few to read %zu at %" G_GUINT64_FORMAT,
               name, size, *len, offset);
  return FALSE;
}
