/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disks.h"

#include "cells/cells.h"

#include <stdio.h>
#include <string.h>

static const CellType *const kinds[] = { &cell_disk_blocks, &cell_disk_journal, &cell_disk_order };

static const CellType *
kind_find (const char *name, size_t length)
{
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (strlen (kinds[i]->name) == length && strncmp (kinds[i]->name, name, length) == 0)
      return kinds[i];
  return NULL;
}

/* Reads one word, KIND:DISK. */
static bool
word_parse (const char *word, size_t length, DiskCell *cell)
{
  const char *colon = memchr (word, ':', length);
  const CellType *kind = colon ? kind_find (word, (size_t)(colon - word)) : NULL;
  size_t rest = colon ? length - (size_t)(colon - word) - 1 : 0;

  if (!kind || rest == 0 || length >= NAME_SIZE)
    return false;
  snprintf (cell->on, sizeof cell->on, "%.*s", (int)rest, colon + 1);
  snprintf (cell->name, sizeof cell->name, "%.*s", (int)length, word);
  for (char *at = cell->name; *at; at++)
    if (*at == ':' || *at == '+')
      *at = '-';
  cell->type = *kind;
  cell->type.name = cell->name;
  cell->type.on = cell->on;
  return true;
}

size_t
disks_parse (const char *list, DiskCell *cells)
{
  size_t n = 0;

  while (*list) {
    DiskCell scratch;
    size_t length = strcspn (list, ",");
    if (n == DISKS_MAX || !word_parse (list, length, cells ? &cells[n] : &scratch))
      return 0;
    n++;
    list += length + (list[length] == ',');
  }
  return n;
}

bool
disks_name_known (const char *name)
{
  return kind_find (name, strcspn (name, "-")) != NULL;
}
