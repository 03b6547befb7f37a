/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   Store ──▶ PageMapReader per RAM block ──▶ StreamWriter
 *
 * Pages of zeros are sent too: a fresh QEMU's ROM blocks are not zero, and nothing is gained by
 * relying on which of its blocks are.
 */
#include <vmckpt/ram/stream-compose.h>

#include <vmckpt/store/writer.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <string.h>

#define MAX_CONFIGURATION (1u << 20)
#define MAX_DEVICE_STATE (256u << 20)
#define PROGRESS_EVERY_PAGES 1024

typedef struct {
  StreamWriter *stream;
  const char *left_out; /* (nullable): the block of which no page is sent */
  guint block;
  const Progress *progress;
  guint64 done, total; /* pages */
} Feed;

static gboolean
feed_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Feed *feed = user_data;

  if (feed->done++ % PROGRESS_EVERY_PAGES == 0)
    progress_report (feed->progress, PHASE_REBUILD, feed->done * STREAM_PAGE_SIZE,
                     feed->total * STREAM_PAGE_SIZE);
  if (feed->done == PROGRESS_EVERY_PAGES && !fault_visit (FAULT_RESTORE_MIDDLE, error))
    return FALSE;
  return stream_writer_page (feed->stream, feed->block, page * STREAM_PAGE_SIZE, data, error);
}

/* The parts with role "ram", in the order of the stream that they came from. */
static GPtrArray *
ram_parts (const Manifest *manifest)
{
  g_autoptr (GPtrArray) parts = g_ptr_array_new();

  for (guint i = 0; i < manifest->parts->len; i++) {
    ManifestPart *part = g_ptr_array_index (manifest->parts, i);
    if (g_str_equal (part->role, "ram"))
      g_ptr_array_add (parts, part);
  }
  return g_steal_pointer (&parts);
}

static gboolean
declare_blocks (Feed *feed, GPtrArray *parts, GError **error)
{
  g_autofree StreamBlock *blocks = g_new0 (StreamBlock, parts->len);

  for (guint i = 0; i < parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (parts, i);
    g_strlcpy (blocks[i].name, part->name, sizeof blocks[i].name);
    blocks[i].length = part->map.length;
  }
  return stream_writer_blocks (feed->stream, blocks, parts->len, error);
}

/* What has been sent so far is read before QEMU's memory is decided on. */
static gboolean
decide (Feed *feed, const StreamOmission *omission, GError **error)
{
  gboolean leave_out = TRUE;

  if (omission == NULL)
    return TRUE;
  if (omission->decide != NULL && (!stream_writer_flush (feed->stream, error) ||
                                   !omission->decide (&leave_out, omission->user_data, error)))
    return FALSE;
  feed->left_out = leave_out ? omission->block : NULL;
  return TRUE;
}

static gboolean
feed_ram (Feed *feed, Store *store, GPtrArray *parts, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (parts, i);
    if (g_strcmp0 (part->name, feed->left_out) != 0)
      feed->total += part->map.length / STREAM_PAGE_SIZE;
  }
  for (guint i = 0; i < parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (parts, i);
    if (g_strcmp0 (part->name, feed->left_out) == 0)
      continue;
    ERROR_PREFIX (error, "RAM block %s", part->name);
    g_autoptr (PageMapReader) map = page_map_reader_new (store, &part->map, error);
    feed->block = i;
    if (map == NULL ||
        !page_map_reader_foreach (map, TRUE, feed_page, feed, NULL, cancellable, error))
      return FALSE;
  }
  return TRUE;
}

/* Reads a part that is one piece of bytes. */
static GBytes *
read_part (Store *store, const Manifest *manifest, const char *role, gsize max, GError **error)
{
  const ManifestPart *part = manifest_find_part (manifest, role, NULL);

  if (part == NULL) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "the checkpoint has no part '%s'", role);
    return NULL;
  }
  return store_read_data (store, &part->map, max, error);
}

gboolean
stream_compose (StreamWriter *stream, Store *store, const Manifest *manifest,
                const StreamOmission *omission, const Progress *progress, GCancellable *cancellable,
                GError **error)
{
  g_autoptr (GPtrArray) parts = ram_parts (manifest);
  g_autoptr (GBytes) config = NULL, devices = NULL;
  Feed feed = { .stream = stream, .progress = progress };
  gsize config_len, devices_len;

  config = read_part (store, manifest, "configuration", MAX_CONFIGURATION, error);
  devices =
      config != NULL ? read_part (store, manifest, "device-state", MAX_DEVICE_STATE, error) : NULL;
  if (devices == NULL)
    return FALSE;
  if (omission != NULL && omission->decide == NULL)
    stream_writer_set_ignore_shared (stream);
  const guint8 *config_data = g_bytes_get_data (config, &config_len);
  const guint8 *devices_data = g_bytes_get_data (devices, &devices_len);
  return stream_writer_configuration (stream, config_data, config_len, error) &&
         declare_blocks (&feed, parts, error) && decide (&feed, omission, error) &&
         feed_ram (&feed, store, parts, cancellable, error) &&
         stream_writer_device_state (stream, devices_data, devices_len, error) &&
         stream_writer_finish (stream, error);
}
