/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Byte streams of the kernel: an anonymous pipe through a second process, a FIFO, a terminal pair.
 */
#include "cells.h"

#include "../stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pty.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* pipe: cell → pipe → relay child → pipe → cell, with 4096 bytes on the way. */

static void
relay (int in, int out)
{
  uint8_t bytes[STREAM_STEP];
  ssize_t n;

  while ((n = read (in, bytes, sizeof bytes)) > 0)
    if (!write_full (out, bytes, (size_t)n))
      break;
  _exit (0);
}

static void
pipe_start (Cell *cell)
{
  Stream *stream = cell->state;
  int to[2], from[2];

  CELL_REQUIRE (cell, pipe (to) == 0 && pipe (from) == 0, "cannot make pipes: %s",
                strerror (errno));
  if (cell_fork (cell) == 0) {
    close (to[1]);
    close (from[0]);
    relay (to[0], from[1]);
  }
  close (to[0]);
  close (from[1]);
  *stream = (Stream){ .in = to[1], .out = from[0], .salt = cell->salt };
  stream_start (cell, stream, 4096);
}

static void
stream_cell_check (Cell *cell, uint64_t seq)
{
  (void)seq;
  stream_check (cell, cell->state);
}

static void
stream_cell_damage (Cell *cell)
{
  stream_steal (cell->state);
}

const CellType cell_pipe = { .name = "pipe",
                             .about = "anonymous pipes through a relay, bytes in flight",
                             .state_size = sizeof (Stream),
                             .start = pipe_start,
                             .check = stream_cell_check,
                             .damage = stream_cell_damage };

/* fifo: a named pipe that always holds 8192 bytes. */

static void
fifo_start (Cell *cell)
{
  Stream *stream = cell->state;
  char path[PATH_MAX];

  cell_path (cell, "fifo", path, sizeof path);
  CELL_REQUIRE (cell, mkfifo (path, 0600) == 0, "cannot make a FIFO: %s", strerror (errno));
  stream->out = open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  stream->in = open (path, O_WRONLY | O_CLOEXEC);
  CELL_REQUIRE (cell, stream->out >= 0 && stream->in >= 0, "cannot open: %s", strerror (errno));
  stream->salt = cell->salt;
  stream->countable = true;
  stream_start (cell, stream, 8192);
}

const CellType cell_fifo = { .name = "fifo",
                             .about = "FIFO with unread bytes",
                             .state_size = sizeof (Stream),
                             .start = fifo_start,
                             .check = stream_cell_check,
                             .damage = stream_cell_damage };

/* pty: a raw terminal pair, 1024 bytes under way in each direction, odd settings kept. */

typedef struct {
  Stream down; /* master → slave */
  Stream up;   /* slave → master */
  struct termios settings;
  struct winsize size;
} Pty;

static void
pty_start (Cell *cell)
{
  Pty *pty = cell->state;
  int master, slave;

  CELL_REQUIRE (cell, openpty (&master, &slave, NULL, NULL, NULL) == 0, "cannot open a pty: %s",
                strerror (errno));
  tcgetattr (slave, &pty->settings);
  cfmakeraw (&pty->settings);
  pty->settings.c_cc[VMIN] = 1;
  pty->settings.c_cc[VTIME] = 37;
  pty->size = (struct winsize){ .ws_row = 41, .ws_col = 83 };
  CELL_REQUIRE (cell,
                tcsetattr (slave, TCSANOW, &pty->settings) == 0 &&
                    ioctl (master, TIOCSWINSZ, &pty->size) == 0 &&
                    tcgetattr (slave, &pty->settings) == 0,
                "cannot set the pty up: %s", strerror (errno));
  pty->down = (Stream){ .in = master, .out = slave, .salt = cell->salt };
  pty->up = (Stream){ .in = slave, .out = master, .salt = ~cell->salt };
  stream_start (cell, &pty->down, 1024);
  stream_start (cell, &pty->up, 1024);
}

static void
pty_check (Cell *cell, uint64_t seq)
{
  Pty *pty = cell->state;
  struct termios settings;
  struct winsize size;

  (void)seq;
  stream_check (cell, &pty->down);
  stream_check (cell, &pty->up);
  CELL_REQUIRE (cell, tcgetattr (pty->down.out, &settings) == 0, "no settings: %s",
                strerror (errno));
  CELL_REQUIRE (cell,
                settings.c_lflag == pty->settings.c_lflag &&
                    settings.c_iflag == pty->settings.c_iflag &&
                    memcmp (settings.c_cc, pty->settings.c_cc, sizeof settings.c_cc) == 0,
                "terminal settings differ");
  CELL_REQUIRE (cell,
                ioctl (pty->down.out, TIOCGWINSZ, &size) == 0 && size.ws_row == pty->size.ws_row &&
                    size.ws_col == pty->size.ws_col,
                "window size differs");
}

static void
pty_damage (Cell *cell)
{
  Pty *pty = cell->state;

  stream_steal (&pty->up);
}

const CellType cell_pty = { .name = "pty",
                            .about = "terminal pair, bytes both ways, settings",
                            .state_size = sizeof (Pty),
                            .start = pty_start,
                            .check = pty_check,
                            .damage = pty_damage };
