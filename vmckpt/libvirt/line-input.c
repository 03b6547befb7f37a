/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "line-input.h"

#include <string.h>

#define PIECE (64 * 1024)
#define FDS_MAX 64

static void
close_fd (gpointer fd)
{
  fd_close (fd);
}

void
line_input_init (LineInput *input, int socket, gsize max)
{
  input->socket = socket;
  input->max = max;
  input->bytes = g_byte_array_new();
  input->fds = g_array_new (FALSE, FALSE, sizeof (AutoFd));
  g_array_set_clear_func (input->fds, close_fd);
}

void
line_input_clear (LineInput *input)
{
  g_clear_pointer (&input->bytes, g_byte_array_unref);
  g_clear_pointer (&input->fds, g_array_unref);
}

char *
line_input_next (LineInput *input, gsize *len, GError **error)
{
  g_autofree guint8 *piece = NULL;
  gsize searched = 0;

  for (;;) {
    GByteArray *bytes = input->bytes;
    const guint8 *end =
        bytes->len > searched ? memchr (bytes->data + searched, '\n', bytes->len - searched) : NULL;
    if (end != NULL) {
      char *line;
      *len = end - bytes->data;
      line = g_strndup ((const char *)bytes->data, *len);
      g_byte_array_remove_range (bytes, 0, *len + 1);
      return line;
    }
    searched = bytes->len;
    if (searched > input->max) {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                   "a line of more than %" G_GSIZE_FORMAT " bytes", input->max);
      return NULL;
    }
    g_auto (AutoFd) fd = -1;
    if (piece == NULL)
      piece = g_malloc (PIECE);
    gssize n = fd_receive (input->socket, piece, PIECE, &fd, error);
    if (n <= 0)
      return NULL;
    if (fd >= 0 && input->fds->len < FDS_MAX) {
      AutoFd taken = fd_steal (&fd);
      g_array_append_val (input->fds, taken);
    }
    g_byte_array_append (bytes, piece, n);
  }
}

int
line_input_take_fd (LineInput *input)
{
  AutoFd fd;

  if (input->fds->len == 0)
    return -1;
  fd = g_array_index (input->fds, AutoFd, 0);
  g_array_index (input->fds, AutoFd, 0) = -1;
  g_array_remove_index (input->fds, 0);
  return fd;
}
