/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/line-splitter.h>

#include <string.h>

LineSplitter *
line_splitter_new (gsize max_line)
{
  LineSplitter *splitter = g_new0 (LineSplitter, 1);

  splitter->pending = g_byte_array_new();
  splitter->max_line = max_line;
  return splitter;
}

void
line_splitter_free (LineSplitter *splitter)
{
  g_byte_array_unref (splitter->pending);
  g_free (splitter);
}

void
line_splitter_add (LineSplitter *splitter, const void *data, gsize len)
{
  g_byte_array_append (splitter->pending, data, len);
}

gboolean
line_splitter_next (LineSplitter *splitter, char **line, GError **error)
{
  GByteArray *pending = splitter->pending;
  const guint8 *begin = pending->data + splitter->searched;
  const guint8 *end = NULL;

  *line = NULL;
  if (pending->len > splitter->searched)
    end = memchr (begin, '\n', pending->len - splitter->searched);
  gsize len = end != NULL ? (gsize)(end - pending->data) : pending->len;
  if (len > splitter->max_line) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                 "a line is longer than %" G_GSIZE_FORMAT " bytes", splitter->max_line);
    return FALSE;
  }
  if (end == NULL) {
    splitter->searched = pending->len;
    return TRUE;
  }
  *line = g_strndup ((const char *)pending->data, len);
  g_byte_array_remove_range (pending, 0, len + 1);
  splitter->searched = 0;
  return TRUE;
}
