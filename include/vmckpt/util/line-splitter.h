/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines out of a stream that comes in pieces; a line has a bound. */
#pragma once

#include <gio/gio.h>

typedef struct {
  GByteArray *pending;
  gsize searched; /* no newline among these first bytes of pending */
  gsize max_line;
} LineSplitter;

/* Makes a splitter for lines of at most @max_line bytes, and frees it. */
LineSplitter *line_splitter_new (gsize max_line);
void line_splitter_free (LineSplitter *splitter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (LineSplitter, line_splitter_free)

/* Takes the next bytes of the stream. Call line_splitter_next() until NULL before adding more. */
void line_splitter_add (LineSplitter *splitter, const void *data, gsize len);

/**
 * line_splitter_next:
 * @line: (out) (transfer full): the next line without its newline, or NULL when more bytes are
 * needed
 *
 * Returns: FALSE with @error (G_IO_ERROR_INVALID_DATA) if a line is longer than the bound.
 */
gboolean line_splitter_next (LineSplitter *splitter, char **line, GError **error);
