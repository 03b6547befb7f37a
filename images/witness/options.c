/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include "say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every option: where its value goes and how large it may be. */
typedef struct {
  const char *name;
  enum { FLAG, NUMBER, MILLISECONDS, TEXT, DISKS } kind;
  size_t offset;
  uint64_t most;
} Option;

#define AT(field) offsetof (Options, field)

static const Option table[] = {
  { "guest", FLAG, AT (guest), 1 },
  { "list", FLAG, AT (list), 1 },
  { "off", FLAG, AT (off), 1 },
  { "once", NUMBER, AT (rounds), 1000000 },
  { "report", MILLISECONDS, AT (report_ms), 3600000 },
  { "pace", NUMBER, AT (pace_ms), 10000 },
  { "cells", TEXT, AT (cells), 0 },
  { "break", TEXT, AT (broken), 0 },
  { "fill", NUMBER, AT (load.fill_mib), 1 << 24 },
  { "dirty", NUMBER, AT (load.dirty_mib_s), 1 << 20 },
  { "touch", NUMBER, AT (load.touch_mib_s), 1 << 20 },
  { "sweep", NUMBER, AT (load.sweep_mib_s), 1 << 20 },
  { "disk", DISKS, AT (disks), 0 },
  { "disk-rate", NUMBER, AT (disk_rate), 1000000 },
  { "disk-depth", NUMBER, AT (disk_depth), DISK_DEPTH_MAX },
  { "disk-mib", NUMBER, AT (disk_mib), 1 << 20 },
  { "work", NUMBER, AT (work_mib), 1 << 24 },
  { "workers", NUMBER, AT (workers), WORKERS_MAX },
  { "compress", NUMBER, AT (load.compress), 100 },
  { "seed", NUMBER, AT (load.seed), UINT64_MAX },
};

void
options_init (Options *options)
{
  *options = (Options){ .report_ms = 1000,
                        .pace_ms = 100,
                        .workers = 1,
                        .disk_rate = 100,
                        .disk_depth = 4,
                        .disk_mib = 8,
                        .load = { .sweep_mib_s = 4, .seed = 1 } };
}

bool
options_names (const char *list, const char *name)
{
  size_t length = strlen (name);

  for (const char *at = list; at; at = strchr (at, ',') ? strchr (at, ',') + 1 : NULL)
    if (strncmp (at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
      return true;
  return false;
}

/* True if every word of @list is a cell of the table, or one of the two other things that can be
 * broken. */
static bool
names_known (const char *list)
{
  char copy[LIST_SIZE], *rest = NULL;

  snprintf (copy, sizeof copy, "%s", list);
  for (char *word = strtok_r (copy, ",", &rest); word; word = strtok_r (NULL, ",", &rest)) {
    bool known =
        strcmp (word, "all-in-turn") == 0 || strcmp (word, "load") == 0 || disks_name_known (word);
    for (size_t i = 0; i < cell_table_size && !known; i++)
      known = strcmp (word, cell_table[i]->name) == 0;
    if (!known)
      return false;
  }
  return list[0] != '\0';
}

/* Stores @value for @option; false if it is not a value of its kind. */
static bool
option_set (Options *options, const Option *option, const char *value)
{
  char *at = (char *)options + option->offset, *end = NULL;

  if (option->kind == FLAG) {
    *(bool *)at = true;
    return true;
  }
  if (option->kind == TEXT || option->kind == DISKS) {
    if (strlen (value) >= LIST_SIZE ||
        !(option->kind == TEXT ? names_known (value) : disks_parse (value, NULL) > 0))
      return false;
    memcpy (at, value, strlen (value) + 1);
    return true;
  }
  if (option->kind == MILLISECONDS) {
    double seconds = strtod (value, &end);
    if (end == value || *end || !(seconds >= 0.01 && seconds * 1000 <= (double)option->most))
      return false;
    *(uint64_t *)at = (uint64_t)(seconds * 1000);
    return true;
  }
  errno = 0;
  unsigned long long number = strtoull (value, &end, 10);
  if (end == value || *end || *value == '-' || errno || number > option->most)
    return false;
  *(uint64_t *)at = number;
  return true;
}

static const Option *
option_find (const char *name, size_t length)
{
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (strlen (table[i].name) == length && strncmp (table[i].name, name, length) == 0)
      return &table[i];
  return NULL;
}

bool
options_from_arguments (Options *options, int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    const Option *option =
        strncmp (argv[i], "--", 2) == 0 ? option_find (argv[i] + 2, strlen (argv[i] + 2)) : NULL;
    const char *value = "";

    if (option && option->kind != FLAG)
      value = i + 1 < argc ? argv[++i] : "";
    if (!option || !option_set (options, option, value)) {
      fprintf (stderr, "witness: %s %s is not an option; see images/README.md\n",
               option ? option->name : argv[i], value);
      return false;
    }
  }
  return true;
}

void
options_from_kernel (Options *options)
{
  char line[4096] = "", *rest = NULL;
  FILE *file = fopen ("/proc/cmdline", "re");

  if (!file)
    return;
  if (!fgets (line, sizeof line, file))
    line[0] = '\0';
  fclose (file);
  for (char *word = strtok_r (line, " \n", &rest); word; word = strtok_r (NULL, " \n", &rest)) {
    if (strncmp (word, "witness.", 8) != 0)
      continue;
    const char *value = strchr (word, '=');
    size_t length = value ? (size_t)(value - word) : strlen (word);
    const Option *option = option_find (word + 8, length - 8);
    if (!option || !option_set (options, option, value ? value + 1 : ""))
      say ("witness option %s is not known or has a bad value", word);
  }
}
