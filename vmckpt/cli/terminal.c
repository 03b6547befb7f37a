/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "terminal.h"

#include <vmckpt/util/fd.h>

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios saved;
static int raw_fd;
static volatile sig_atomic_t raw_on;

guint
terminal_width (int fd)
{
  struct winsize size = { 0 };

  if (ioctl (fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 80;
}

gboolean
terminal_raw_begin (RawTerminal *raw, int fd, GError **error)
{
  struct termios settings;

  g_return_val_if_fail (!raw_on, FALSE);
  if (tcgetattr (fd, &saved) < 0)
    return fd_set_errno_error (error, "reading the terminal's settings");
  settings = saved;
  cfmakeraw (&settings);
  raw_fd = fd;
  raw_on = 1;
  raw->active = TRUE;
  if (tcsetattr (fd, TCSANOW, &settings) < 0)
    return fd_set_errno_error (error, "making the terminal raw");
  return TRUE;
}

void
terminal_raw_end (RawTerminal *raw)
{
  if (raw->active)
    terminal_restore();
  raw->active = FALSE;
}

void
terminal_restore (void)
{
  if (raw_on)
    tcsetattr (raw_fd, TCSANOW, &saved);
  raw_on = 0;
}
