/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A child in a user namespace and a host-name namespace of its own. */
#include "cells.h"

#include "../helper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Questions; any other is a step number. */
static const uint64_t userns_enter = UINT64_MAX, userns_harm = UINT64_MAX - 1;

enum { HOST_NAME = 64 };

typedef struct {
  Helper child;
  ino_t inode;           /* of the child's user namespace */
  char outer[HOST_NAME]; /* our own host name, which stays */
} UserNs;

static void
userns_host_name (uint64_t seq, char *name)
{
  snprintf (name, HOST_NAME, "witness-%" PRIu64, seq);
}

/* In the child. Returns 0, or what went wrong as an errno value. */
static uint64_t
userns_answer (Cell *cell, uint64_t question)
{
  char expected[HOST_NAME], found[HOST_NAME] = "";

  (void)cell;
  if (question == userns_enter) {
    if (unshare (CLONE_NEWUSER | CLONE_NEWUTS) != 0)
      return (uint64_t)errno;
    prctl (PR_SET_PDEATHSIG, SIGKILL); /* forgotten with the change of credentials */
    return 0;
  }
  if (question == userns_harm)
    return sethostname ("stranger", 8) == 0 ? 0 : (uint64_t)errno;
  if (getuid() != 0)
    return EPERM;
  userns_host_name (question, expected);
  gethostname (found, sizeof found);
  if (question > 0 && strcmp (found, expected) != 0)
    return ENOENT;
  userns_host_name (question + 1, expected);
  return sethostname (expected, strlen (expected)) == 0 ? 0 : (uint64_t)errno;
}

static void
userns_write (Cell *cell, pid_t pid, const char *file, const char *text)
{
  char path[64];

  snprintf (path, sizeof path, "/proc/%d/%s", (int)pid, file);
  int fd = open (path, O_WRONLY | O_CLOEXEC);
  bool written = fd >= 0 && write (fd, text, strlen (text)) == (ssize_t)strlen (text);
  if (fd >= 0)
    close (fd);
  CELL_REQUIRE (cell, written, "cannot write %s: %s", file, strerror (errno));
}

static ino_t
userns_inode (pid_t pid)
{
  char path[64];
  struct stat status = { 0 };

  snprintf (path, sizeof path, "/proc/%d/ns/user", (int)pid);
  return stat (path, &status) == 0 ? status.st_ino : 0;
}

static void
userns_start (Cell *cell)
{
  UserNs *state = cell->state;
  uint64_t result = 0;
  char map[64];

  gethostname (state->outer, sizeof state->outer);
  helper_start (cell, &state->child, userns_answer);
  if (!helper_ask (cell, &state->child, userns_enter, &result))
    return;
  CELL_REQUIRE (cell, result == 0, "cannot enter a namespace: %s", strerror ((int)result));
  snprintf (map, sizeof map, "0 %u 1\n", (unsigned)geteuid());
  userns_write (cell, state->child.pid, "uid_map", map);
  userns_write (cell, state->child.pid, "setgroups", "deny");
  snprintf (map, sizeof map, "0 %u 1\n", (unsigned)getegid());
  userns_write (cell, state->child.pid, "gid_map", map);
  state->inode = userns_inode (state->child.pid);
}

static void
userns_check (Cell *cell, uint64_t seq)
{
  UserNs *state = cell->state;
  uint64_t result = 0;
  char outer[HOST_NAME] = "";

  if (!helper_ask (cell, &state->child, seq, &result))
    return;
  CELL_REQUIRE (cell, result == 0, "inside the namespace: %s", strerror ((int)result));
  ino_t inode = userns_inode (state->child.pid);
  CELL_REQUIRE (cell, inode == state->inode && inode != userns_inode (getpid()),
                "the child is in another user namespace");
  gethostname (outer, sizeof outer);
  CELL_REQUIRE (cell, strcmp (outer, state->outer) == 0, "the outer host name has changed");
}

static void
userns_damage (Cell *cell)
{
  UserNs *state = cell->state;
  uint64_t result;

  (void)helper_ask (cell, &state->child, userns_harm, &result);
}

static const char *
userns_absent (void)
{
  int status = 0;
  pid_t pid = fork();

  if (pid == 0)
    _exit (unshare (CLONE_NEWUSER | CLONE_NEWUTS) == 0 ? 0 : 1);
  return pid > 0 && waitpid (pid, &status, 0) == pid && status == 0
             ? NULL
             : "user namespaces are not allowed";
}

const CellType cell_userns = { .name = "userns",
                               .about = "user and host-name namespace of a child",
                               .state_size = sizeof (UserNs),
                               .absent = userns_absent,
                               .start = userns_start,
                               .check = userns_check,
                               .damage = userns_damage };
