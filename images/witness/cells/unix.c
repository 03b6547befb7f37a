/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UNIX sockets: a stream, datagrams, and descriptors that exist only inside a socket. */
#include "cells.h"

#include "../pattern.h"
#include "../stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* unix-stream: 4096 unread bytes each way. */

typedef struct {
  Stream there;
  Stream back;
} UnixStream;

static void
unix_stream_start (Cell *cell)
{
  UnixStream *pair = cell->state;
  int ends[2];

  CELL_REQUIRE (cell, socketpair (AF_UNIX, SOCK_STREAM, 0, ends) == 0, "cannot make sockets: %s",
                strerror (errno));
  pair->there = (Stream){ .in = ends[0], .out = ends[1], .salt = cell->salt, .countable = true };
  pair->back = (Stream){ .in = ends[1], .out = ends[0], .salt = ~cell->salt, .countable = true };
  stream_start (cell, &pair->there, 4096);
  stream_start (cell, &pair->back, 4096);
}

static void
unix_stream_check (Cell *cell, uint64_t seq)
{
  UnixStream *pair = cell->state;

  (void)seq;
  stream_check (cell, &pair->there);
  stream_check (cell, &pair->back);
}

static void
unix_stream_damage (Cell *cell)
{
  UnixStream *pair = cell->state;

  stream_steal (&pair->back);
}

const CellType cell_unix_stream = { .name = "unix-stream",
                                    .about = "UNIX stream sockets with unread bytes",
                                    .state_size = sizeof (UnixStream),
                                    .start = unix_stream_start,
                                    .check = unix_stream_check,
                                    .damage = unix_stream_damage };

/* unix-dgram: eight unread datagrams. */

enum { DGRAM_DEPTH = 8 };

static void
unix_dgram_put (Cell *cell, uint64_t seq)
{
  const int *ends = cell->state;
  Message message;

  message_make (&message, cell->salt, seq);
  CELL_REQUIRE (cell, send (ends[0], &message, sizeof message, MSG_DONTWAIT) == sizeof message,
                "cannot send: %s", strerror (errno));
}

static void
unix_dgram_start (Cell *cell)
{
  int *ends = cell->state;

  CELL_REQUIRE (cell, socketpair (AF_UNIX, SOCK_DGRAM, 0, ends) == 0, "cannot make sockets: %s",
                strerror (errno));
  for (uint64_t seq = 0; seq < DGRAM_DEPTH; seq++)
    unix_dgram_put (cell, seq);
}

static void
unix_dgram_check (Cell *cell, uint64_t seq)
{
  const int *ends = cell->state;
  Message message;

  ssize_t n = recv (ends[1], &message, sizeof message, MSG_DONTWAIT);
  CELL_REQUIRE (cell, n == sizeof message, "cannot receive: %s", strerror (errno));
  message_verify (cell, &message, seq);
  unix_dgram_put (cell, seq + DGRAM_DEPTH);
}

static void
unix_dgram_damage (Cell *cell)
{
  const int *ends = cell->state;
  Message message;

  (void)!recv (ends[1], &message, sizeof message, MSG_DONTWAIT);
}

const CellType cell_unix_dgram = { .name = "unix-dgram",
                                   .about = "UNIX datagram sockets with unread datagrams",
                                   .state_size = sizeof (int[2]),
                                   .start = unix_dgram_start,
                                   .check = unix_dgram_check,
                                   .damage = unix_dgram_damage };

/* unix-rights: each message in flight carries the only descriptor of a pipe that holds a word. */

enum { RIGHTS_DEPTH = 3 };

typedef union {
  struct cmsghdr header;
  char bytes[CMSG_SPACE (sizeof (int))];
} RightsControl;

static void
rights_put (Cell *cell, uint64_t seq)
{
  const int *ends = cell->state;
  uint64_t word = pattern_word (cell->salt, seq);
  RightsControl control = { 0 };
  struct iovec part = { &seq, sizeof seq };
  struct msghdr header = {
    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
  };
  int carried[2];

  CELL_REQUIRE (cell, pipe (carried) == 0 && write_full (carried[1], &word, sizeof word),
                "cannot make a pipe: %s", strerror (errno));
  struct cmsghdr *rights = CMSG_FIRSTHDR (&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN (sizeof (int));
  memcpy (CMSG_DATA (rights), &carried[0], sizeof (int));
  bool sent = sendmsg (ends[0], &header, MSG_DONTWAIT) == sizeof seq;
  close (carried[0]);
  close (carried[1]);
  CELL_REQUIRE (cell, sent, "cannot send a descriptor: %s", strerror (errno));
}

/* Takes one message; returns the descriptor it carried, or -1. */
static int
rights_take (Cell *cell, uint64_t *seq)
{
  const int *ends = cell->state;
  RightsControl control = { 0 };
  struct iovec part = { seq, sizeof *seq };
  struct msghdr header = {
    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
  };
  int carried = -1;

  if (recvmsg (ends[1], &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof *seq)
    return -1;
  struct cmsghdr *rights = CMSG_FIRSTHDR (&header);
  if (rights && rights->cmsg_type == SCM_RIGHTS)
    memcpy (&carried, CMSG_DATA (rights), sizeof carried);
  return carried;
}

static void
unix_rights_start (Cell *cell)
{
  CELL_REQUIRE (cell, socketpair (AF_UNIX, SOCK_DGRAM, 0, cell->state) == 0,
                "cannot make sockets: %s", strerror (errno));
  for (uint64_t seq = 0; seq < RIGHTS_DEPTH; seq++)
    rights_put (cell, seq);
}

static void
unix_rights_check (Cell *cell, uint64_t seq)
{
  uint64_t found_seq = 0, word = 0;
  int carried = rights_take (cell, &found_seq);

  CELL_REQUIRE (cell, carried >= 0, "no descriptor arrives: %s", strerror (errno));
  bool whole = read_full (carried, &word, sizeof word) && read (carried, &word, 1) == 0;
  close (carried);
  CELL_REQUIRE (cell, found_seq == seq, "descriptor %" PRIu64 " where %" PRIu64 " is due",
                found_seq, seq);
  CELL_REQUIRE (cell, whole && word == pattern_word (cell->salt, seq),
                "the carried pipe holds something else");
  rights_put (cell, seq + RIGHTS_DEPTH);
}

static void
unix_rights_damage (Cell *cell)
{
  uint64_t seq;
  int carried = rights_take (cell, &seq);

  if (carried >= 0)
    close (carried);
}

const CellType cell_unix_rights = { .name = "unix-rights",
                                    .about = "descriptors in flight by SCM_RIGHTS",
                                    .state_size = sizeof (int[2]),
                                    .start = unix_rights_start,
                                    .check = unix_rights_check,
                                    .damage = unix_rights_damage };
