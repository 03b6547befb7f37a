/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/stream-import.h>

#include "ram-blocks.h"

#include <vmckpt/ram/capture.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#define MAX_DEVICE_STATE (256u << 20)
#define PROGRESS_EVERY_PAGES 1024

typedef struct {
  StreamReader *reader;
  StoreWriter *writer;
  const Manifest *parent;
  Manifest *manifest;
  StreamImportReport *report;
  const Progress *progress;
  RamBlocks *ram; /* NULL until the stream has declared its blocks */
  GByteArray *config, *devices;
  guint64 pages;
} StreamImport;

static void
stream_import_clear (StreamImport *import)
{
  g_clear_pointer (&import->reader, stream_reader_free);
  g_clear_pointer (&import->ram, ram_blocks_free);
  g_byte_array_unref (import->config);
  g_byte_array_unref (import->devices);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StreamImport, stream_import_clear)

void
stream_import_report_clear (StreamImportReport *report)
{
  g_clear_pointer (&report->machine, g_free);
  g_clear_pointer (&report->device_state, g_bytes_unref);
}

/* The configuration tells of streams that leave pages out. */
static gboolean
take_configuration (StreamImport *import, const StreamItem *item, GError **error)
{
  if (item->ignore_shared) {
    g_set_error (error, STREAM_ERROR, STREAM_ERROR_UNSUPPORTED,
                 "the migration stream was made with x-ignore-shared: the guest's memory is not "
                 "in it");
    return FALSE;
  }
  g_byte_array_append (import->config, item->data, item->len);
  import->report->machine = g_strdup (item->machine);
  return TRUE;
}

static gboolean
take_blocks (StreamImport *import, GError **error)
{
  guint count;
  const StreamBlock *blocks = stream_reader_blocks (import->reader, &count);

  import->ram = ram_blocks_open (import->writer, blocks, count, import->parent, error);
  if (import->ram == NULL)
    return FALSE;
  import->report->ram_bytes = ram_blocks_bytes (import->ram);
  return TRUE;
}

static gboolean
take_page (StreamImport *import, const StreamItem *item, GError **error)
{
  if (import->pages++ % PROGRESS_EVERY_PAGES == 0)
    progress_report (import->progress, PHASE_STORE, import->pages * STREAM_PAGE_SIZE,
                     import->report->ram_bytes);
  if (import->pages == PROGRESS_EVERY_PAGES && !fault_visit (FAULT_IMPORT_MIDDLE, error))
    return FALSE;
  return ram_blocks_put (import->ram, item, error);
}

/* Only later QEMUs mark the main connection of a multifd migration. */
static gboolean
check_complete (const StreamImport *import, GError **error)
{
  if (ram_blocks_check_complete (import->ram, error))
    return TRUE;
  g_prefix_error (error, "pages are missing; multifd before QEMU 8.1 sends them over other "
                         "connections: ");
  return FALSE;
}

static gboolean
take_item (StreamImport *import, const StreamItem *item, GError **error)
{
  switch (item->type) {
  case STREAM_ITEM_CONFIGURATION:
    return take_configuration (import, item, error);
  case STREAM_ITEM_BLOCKS:
    return take_blocks (import, error);
  case STREAM_ITEM_PAGE:
    return take_page (import, item, error);
  case STREAM_ITEM_DEVICE_STATE:
    g_byte_array_append (import->devices, item->data, item->len);
    if (import->devices->len <= MAX_DEVICE_STATE)
      return TRUE;
    g_set_error (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE, "the device state is larger than %u MiB",
                 MAX_DEVICE_STATE >> 20);
    return FALSE;
  default:
    return check_complete (import, error);
  }
}

static gboolean
add_part (StreamImport *import, const char *role, const GByteArray *data, GError **error)
{
  PageMap map;

  if (!store_writer_put_data (import->writer, data->data, data->len, &map, error))
    return FALSE;
  manifest_add_part (import->manifest, role, "", &map);
  return TRUE;
}

gboolean
stream_import (int fd, StoreWriter *writer, const Manifest *parent, Manifest *manifest,
               StreamImportReport *report, const Progress *progress, GCancellable *cancellable,
               GError **error)
{
  ERROR_PREFIX (error, "reading RAM and devices");
  g_auto (StreamImport) import = { .reader = stream_reader_new (fd),
                                   .writer = writer,
                                   .parent = parent,
                                   .manifest = manifest,
                                   .report = report,
                                   .progress = progress,
                                   .config = g_byte_array_new(),
                                   .devices = g_byte_array_new() };
  StreamItem item = { 0 };
  PageMapStats stats = { 0 };

  stream_reader_set_patience (import.reader, -1, cancellable);
  do {
    if (!stream_reader_next (import.reader, &item, error) || !take_item (&import, &item, error))
      return FALSE;
  } while (item.type != STREAM_ITEM_END);
  if (!ram_blocks_finish (import.ram, manifest, &stats, error) ||
      !add_part (&import, "configuration", import.config, error) ||
      !add_part (&import, "device-state", import.devices, error))
    return FALSE;
  report->device_state = g_bytes_new (import.devices->data, import.devices->len);
  return TRUE;
}
