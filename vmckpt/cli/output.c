/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "output.h"

#include "interrupt.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void
output_clear (Output *output)
{
  g_clear_error (&output->fault);
}

/* What a failed write means; TRUE if it is to be tried again. */
static gboolean
after_failed_write (Output *output)
{
  struct pollfd wait = { .fd = output->fd, .events = POLLOUT };

  /* Somebody may have made the terminal non-blocking: wait as a blocking write would. */
  if (errno == EAGAIN && poll (&wait, 1, -1) > 0)
    return TRUE;
  if (errno == EINTR && !interrupt_seen())
    return TRUE;
  output->closed = TRUE;
  if (errno == EINTR)
    g_set_error_literal (&output->fault, G_IO_ERROR, G_IO_ERROR_CANCELLED, "interrupted");
  else if (errno != EPIPE)
    fd_set_errno_error (&output->fault, "writing the output");
  return FALSE;
}

gboolean
output_write (Output *output, const void *data, gsize len)
{
  for (gsize done = 0; done < len && !output->closed;) {
    ssize_t n = write (output->fd, (const char *)data + done, len - done);
    if (n >= 0)
      done += n;
    else if (!after_failed_write (output))
      return FALSE;
  }
  return !output->closed;
}

void
output_print (Output *output, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  output_write (output, text, strlen (text));
}

void
output_line (Output *output, const char *text)
{
  output_print (output, "%s\n", text);
}
