/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* serial.log: what a guest printed. Two files, so that it cannot fill the disk. */
#pragma once

#include <gio/gio.h>

/* A file of this size becomes serial.log.1, in place of the one before. */
#define SERIAL_LOG_MAX_BYTES (8 * 1024 * 1024)

typedef struct _SerialLog SerialLog;

/* Opens the log in @directory for appending; @max_bytes for each of the two files. */
SerialLog *serial_log_open (const char *directory, guint64 max_bytes, GError **error);
void serial_log_free (SerialLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SerialLog, serial_log_free)

/* Appends. What cannot be written (a full disk) is lost from the log and counted: output of the
 * guest must go on. Each piece that is at most @max_bytes long is whole in one of the files. */
void serial_log_append (SerialLog *log, const guint8 *data, gsize len);

/* Bytes that could not be written so far. */
guint64 serial_log_lost (const SerialLog *log);
