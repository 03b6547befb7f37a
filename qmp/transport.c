/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   input   [ line \n line \n begin of a li............ ]
 *             ^start          ^searched       ^len
 *   output  queue of { bytes, sent so far, descriptor to pass }
 *
 * Bytes before `start` are taken already; between `start` and `searched` there is no line end, so a
 * long line that arrives in many pieces is searched once.
 */
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/util/fd.h>

#define READ_SIZE (64 * 1024)
#define READS_PER_FILL 16

typedef struct {
  char *bytes;
  gsize len, sent;
  AutoFd pass_fd;
} Output;

struct _QmpTransport {
  AutoFd fd;
  GByteArray *input;
  gsize start, searched;
  GQueue output; /* of Output, owned */
};

static void
output_free (Output *output)
{
  fd_close (&output->pass_fd);
  g_free (output->bytes);
  g_free (output);
}

QmpTransport *
qmp_transport_new (int fd)
{
  QmpTransport *transport = g_new0 (QmpTransport, 1);

  transport->fd = fd;
  transport->input = g_byte_array_new();
  g_queue_init (&transport->output);
  int flags = fcntl (fd, F_GETFL);
  if (flags >= 0)
    fcntl (fd, F_SETFL, flags | O_NONBLOCK);
  return transport;
}

void
qmp_transport_free (QmpTransport *transport)
{
  fd_close (&transport->fd);
  g_byte_array_unref (transport->input);
  g_queue_clear_full (&transport->output, (GDestroyNotify)output_free);
  g_free (transport);
}

int
qmp_transport_fd (QmpTransport *transport)
{
  return transport->fd;
}

/* Turns errno into QMP_ERROR_LOST. */
static gboolean
set_lost (GError **error, const char *what)
{
  g_set_error (error, QMP_ERROR, QMP_ERROR_LOST, "the monitor is lost: %s: %s", what,
               g_strerror (errno));
  return FALSE;
}

/* Drops what has been taken, once that is worth the move. */
static void
compact_input (QmpTransport *transport)
{
  if (transport->start == 0)
    return;
  if (transport->start < transport->input->len && transport->start < READ_SIZE)
    return;
  g_byte_array_remove_range (transport->input, 0, transport->start);
  transport->searched -= transport->start;
  transport->start = 0;
}

gboolean
qmp_transport_fill (QmpTransport *transport, GError **error)
{
  for (guint i = 0; i < READS_PER_FILL; i++) {
    compact_input (transport);
    guint old_len = transport->input->len;
    g_byte_array_set_size (transport->input, old_len + READ_SIZE);
    ssize_t n = recv (transport->fd, transport->input->data + old_len, READ_SIZE, 0);
    g_byte_array_set_size (transport->input, old_len + MAX (n, 0));
    if (n == 0) {
      g_set_error (error, QMP_ERROR, QMP_ERROR_LOST, "the monitor was closed by its server");
      return FALSE;
    }
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return errno == EAGAIN ? TRUE : set_lost (error, "reading");
    /* What is beyond the bound is an error for take_line; there is no point in reading on. */
    if (n < READ_SIZE || transport->input->len - transport->start > QMP_MAX_LINE)
      break;
  }
  return TRUE;
}

char *
qmp_transport_take_line (QmpTransport *transport, gsize *len, GError **error)
{
  const char *data = (const char *)transport->input->data;
  gsize end = transport->input->len;

  if (transport->searched < end) {
    const char *found = memchr (data + transport->searched, '\n', end - transport->searched);
    transport->searched = found != NULL ? (gsize)(found - data) : end;
  }
  *len = transport->searched - transport->start;
  if (*len > QMP_MAX_LINE) {
    g_set_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL,
                 "the monitor sent a line of more than %d bytes", QMP_MAX_LINE);
    return NULL;
  }
  if (transport->searched == end)
    return NULL;
  const char *line = data + transport->start;
  transport->start = ++transport->searched;
  if (*len > 0 && line[*len - 1] == '\r')
    --*len;
  return g_strndup (line, *len);
}

void
qmp_transport_queue (QmpTransport *transport, char *line, int pass_fd)
{
  Output *output = g_new0 (Output, 1);

  output->bytes = line;
  output->len = strlen (line);
  output->pass_fd = pass_fd;
  g_queue_push_tail (&transport->output, output);
}

gboolean
qmp_transport_flush (QmpTransport *transport, GError **error)
{
  Output *output;

  while ((output = g_queue_peek_head (&transport->output)) != NULL) {
    gssize n = fd_send_some (transport->fd, output->bytes + output->sent,
                             output->len - output->sent, output->pass_fd);
    if (n < 0)
      return errno == EAGAIN ? TRUE : set_lost (error, "sending");
    fd_close (&output->pass_fd);
    output->sent += n;
    if (output->sent == output->len)
      output_free (g_queue_pop_head (&transport->output));
  }
  return TRUE;
}

gboolean
qmp_transport_pending (QmpTransport *transport)
{
  return !g_queue_is_empty (&transport->output);
}

gboolean
qmp_transport_wait (QmpTransport *transport, gint64 deadline_us, GError **error)
{
  struct pollfd poller = { .fd = transport->fd,
                           .events =
                               qmp_transport_pending (transport) ? POLLIN | POLLOUT : POLLIN };
  int r;

  do {
    gint64 left_ms = (deadline_us - g_get_monotonic_time() + 999) / 1000;
    r = left_ms > 0 ? poll (&poller, 1, (int)MIN (left_ms, G_MAXINT)) : 0;
  } while (r < 0 && errno == EINTR);
  if (r < 0)
    return set_lost (error, "waiting");
  if (r == 0)
    g_set_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT, "the monitor did not answer in time");
  return r > 0;
}
