/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The archive: one checkpoint as one file that is written and read from front to back
 * (docs/export-format.md). It does not depend on a store: neither on its key nor on its layout.
 */
#pragma once

#include <json-glib/json-glib.h>
#include <vmckpt/exchange/sink.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

#define ARCHIVE_MAGIC "VMCKPTAR"
#define ARCHIVE_MAGIC_BYTES 8

/* Writes @manifest and all that it names. */
gboolean archive_write (Store *store, const Manifest *manifest, const ExportSink *sink,
                        GError **error);

/* What a reader is told, in the order of the file. Each returns FALSE with an error to stop. */
typedef struct {
  /* Once, first: the checkpoint's description; its parts are checked and counted. */
  gboolean (*document) (JsonObject *document, gpointer user_data, GError **error);
  /* Pages of @part from @page on, in ascending order without a gap; @data NULL: zeros. */
  gboolean (*pages) (guint part, guint64 page, guint64 count, const guint8 *data,
                     gpointer user_data, GError **error);
  /* The same pages as @count pages of @from_part from @from_page on, all of them before these; the
   * two ranges may overlap, then the first pages repeat. */
  gboolean (*copy) (guint part, guint64 page, guint64 count, guint from_part, guint64 from_page,
                    gpointer user_data, GError **error);
} ArchiveEvents;

/**
 * archive_parse:
 * @fd: read to the end of the archive, and to see that nothing follows
 *
 * Everything is bounded before it is parsed, and nothing is handed on that was not verified. Only
 * after TRUE is the archive known to be whole.
 *
 * Returns: FALSE with EXCHANGE_ERROR (DAMAGED, UNSUPPORTED), G_IO_ERROR or an event's error.
 */
gboolean archive_parse (int fd, const ArchiveEvents *events, gpointer user_data,
                        GCancellable *cancellable, GError **error);
