/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "relay.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <unistd.h>

#define PIECE (256 * 1024)

struct Relay {
  RelayFunc func;
  gpointer user_data;
  AutoFd read_end, write_end;
  char *name;
  GThread *thread;
};

/* When nobody wants more the pipe is closed, and who writes gets EPIPE. */
static gpointer
relay_thread (gpointer data)
{
  Relay *relay = data;
  g_autofree guint8 *piece = g_malloc (PIECE);

  for (;;) {
    ssize_t n = read (relay->read_end, piece, PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return GINT_TO_POINTER (n == 0);
    if (!relay->func (piece, n, relay->user_data)) {
      fd_close (&relay->read_end);
      return NULL;
    }
  }
}

Relay *
relay_begin (RelayFunc func, gpointer user_data, GError **error)
{
  int ends[2];

  if (!g_unix_open_pipe (ends, FD_CLOEXEC, error))
    return NULL;
  fcntl (ends[1], F_SETPIPE_SZ, 1 << 20);
  Relay *relay = g_new0 (Relay, 1);
  relay->func = func;
  relay->user_data = user_data;
  relay->read_end = ends[0];
  relay->write_end = ends[1];
  relay->name = g_strdup_printf ("/proc/self/fd/%d", ends[1]);
  relay->thread = g_thread_new ("relay", relay_thread, relay);
  return relay;
}

const char *
relay_name (const Relay *relay)
{
  return relay->name;
}

gboolean
relay_end (Relay *relay)
{
  fd_close (&relay->write_end);
  gboolean whole = GPOINTER_TO_INT (g_thread_join (relay->thread));

  fd_close (&relay->read_end);
  g_free (relay->name);
  g_free (relay);
  return whole;
}
