/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where an export goes: bytes in order, with runs of zeros said as such, so that a sparse file can
 * stay sparse on its way.
 */
#pragma once

#include <gio/gio.h>

#define EXCHANGE_ERROR (exchange_error_quark())
GQuark exchange_error_quark (void);

typedef enum {
  EXCHANGE_ERROR_DAMAGED,     /* the file to import is cut or does not hold what it should */
  EXCHANGE_ERROR_UNSUPPORTED, /* well-formed, but of a kind or version that cannot be taken */
  EXCHANGE_ERROR_USAGE,       /* an option is missing or does not fit what the file holds */
  EXCHANGE_ERROR_NOT_FOUND,   /* the checkpoint has no such part */
} ExchangeError;

/* Calls return FALSE with an error to stop the export. */
typedef struct {
  gboolean (*write) (gconstpointer data, gsize len, gpointer user_data, GError **error);
  gboolean (*zeros) (guint64 len, gpointer user_data, GError **error);
  /* (nullable): bytes of the checkpoint read so far, of how many; called often */
  gboolean (*progress) (guint64 done, guint64 total, gpointer user_data, GError **error);
  gpointer user_data;
  GCancellable *cancellable; /* (nullable) */
} ExportSink;
