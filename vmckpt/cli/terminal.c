/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "terminal.h"

#include "cli-error.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* More than a password may have, so that a longer one is refused and not cut. */
#define SECRET_LINE_MAX 2048

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

/* Saves the settings of the terminal that @fd is, and puts what @change makes of them. */
static gboolean
change_settings (RawTerminal *raw, int fd, void (*change) (struct termios *settings),
                 GError **error)
{
  struct termios settings;

  g_return_val_if_fail (!raw_on, FALSE);
  if (tcgetattr (fd, &saved) < 0)
    return fd_set_errno_error (error, "reading the terminal's settings");
  settings = saved;
  change (&settings);
  raw_fd = fd;
  raw_on = 1;
  raw->active = TRUE;
  if (tcsetattr (fd, TCSANOW, &settings) < 0)
    return fd_set_errno_error (error, "changing the terminal's settings");
  return TRUE;
}

gboolean
terminal_raw_begin (RawTerminal *raw, int fd, GError **error)
{
  return change_settings (raw, fd, cfmakeraw, error);
}

/* The newline that ends the answer is shown. Ctrl-Z does not stop the program, which would leave
 * the shell a terminal without echo. */
static void
without_echo (struct termios *settings)
{
  settings->c_lflag &= (tcflag_t)~ECHO;
  settings->c_lflag |= ECHONL | ICANON;
  settings->c_cc[VSUSP] = _POSIX_VDISABLE;
}

/* One line, without its end. */
static Secret *
read_line (int fd, GError **error)
{
  g_autoptr (Secret) line = secret_new (SECRET_LINE_MAX);
  gsize len = 0;

  while (len < line->len && (len == 0 || line->bytes[len - 1] != '\n')) {
    ssize_t n = read (fd, line->bytes + len, line->len - len);
    if (n < 0) {
      /* Ctrl-C; a handler without SA_RESTART has run. */
      g_set_error_literal (error, CLI_ERROR,
                           errno == EINTR ? CLI_ERROR_INTERRUPTED : CLI_ERROR_FAILED,
                           "reading a password from the terminal failed");
      return NULL;
    }
    if (n == 0)
      break;
    len += (gsize)n;
  }
  if (len > 0 && line->bytes[len - 1] == '\n')
    len--;
  return secret_new_copy (line->bytes, len);
}

Secret *
terminal_ask_secret (const char *prompt, GError **error)
{
  g_auto (AutoFd) fd = open ("/dev/tty", O_RDWR | O_CLOEXEC);
  g_auto (RawTerminal) quiet = RAW_TERMINAL_NONE;

  if (fd < 0) {
    g_set_error_literal (
        error, CLI_ERROR, CLI_ERROR_KEY,
        "the store is encrypted, no key was given, and there is no terminal to ask "
        "for a password at: give --key-file FILE or --password-file FILE");
    return NULL;
  }
  if (!change_settings (&quiet, fd, without_echo, error) ||
      !fd_write_full (fd, prompt, strlen (prompt), error))
    return NULL;
  return read_line (fd, error);
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
