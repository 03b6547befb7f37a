/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "interrupt.h"

#include "terminal.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static volatile sig_atomic_t signals_seen;
static int wake_fd = -1;

/* Async-signal-safe. */
static void
on_signal (int number)
{
  int kept = errno;
  guint64 one = 1;

  if (signals_seen++ > 0) {
    terminal_restore();
    _exit (130);
  }
  if (write (wake_fd, &one, sizeof one) < 0)
    _exit (130);
  errno = kept;
}

static gboolean
on_wake (int fd, GIOCondition condition, gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_REMOVE;
}

void
interrupt_install (GCancellable *cancellable)
{
  /* No SA_RESTART: a blocked write has to return. */
  struct sigaction action = { .sa_handler = on_signal };
  struct sigaction ignore = { .sa_handler = SIG_IGN };

  wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0)
    g_error ("no eventfd: %s", g_strerror (errno));
  g_unix_fd_add_full (G_PRIORITY_HIGH, wake_fd, G_IO_IN, on_wake, g_object_ref (cancellable),
                      g_object_unref);
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  sigaction (SIGPIPE, &ignore, NULL);
}

gboolean
interrupt_seen (void)
{
  return signals_seen > 0;
}
