/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TCP over the loopback device: unread data both ways, and a connection nobody has accepted. */
#include "cells.h"

#include "../pattern.h"
#include "../stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Listens on a free loopback port and writes its address to @address. */
static int
tcp_listen (Cell *cell, struct sockaddr_in *address)
{
  socklen_t size = sizeof *address;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  *address =
      (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  if (fd < 0 || bind (fd, (struct sockaddr *)address, size) != 0 || listen (fd, 8) != 0 ||
      getsockname (fd, (struct sockaddr *)address, &size) != 0)
    cell_fail (cell, "cannot listen: %s", strerror (errno));
  return fd;
}

static int
tcp_connect (Cell *cell, const struct sockaddr_in *address)
{
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || connect (fd, (const struct sockaddr *)address, sizeof *address) != 0)
    cell_fail (cell, "cannot connect: %s", strerror (errno));
  return fd;
}

/* tcp: one connection, 8192 bytes unread each way. */

typedef struct {
  Stream there;
  Stream back;
} Tcp;

static void
tcp_start (Cell *cell)
{
  Tcp *tcp = cell->state;
  struct sockaddr_in address;
  int on = 1;

  int listener = tcp_listen (cell, &address);
  if (cell_failed (cell))
    return;
  int near = tcp_connect (cell, &address);
  int far = accept (listener, NULL, NULL);
  close (listener);
  CELL_REQUIRE (cell, far >= 0, "cannot accept: %s", strerror (errno));
  setsockopt (near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt (far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  tcp->there = (Stream){ .in = near, .out = far, .salt = cell->salt };
  tcp->back = (Stream){ .in = far, .out = near, .salt = ~cell->salt };
  stream_start (cell, &tcp->there, 8192);
  stream_start (cell, &tcp->back, 8192);
}

static void
tcp_check (Cell *cell, uint64_t seq)
{
  Tcp *tcp = cell->state;

  (void)seq;
  stream_check (cell, &tcp->there);
  stream_check (cell, &tcp->back);
}

static void
tcp_damage (Cell *cell)
{
  Tcp *tcp = cell->state;

  stream_steal (&tcp->there);
}

const CellType cell_tcp = { .name = "tcp",
                            .about = "TCP over loopback with unread data both ways",
                            .state_size = sizeof (Tcp),
                            .start = tcp_start,
                            .check = tcp_check,
                            .damage = tcp_damage };

/* tcp-backlog: three connections wait in a listener's backlog, each with a message sent already. */

enum { BACKLOG_DEPTH = 3 };

typedef struct {
  int listener;
  struct sockaddr_in address;
  int client[BACKLOG_DEPTH];
} Backlog;

static void
backlog_put (Cell *cell, uint64_t seq)
{
  Backlog *backlog = cell->state;
  struct linger at_once = { .l_onoff = 1, .l_linger = 0 }; /* no port is left in TIME_WAIT */
  Message message;
  int fd = tcp_connect (cell, &backlog->address);

  message_make (&message, cell->salt, seq);
  setsockopt (fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  CELL_REQUIRE (cell, write_full (fd, &message, sizeof message), "cannot send: %s",
                strerror (errno));
  backlog->client[seq % BACKLOG_DEPTH] = fd;
}

static void
backlog_start (Cell *cell)
{
  Backlog *backlog = cell->state;

  backlog->listener = tcp_listen (cell, &backlog->address);
  for (uint64_t seq = 0; seq < BACKLOG_DEPTH && !cell_failed (cell); seq++)
    backlog_put (cell, seq);
}

static void
backlog_check (Cell *cell, uint64_t seq)
{
  Backlog *backlog = cell->state;
  Message message;
  int fd = accept4 (backlog->listener, NULL, NULL, SOCK_CLOEXEC);

  CELL_REQUIRE (cell, fd >= 0, "cannot accept: %s", strerror (errno));
  bool whole = read_full (fd, &message, sizeof message);
  close (backlog->client[seq % BACKLOG_DEPTH]);
  close (fd);
  CELL_REQUIRE (cell, whole, "the waiting connection holds no message");
  message_verify (cell, &message, seq);
  backlog_put (cell, seq + BACKLOG_DEPTH);
}

static void
backlog_damage (Cell *cell)
{
  const Backlog *backlog = cell->state;
  int fd = accept4 (backlog->listener, NULL, NULL, SOCK_CLOEXEC);

  if (fd >= 0)
    close (fd);
}

const CellType cell_tcp_backlog = { .name = "tcp-backlog",
                                    .about = "TCP connections not yet accepted, with data",
                                    .state_size = sizeof (Backlog),
                                    .start = backlog_start,
                                    .check = backlog_check,
                                    .damage = backlog_damage };
