/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A migration stream that somebody else has saved, taken into a store like a capture's. */
#pragma once

#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/progress.h>

/* What the stream was found to be. */
typedef struct {
  char *machine;        /* machine type; owned */
  GBytes *device_state; /* as it was stored */
  guint64 ram_bytes;
} StreamImportReport;

/* Frees what it holds and resets it. */
void stream_import_report_clear (StreamImportReport *report);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StreamImportReport, stream_import_report_clear)

/**
 * stream_import:
 * @fd: read to its end
 * @parent: (nullable): pages equal to its are not stored again
 * @manifest: (inout): gets the parts "ram" (one per block), "configuration" and "device-state"
 *
 * Returns: FALSE with STREAM_ERROR (garbled, cut, or of a kind that holds not all pages), RAM_ERROR
 * if pages are missing, STORE_ERROR or G_IO_ERROR.
 */
gboolean stream_import (int fd, StoreWriter *writer, const Manifest *parent, Manifest *manifest,
                        StreamImportReport *report, const Progress *progress,
                        GCancellable *cancellable, GError **error);
