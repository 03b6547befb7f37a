/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines from a socket, with the descriptors that come along. */
#pragma once

#include <vmckpt/util/fd.h>

typedef struct {
  int socket;        /* borrowed */
  gsize max;         /* bytes of a line */
  GByteArray *bytes; /* not yet a whole line */
  GArray *fds;       /* of AutoFd: have come, and were not taken */
} LineInput;

void line_input_init (LineInput *input, int socket, gsize max);
void line_input_clear (LineInput *input);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LineInput, line_input_clear)

/* The next line without its end, newly allocated. NULL at the end of the input, and with @error
 * when a line is too long or reading fails. Blocks. */
char *line_input_next (LineInput *input, gsize *len, GError **error);

/* The oldest descriptor that was not taken, the caller's then; -1 if there is none. */
int line_input_take_fd (LineInput *input);
