/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol.h"

#include <vmckpt/keeper/keeper.h>

#include <errno.h>
#include <poll.h>

KeeperMessage
keeper_message (KeeperMessageType type)
{
  return (KeeperMessage){ .magic = KEEPER_MAGIC, .version = KEEPER_VERSION, .type = type };
}

gboolean
keeper_message_valid (const KeeperMessage *message)
{
  return message->magic == KEEPER_MAGIC && message->version == KEEPER_VERSION &&
         message->type >= KEEPER_HELLO && message->type <= KEEPER_FREEZE;
}

/* Waits until @fd can be read; FALSE after @deadline (monotonic, microseconds). */
static gboolean
wait_readable (int fd, gint64 deadline)
{
  for (;;) {
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    gint64 left = (deadline - g_get_monotonic_time()) / 1000;
    int r = poll (&poll_fd, 1, CLAMP (left, 0, G_MAXINT));
    if (r > 0)
      return TRUE;
    if (r == 0 || errno != EINTR)
      return FALSE;
  }
}

gboolean
keeper_exchange (int fd, const KeeperMessage *request, int pass, int timeout_ms,
                 KeeperMessage *answer, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
  g_autoptr (GError) cause = NULL;
  gsize have = 0;

  if (!fd_send (fd, request, sizeof *request, pass, &cause)) {
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_GONE, "the keeper is gone: %s", cause->message);
    return FALSE;
  }
  while (have < sizeof *answer) {
    if (!wait_readable (fd, deadline)) {
      g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_GONE, "the keeper did not answer in %d ms",
                   timeout_ms);
      return FALSE;
    }
    gssize n = fd_receive (fd, (guint8 *)answer + have, sizeof *answer - have, NULL, &cause);
    if (n <= 0) {
      g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_GONE, "the keeper closed the connection%s%s",
                   n < 0 ? ": " : "", n < 0 ? cause->message : "");
      return FALSE;
    }
    have += n;
  }
  if (!keeper_message_valid (answer) || answer->type != request->type) {
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_PROTOCOL,
                 "the keeper answers in version %u of its protocol; version %u is understood here",
                 answer->version, KEEPER_VERSION);
    return FALSE;
  }
  return TRUE;
}
