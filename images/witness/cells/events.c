/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors that report events: epoll, eventfd, inotify. */
#include "cells.h"

#include "../pattern.h"
#include "../stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

/* epoll: of four watched eventfds exactly one is ready, with its cookie; one is edge-triggered. */

enum { EPOLL_WATCHED = 4, EPOLL_EDGE = 2 };

typedef struct {
  int epoll;
  int watched[EPOLL_WATCHED];
} Epoll;

static void
epoll_start (Cell *cell)
{
  Epoll *set = cell->state;

  set->epoll = epoll_create1 (EPOLL_CLOEXEC);
  CELL_REQUIRE (cell, set->epoll >= 0, "cannot make an epoll set: %s", strerror (errno));
  for (unsigned i = 0; i < EPOLL_WATCHED; i++) {
    struct epoll_event event = { .events = EPOLLIN | (i == EPOLL_EDGE ? EPOLLET : 0),
                                 .data.u64 = pattern_word (cell->salt, i) };
    set->watched[i] = eventfd (i == 0, EFD_NONBLOCK | EFD_CLOEXEC);
    CELL_REQUIRE (cell,
                  set->watched[i] >= 0 &&
                      epoll_ctl (set->epoll, EPOLL_CTL_ADD, set->watched[i], &event) == 0,
                  "cannot watch an eventfd: %s", strerror (errno));
  }
}

static void
epoll_check (Cell *cell, uint64_t seq)
{
  Epoll *set = cell->state;
  unsigned due = seq % EPOLL_WATCHED;
  struct epoll_event events[EPOLL_WATCHED];
  uint64_t value = 1;

  int n = epoll_wait (set->epoll, events, EPOLL_WATCHED, 0);
  CELL_REQUIRE (cell, n == 1, "%d descriptors are ready, not 1", n);
  CELL_REQUIRE (cell, events[0].data.u64 == pattern_word (cell->salt, due),
                "the wrong descriptor is ready");
  n = due == EPOLL_EDGE ? epoll_wait (set->epoll, events, EPOLL_WATCHED, 0) : 0;
  CELL_REQUIRE (cell, n == 0, "an edge is reported twice");
  CELL_REQUIRE (cell, read_full (set->watched[due], &value, sizeof value), "it is not readable");
  CELL_REQUIRE (cell, write_full (set->watched[(due + 1) % EPOLL_WATCHED], &value, sizeof value),
                "cannot make the next one ready: %s", strerror (errno));
}

static void
epoll_damage (Cell *cell)
{
  const Epoll *set = cell->state;
  uint64_t value;

  for (unsigned i = 0; i < EPOLL_WATCHED; i++)
    (void)read_full (set->watched[i], &value, sizeof value);
}

const CellType cell_epoll = { .name = "epoll",
                              .about = "epoll set with one pending event, level and edge",
                              .state_size = sizeof (Epoll),
                              .start = epoll_start,
                              .check = epoll_check,
                              .damage = epoll_damage };

/* eventfd: a counter with an unread value, and a semaphore-like one that steps by one. */

enum { EVENTFD_STOCK = 9 };

typedef struct {
  int counter;
  int semaphore;
} Eventfd;

static void
eventfd_start (Cell *cell)
{
  Eventfd *pair = cell->state;

  pair->counter = eventfd (1, EFD_NONBLOCK | EFD_CLOEXEC);
  pair->semaphore = eventfd (EVENTFD_STOCK, EFD_NONBLOCK | EFD_SEMAPHORE | EFD_CLOEXEC);
  CELL_REQUIRE (cell, pair->counter >= 0 && pair->semaphore >= 0, "cannot make an eventfd: %s",
                strerror (errno));
}

static void
eventfd_check (Cell *cell, uint64_t seq)
{
  Eventfd *pair = cell->state;
  uint64_t found = 0, next = seq + 2;

  (void)read_full (pair->counter, &found, sizeof found);
  CELL_REQUIRE (cell, found == seq + 1, "counter holds %" PRIu64 ", not %" PRIu64, found, seq + 1);
  CELL_REQUIRE (cell, write_full (pair->counter, &next, sizeof next), "cannot write: %s",
                strerror (errno));
  for (int i = 0; i < EVENTFD_STOCK; i++)
    CELL_REQUIRE (cell, read_full (pair->semaphore, &found, sizeof found) && found == 1,
                  "semaphore holds %d, not %d", i, EVENTFD_STOCK);
  CELL_REQUIRE (cell, read (pair->semaphore, &found, sizeof found) < 0,
                "semaphore holds more than %d", EVENTFD_STOCK);
  next = EVENTFD_STOCK;
  CELL_REQUIRE (cell, write_full (pair->semaphore, &next, sizeof next), "cannot write: %s",
                strerror (errno));
}

static void
eventfd_damage (Cell *cell)
{
  const Eventfd *pair = cell->state;
  uint64_t one = 1;

  (void)write_full (pair->counter, &one, sizeof one);
}

const CellType cell_eventfd = { .name = "eventfd",
                                .about = "eventfd counter and semaphore with unread values",
                                .state_size = sizeof (Eventfd),
                                .start = eventfd_start,
                                .check = eventfd_check,
                                .damage = eventfd_damage };

/* inotify: five unread events, each names the file that was made. */

enum { INOTIFY_DEPTH = 5, INOTIFY_NAME = 16 };

typedef struct {
  int inotify;
  int watch;
} Inotify;

static void
inotify_file_name (uint64_t seq, char *name)
{
  snprintf (name, INOTIFY_NAME, "s%014" PRIu64, seq % 100000000000000);
}

static void
inotify_put (Cell *cell, uint64_t seq)
{
  char name[INOTIFY_NAME], path[PATH_MAX];

  inotify_file_name (seq, name);
  cell_path (cell, name, path, sizeof path);
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  CELL_REQUIRE (cell, fd >= 0, "cannot make a file: %s", strerror (errno));
  close (fd);
  unlink (path);
}

static void
inotify_start (Cell *cell)
{
  Inotify *state = cell->state;

  state->inotify = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
  CELL_REQUIRE (cell, state->inotify >= 0, "cannot watch: %s", strerror (errno));
  state->watch = inotify_add_watch (state->inotify, cell->dir, IN_CREATE);
  CELL_REQUIRE (cell, state->watch >= 0, "cannot watch: %s", strerror (errno));
  for (uint64_t seq = 0; seq < INOTIFY_DEPTH && !cell_failed (cell); seq++)
    inotify_put (cell, seq);
}

/* A buffer of exactly one event takes exactly one. */
typedef union {
  struct inotify_event event;
  char bytes[sizeof (struct inotify_event) + INOTIFY_NAME];
} InotifyEvent;

static void
inotify_check (Cell *cell, uint64_t seq)
{
  const Inotify *state = cell->state;
  InotifyEvent one;
  char name[INOTIFY_NAME];

  ssize_t n = read (state->inotify, &one, sizeof one);
  CELL_REQUIRE (cell, n == sizeof one, "no event is pending: %s", strerror (errno));
  inotify_file_name (seq, name);
  CELL_REQUIRE (cell, one.event.wd == state->watch && (one.event.mask & IN_CREATE),
                "an event of another kind");
  CELL_REQUIRE (cell, strncmp (one.bytes + sizeof one.event, name, INOTIFY_NAME) == 0,
                "the event names %.16s, not %s", one.bytes + sizeof one.event, name);
  inotify_put (cell, seq + INOTIFY_DEPTH);
}

static void
inotify_damage (Cell *cell)
{
  const Inotify *state = cell->state;
  InotifyEvent one;

  (void)!read (state->inotify, &one, sizeof one);
}

const CellType cell_inotify = { .name = "inotify",
                                .about = "inotify watch with unread events",
                                .state_size = sizeof (Inotify),
                                .start = inotify_start,
                                .check = inotify_check,
                                .damage = inotify_damage };
