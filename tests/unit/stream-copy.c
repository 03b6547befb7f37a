/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stream-copy.h"

#include <vmckpt/qmp/stream-writer.h>

gboolean
stream_copy (StreamReader *reader, int fd, GError **error)
{
  g_autoptr (StreamWriter) writer = stream_writer_new (fd);
  const StreamBlock *blocks;
  gboolean good = TRUE;
  StreamItem item;
  guint count;

  while (good && stream_reader_next (reader, &item, error)) {
    switch (item.type) {
    case STREAM_ITEM_CONFIGURATION:
      if (item.ignore_shared)
        stream_writer_set_ignore_shared (writer);
      good = stream_writer_configuration (writer, item.data, item.len, error);
      break;
    case STREAM_ITEM_BLOCKS:
      blocks = stream_reader_blocks (reader, &count);
      good = stream_writer_blocks (writer, blocks, count, error);
      break;
    case STREAM_ITEM_PAGE:
      good = stream_writer_page (writer, item.block, item.offset, item.data, error);
      break;
    case STREAM_ITEM_DEVICE_STATE:
      good = stream_writer_device_state (writer, item.data, item.len, error);
      break;
    case STREAM_ITEM_END:
      return stream_writer_finish (writer, error);
    }
  }
  return FALSE;
}
