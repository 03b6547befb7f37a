/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "drain.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PIECE (256 * 1024)

struct _Drain {
  AutoFd stream;
  AutoFd stop; /* eventfd: readable = stop when nothing is left */
  GThread *thread;
  _Atomic guint64 bytes;
};

static gpointer
drain_thread (gpointer data)
{
  Drain *drain = data;
  g_autofree guint8 *buf = g_malloc (PIECE);

  for (;;) {
    struct pollfd wait[] = { { .fd = drain->stream, .events = POLLIN },
                             { .fd = drain->stop, .events = POLLIN } };
    if (poll (wait, 2, -1) < 0)
      continue;
    if (wait[0].revents != 0) {
      ssize_t n = read (drain->stream, buf, PIECE);
      if (n < 0 && (errno == EINTR || errno == EAGAIN))
        continue;
      if (n <= 0)
        return NULL;
      drain->bytes += n;
    } else if (wait[1].revents != 0) {
      return NULL;
    }
  }
}

Drain *
drain_new (int stream)
{
  Drain *drain = g_new0 (Drain, 1);

  drain->stream = stream;
  drain->stop = eventfd (0, EFD_CLOEXEC);
  if (stream >= 0 && drain->stop >= 0)
    drain->thread = g_thread_new ("drain", drain_thread, drain);
  return drain;
}

void
drain_free (Drain *drain)
{
  const guint64 one = 1;

  if (drain == NULL)
    return;
  if (drain->thread != NULL) {
    fd_write_full (drain->stop, &one, sizeof one, NULL);
    g_thread_join (drain->thread);
  }
  fd_close (&drain->stream);
  fd_close (&drain->stop);
  g_free (drain);
}

guint64
drain_bytes (Drain *drain)
{
  return drain->bytes;
}
