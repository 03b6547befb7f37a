/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame-splitter.h"

#include "cli-error.h"

#include <string.h>
#include <vmckpt/util/bytes.h>

#define HEAD 5 /* u8 type, le32 length */

struct FrameSplitter {
  GByteArray *bytes;
  gsize passed; /* of them, frames that were handed out */
};

FrameSplitter *
frame_splitter_new (void)
{
  FrameSplitter *splitter = g_new0 (FrameSplitter, 1);

  splitter->bytes = g_byte_array_new();
  return splitter;
}

void
frame_splitter_free (FrameSplitter *splitter)
{
  g_byte_array_unref (splitter->bytes);
  g_free (splitter);
}

void
frame_splitter_add (FrameSplitter *splitter, gconstpointer data, gsize len)
{
  if (splitter->passed > 0)
    g_byte_array_remove_range (splitter->bytes, 0, splitter->passed);
  splitter->passed = 0;
  g_byte_array_append (splitter->bytes, data, len);
}

gboolean
frame_splitter_next (FrameSplitter *splitter, Frame *frame, GError **error)
{
  ByteReader reader = BYTE_READER (splitter->bytes->data + splitter->passed,
                                   splitter->bytes->len - splitter->passed);
  char type = byte_reader_u8 (&reader);
  guint32 len = byte_reader_le32 (&reader);

  if (reader.failed)
    return FALSE;
  if (type == '\0' || strchr ("DZJ", type) == NULL || len == 0 || len > FRAME_MAX ||
      (type == 'Z' && len != 8)) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_FAILED, "the daemon's answer is garbled");
    return FALSE;
  }
  const guint8 *data = byte_reader_take (&reader, len);
  if (data == NULL)
    return FALSE;
  splitter->passed += HEAD + len;
  *frame = (Frame){ type, data, len };
  return TRUE;
}
