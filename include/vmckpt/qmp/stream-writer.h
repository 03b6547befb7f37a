/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes a migration stream that a stock QEMU loads with -incoming, from the pieces that the reader
 * took apart: configuration, RAM blocks, pages, opaque device state. Calls come in that order;
 * anything else is a programming error. Output is buffered; errors are G_IO_ERROR (BROKEN_PIPE:
 * QEMU refused the stream and went away).
 */
#pragma once

#include <vmckpt/qmp/stream-reader.h>

typedef struct _StreamWriter StreamWriter;

/* Writes to @fd (borrowed), blocking. SIGPIPE must be ignored by the process. One thread at a time.
 */
StreamWriter *stream_writer_new (int fd);

/* Takes the next bytes of the stream; FALSE with an error ends it. */
typedef gboolean (*StreamWriterFunc) (gconstpointer data, gsize len, gpointer user_data,
                                      GError **error);

/* The same, but the stream goes to @write, in large pieces. */
StreamWriter *stream_writer_new_for_func (StreamWriterFunc write, gpointer user_data);
/* Frees @writer. */
void stream_writer_free (StreamWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StreamWriter, stream_writer_free)

/* Before all else: the stream shall say that it was made with x-ignore-shared. It declares all
 * blocks with their addresses, and no page need come of those that the loading QEMU has as a shared
 * file; it has to have the capability set too. */
void stream_writer_set_ignore_shared (StreamWriter *writer);

/* The file header and the configuration section as STREAM_ITEM_CONFIGURATION gave it. */
gboolean stream_writer_configuration (StreamWriter *writer, const guint8 *data, gsize len,
                                      GError **error);

/* Opens the RAM section and declares @count blocks. */
gboolean stream_writer_blocks (StreamWriter *writer, const StreamBlock *blocks, guint count,
                               GError **error);

/* One page; @data is STREAM_PAGE_SIZE bytes, or NULL for zeros. Pages of one block come together.
 */
gboolean stream_writer_page (StreamWriter *writer, guint block, guint64 offset, const guint8 *data,
                             GError **error);

/* Ends RAM and appends a piece of device state; may be called repeatedly. */
gboolean stream_writer_device_state (StreamWriter *writer, const guint8 *data, gsize len,
                                     GError **error);

/* Everything so far is sent: for who has to know that it was read before the rest is. */
gboolean stream_writer_flush (StreamWriter *writer, GError **error);

/* Flushes. The stream is complete when the descriptor is closed after this. */
gboolean stream_writer_finish (StreamWriter *writer, GError **error);
