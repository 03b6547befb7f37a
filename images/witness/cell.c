/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a cell may call; all of it works in any process of the cell. */
#include "witness.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

void
cell_fail (Cell *cell, const char *format, ...)
{
  uint32_t ok = SLOT_OK;
  va_list arguments;

  if (!atomic_compare_exchange_strong (&cell->slot->state, &ok, SLOT_WRITING))
    return;
  va_start (arguments, format);
  vsnprintf (cell->slot->what, sizeof cell->slot->what, format, arguments);
  va_end (arguments);
  atomic_store (&cell->slot->state, SLOT_FAILED);
}

bool
cell_failed (const Cell *cell)
{
  return atomic_load (&cell->slot->state) != SLOT_OK;
}

void
cell_leaves (Cell *cell, LeftKind kind, int id, const char *name)
{
  uint32_t at = atomic_load (&cell->slot->n_left);

  CELL_REQUIRE (cell, at < LEFT_MAX, "leaves more than %d objects", LEFT_MAX);
  Left *left = &cell->slot->left[at];
  left->kind = kind;
  left->id = id;
  snprintf (left->name, sizeof left->name, "%s", name ? name : "");
  atomic_store (&cell->slot->n_left, at + 1);
}

void
cell_path (const Cell *cell, const char *file, char *path, size_t size)
{
  snprintf (path, size, "%s/%s", cell->dir, file);
}

void
cell_unique_name (const Cell *cell, const char *part, char *name)
{
  snprintf (name, NAME_SIZE, "/witness-%s-%s-%d", cell->type->name, part, (int)getpid());
}

pid_t
cell_fork (Cell *cell)
{
  pid_t parent = getpid();
  pid_t pid = fork();

  if (pid < 0)
    cell_fail (cell, "cannot fork: %s", strerror (errno));
  if (pid == 0) {
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit (0);
  }
  return pid;
}
