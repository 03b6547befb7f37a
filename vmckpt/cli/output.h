/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standard output and error: written at once, and quiet when the reader has gone (`| head`). */
#pragma once

#include <gio/gio.h>

typedef struct {
  int fd;          /* borrowed */
  gboolean closed; /* nobody reads any more: what follows is dropped */
  GError *fault;   /* the first write that failed for another reason */
} Output;

/* Releases what an Output holds; its descriptor stays open. */
void output_clear (Output *output);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Output, output_clear)

/**
 * output_write:
 * @output: where to
 * @data: bytes
 * @len: how many
 *
 * Writes all of @data. A closed pipe is not an error. Blocks; a signal that ends the program ends
 * the wait too.
 *
 * Returns: FALSE if nothing more can be written there, so a copying loop can stop.
 */
gboolean output_write (Output *output, const void *data, gsize len);

/* Writes a formatted text, and a text as one line. */
void output_print (Output *output, const char *format, ...) G_GNUC_PRINTF (2, 3);
void output_line (Output *output, const char *text);
