/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "console-relay.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE 4096
#define FULL_PAUSE_US 10000

typedef struct {
  virStreamPtr stream;
  int socket;
} Relay;

/* In libvirt's event thread: what the guest has printed. A reader that is too slow loses it, as at
 * a serial port. */
static void
on_stream (virStreamPtr stream, int events, void *user_data)
{
  Relay *relay = user_data;
  char piece[PIECE];
  int n = 0;

  while ((events & VIR_STREAM_EVENT_READABLE) &&
         (n = virStreamRecv (stream, piece, sizeof piece)) > 0)
    if (send (relay->socket, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
      break;
  if ((events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP)) || n == 0 || n == -1)
    shutdown (relay->socket, SHUT_RDWR);
}

/* What people type, until they go. */
static void
take_input (Relay *relay)
{
  char piece[PIECE];
  ssize_t n;

  while ((n = recv (relay->socket, piece, sizeof piece, 0)) > 0 || (n < 0 && errno == EINTR))
    for (ssize_t sent = 0; sent < n;) {
      int taken = virStreamSend (relay->stream, piece + sent, n - sent);
      if (taken == -1)
        return;
      if (taken == -2)
        g_usleep (FULL_PAUSE_US);
      else
        sent += taken;
    }
}

static void
relay_release (void *relay)
{
  g_atomic_rc_box_release (relay);
}

gboolean
console_relay (virDomainPtr domain, const char *device, int socket, void (*opened) (gpointer),
               gpointer user_data, GError **error)
{
  virConnectPtr conn = virDomainGetConnect (domain);
  Relay *relay = g_atomic_rc_box_new0 (Relay);

  relay->socket = socket;
  relay->stream = virStreamNew (conn, VIR_STREAM_NONBLOCK);
  if (relay->stream == NULL || virDomainOpenConsole (domain, device, relay->stream, 0) < 0) {
    host_set_error (conn, error);
    if (relay->stream != NULL)
      virStreamFree (relay->stream);
    relay_release (relay);
    return FALSE;
  }
  if (opened != NULL)
    opened (user_data);
  if (virStreamEventAddCallback (relay->stream,
                                 VIR_STREAM_EVENT_READABLE | VIR_STREAM_EVENT_HANGUP |
                                     VIR_STREAM_EVENT_ERROR,
                                 on_stream, g_atomic_rc_box_acquire (relay), relay_release) < 0)
    relay_release (relay);
  else
    take_input (relay);
  virStreamEventRemoveCallback (relay->stream);
  virStreamAbort (relay->stream);
  virStreamFree (relay->stream);
  relay_release (relay);
  return TRUE;
}
