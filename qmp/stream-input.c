/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stream-input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/util/fd.h>

/* Small enough for a second-level cache, large enough to be many pages. */
#define BUFFER_SIZE (1024 * 1024)

void
stream_input_init_fd (StreamInput *input, int fd)
{
  *input = (StreamInput){ .fd = fd, .idle_ms = -1, .buffer = g_malloc (BUFFER_SIZE) };
  input->at = input->buffer;
}

void
stream_input_init_data (StreamInput *input, const guint8 *data, gsize len)
{
  *input = (StreamInput){ .fd = -1, .idle_ms = -1, .at = data, .left = len, .ended = TRUE };
}

void
stream_input_clear (StreamInput *input)
{
  g_free (input->buffer);
  *input = (StreamInput){ .fd = -1, .ended = TRUE };
}

/* Waits until there is something to read, as long as patience lasts. */
static gboolean
wait_readable (StreamInput *input, GError **error)
{
  struct pollfd pollers[2] = { { .fd = input->fd, .events = POLLIN }, { .fd = -1 } };
  GPollFD cancelled = { .fd = -1 };
  int r;

  if (g_cancellable_make_pollfd (input->cancellable, &cancelled))
    pollers[1] = (struct pollfd){ .fd = cancelled.fd, .events = POLLIN };
  do
    r = poll (pollers, G_N_ELEMENTS (pollers), input->idle_ms);
  while (r < 0 && errno == EINTR);
  if (cancelled.fd >= 0)
    g_cancellable_release_fd (input->cancellable);
  if (r < 0)
    return fd_set_errno_error (error, "waiting for the migration stream");
  if (g_cancellable_set_error_if_cancelled (input->cancellable, error))
    return FALSE;
  if (r == 0)
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                 "the migration stream was silent for %d ms", input->idle_ms);
  return r > 0;
}

/* One read(2) of at most @size bytes to @to; 0 at the end, -1 with @error. */
static gssize
read_some (StreamInput *input, guint8 *to, gsize size, GError **error)
{
  gboolean must_wait = input->idle_ms >= 0 || input->cancellable != NULL;

  for (;;) {
    if (must_wait && !wait_readable (input, error))
      return -1;
    ssize_t n = read (input->fd, to, size);
    if (n >= 0)
      return n;
    if (errno == EAGAIN) {
      must_wait = TRUE;
    } else if (errno != EINTR) {
      fd_set_errno_error (error, "reading the migration stream");
      return -1;
    }
  }
}

/* Adds at least a byte to the window, or sets `ended`. */
static gboolean
extend (StreamInput *input, gsize need, GError **error)
{
  /* What reads from memory has ended from the start. */
  g_assert (input->buffer != NULL);
  gsize start = input->at - input->buffer;

  if (start > 0 && start + need > BUFFER_SIZE) {
    memmove (input->buffer, input->at, input->left);
    input->at = input->buffer;
    start = 0;
  }
  gsize used = start + input->left;
  gssize n = read_some (input, input->buffer + used, BUFFER_SIZE - used, error);
  if (n < 0)
    return FALSE;
  input->left += n;
  input->ended = n == 0;
  return TRUE;
}

gboolean
stream_input_want (StreamInput *input, gsize n, GError **error)
{
  if (input->left == 0 && input->buffer != NULL)
    input->at = input->buffer;
  while (input->left < n && !input->ended)
    if (!extend (input, n, error))
      return FALSE;
  return TRUE;
}

gboolean
stream_input_need (StreamInput *input, gsize n, const char *what, GError **error)
{
  if (input->left >= n)
    return TRUE;
  if (!stream_input_want (input, n, error))
    return FALSE;
  if (input->left >= n)
    return TRUE;
  g_set_error (error, STREAM_ERROR, STREAM_ERROR_TRUNCATED,
               "the migration stream ends at byte %" G_GUINT64_FORMAT ", in the middle of %s",
               input->offset + input->left, what);
  return FALSE;
}

void
stream_input_drain (StreamInput *input)
{
  /* Whoever was cancelled still has to drain. */
  input->cancellable = NULL;
  do
    stream_input_pass (input, input->left);
  while (stream_input_want (input, 1, NULL) && input->left > 0);
}
