/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stream-parts.h"

#include <vmckpt/ram/capture.h>

#define MAX_DEVICE_STATE (256u << 20)

void
stream_parts_init (StreamParts *parts, StoreWriter *writer, const Manifest *parent)
{
  *parts = (StreamParts){
    .writer = writer, .parent = parent, .config = g_byte_array_new(), .devices = g_byte_array_new()
  };
}

void
stream_parts_clear (StreamParts *parts)
{
  g_clear_pointer (&parts->ram, ram_blocks_free);
  g_clear_pointer (&parts->config, g_byte_array_unref);
  g_clear_pointer (&parts->devices, g_byte_array_unref);
  g_clear_pointer (&parts->machine, g_free);
}

static gboolean
take_device_state (StreamParts *parts, const StreamItem *item, GError **error)
{
  if (item->len > MAX_DEVICE_STATE - parts->devices->len) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                 "the guest has more than %u MiB of device state", MAX_DEVICE_STATE >> 20);
    return FALSE;
  }
  g_byte_array_append (parts->devices, item->data, item->len);
  return TRUE;
}

gboolean
stream_parts_take (StreamParts *parts, StreamReader *reader, const StreamItem *item, GError **error)
{
  const StreamBlock *blocks;
  guint count;

  switch (item->type) {
  case STREAM_ITEM_CONFIGURATION:
    g_byte_array_append (parts->config, item->data, item->len);
    g_free (parts->machine);
    parts->machine = g_strdup (item->machine);
    return TRUE;
  case STREAM_ITEM_BLOCKS:
    blocks = stream_reader_blocks (reader, &count);
    parts->ram = ram_blocks_open (parts->writer, blocks, count, parts->parent, error);
    return parts->ram != NULL;
  case STREAM_ITEM_PAGE:
    return ram_blocks_put (parts->ram, item, error);
  case STREAM_ITEM_DEVICE_STATE:
    return take_device_state (parts, item, error);
  case STREAM_ITEM_END:
    return TRUE;
  }
  g_assert_not_reached();
}

gboolean
stream_parts_check_complete (const StreamParts *parts, GError **error)
{
  if (parts->ram != NULL)
    return ram_blocks_check_complete (parts->ram, error);
  g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED, "QEMU sent no RAM at all");
  return FALSE;
}

static gboolean
add_data_part (StreamParts *parts, Manifest *manifest, const char *role, const GByteArray *data,
               GError **error)
{
  PageMap map;

  if (!store_writer_put_data (parts->writer, data->data, data->len, &map, error))
    return FALSE;
  manifest_add_part (manifest, role, "", &map);
  return TRUE;
}

gboolean
stream_parts_store (StreamParts *parts, Manifest *manifest, PageMapStats *stats, GError **error)
{
  return ram_blocks_finish (parts->ram, manifest, stats, error) &&
         add_data_part (parts, manifest, "configuration", parts->config, error) &&
         add_data_part (parts, manifest, "device-state", parts->devices, error);
}
