/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line, parsed: global options, the verb, its options and arguments. */
#pragma once

#include "verb.h"

typedef struct {
  GlobalValues global;
  gboolean version;
  gboolean family;  /* help of the verbs of two words is wanted */
  const Verb *verb; /* NULL with help (of all) or version */
  gpointer values;  /* the verb's option values */
  GStrv words;      /* arguments that are not options */
  GStrv rest;       /* what came after "--" */
} Command;

#define COMMAND_NONE ((Command){ 0 })

/**
 * command_parse:
 * @argv: the program's arguments, ended by NULL; the first is its name
 * @command: (out): what they say
 *
 * Returns: FALSE with @error (CLI_ERROR_USAGE); @command holds what was understood and is to be
 * cleared in any case.
 */
gboolean command_parse (char **argv, Command *command, GError **error);
void command_clear (Command *command);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Command, command_clear)
