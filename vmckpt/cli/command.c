/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "command.h"

#include "cli-error.h"

#include <string.h>

/* Frees the option values at @base that are allocated, and zeroes them. */
static void
clear_values (const VerbOption *options, gpointer base)
{
  for (const VerbOption *option = options; option != NULL && option->name != NULL; option++) {
    gpointer *value = G_STRUCT_MEMBER_P (base, option->offset);
    if (option->arg == G_OPTION_ARG_FILENAME)
      g_clear_pointer (value, g_free);
    else if (option->arg == G_OPTION_ARG_FILENAME_ARRAY)
      g_clear_pointer (value, g_strfreev);
  }
}

void
command_clear (Command *command)
{
  clear_values (global_options, &command->global);
  if (command->verb != NULL && command->values != NULL)
    clear_values (command->verb->options, command->values);
  g_free (command->values);
  g_strfreev (command->words);
  g_strfreev (command->rest);
  *command = COMMAND_NONE;
}

/* Adds @options with their values at @base. GLib keeps the strings, not the entries. */
static void
add_options (GOptionContext *context, const VerbOption *options, gpointer base)
{
  for (const VerbOption *option = options; option != NULL && option->name != NULL; option++) {
    GOptionEntry entries[2] = { { .long_name = option->name,
                                  .short_name = option->letter,
                                  .arg = option->arg,
                                  .arg_data = G_STRUCT_MEMBER_P (base, option->offset) },
                                { NULL } };
    g_option_context_add_main_entries (context, entries, NULL);
  }
}

/* Arguments are UTF-8: others could not go into JSON. */
static gboolean
check_words (char **words, GError **error)
{
  for (; words != NULL && *words != NULL; words++) {
    if (!g_utf8_validate (*words, -1, NULL)) {
      g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, "an argument is not UTF-8");
      return FALSE;
    }
  }
  return TRUE;
}

/* Options given after the verb win over those before it. */
static void
merge_globals (GlobalValues *into, GlobalValues *later)
{
  if (later->store != NULL) {
    g_free (into->store);
    into->store = g_steal_pointer (&later->store);
  }
  if (later->runtime != NULL) {
    g_free (into->runtime);
    into->runtime = g_steal_pointer (&later->runtime);
  }
  if (later->key_file != NULL) {
    g_free (into->key_file);
    into->key_file = g_steal_pointer (&later->key_file);
  }
  if (later->password_file != NULL) {
    g_free (into->password_file);
    into->password_file = g_steal_pointer (&later->password_file);
  }
  into->json |= later->json;
  into->quiet |= later->quiet;
  into->help |= later->help;
}

/* Parses the options before the verb; leaves the verb's words in @words (with a program name). */
static gboolean
parse_before (Command *command, GStrv *words, GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  GOptionEntry version[2] = { { .long_name = "version", .arg_data = &command->version }, { NULL } };

  g_option_context_set_help_enabled (context, FALSE);
  g_option_context_set_strict_posix (context, TRUE);
  add_options (context, global_options, &command->global);
  g_option_context_add_main_entries (context, version, NULL);
  return g_option_context_parse_strv (context, words, error);
}

/* Parses the verb's options among @words, whose first is taken as a program name. */
static gboolean
parse_verb (Command *command, GStrv *words, GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  GlobalValues later = { 0 };
  gboolean parsed;

  command->values = g_malloc0 (MAX (command->verb->values_size, 1));
  g_option_context_set_help_enabled (context, FALSE);
  add_options (context, global_options, &later);
  add_options (context, command->verb->options, command->values);
  parsed = g_option_context_parse_strv (context, words, error);
  merge_globals (&command->global, &later);
  clear_values (global_options, &later);
  if (!parsed && error != NULL) {
    g_autofree char *reason = g_strdup ((*error)->message);
    g_clear_error (error);
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "%s: %s; see 'vmckpt %s --help'",
                 command->verb->name, reason, command->verb->name);
  }
  return parsed;
}

/* Takes what comes after "--" out of @words. */
static GStrv
take_rest (GStrv words)
{
  for (guint i = 0; words[i] != NULL; i++) {
    if (g_str_equal (words[i], "--")) {
      GStrv rest = g_strdupv (words + i + 1);
      for (guint j = i; words[j] != NULL; j++)
        g_clear_pointer (&words[j], g_free);
      return rest;
    }
  }
  return g_new0 (char *, 1);
}

/* Drops the first @count words. */
static void
drop_words (GStrv words, guint count)
{
  guint len = g_strv_length (words);

  for (guint i = 0; i < count; i++)
    g_free (words[i]);
  memmove (words, words + count, (len - count + 1) * sizeof *words);
}

/* Without a use of its own for "--", a verb takes what follows as arguments. */
static void
join_rest (Command *command)
{
  g_autoptr (GStrvBuilder) all = g_strv_builder_new();

  g_strv_builder_addv (all, (const char **)command->words);
  g_strv_builder_addv (all, (const char **)command->rest);
  g_strfreev (command->words);
  command->words = g_strv_builder_end (all);
  g_strfreev (command->rest);
  command->rest = g_new0 (char *, 1);
}

static gboolean
check_count (const Command *command, GError **error)
{
  const Verb *verb = command->verb;
  guint count = g_strv_length (command->words);
  gboolean ok = count >= verb->min_args && count <= verb->max_args;

  if (!ok)
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "%s: %s; usage: vmckpt %s %s", verb->name,
                 count < verb->min_args ? "an argument is missing" : "too many arguments",
                 verb->name, verb->arguments);
  return ok;
}

static gboolean
is_help (const char *word)
{
  return g_strcmp0 (word, "--help") == 0 || g_strcmp0 (word, "-h") == 0;
}

gboolean
command_parse (char **argv, Command *command, GError **error)
{
  g_auto (GStrv) words = g_strdupv (argv);
  g_autoptr (GError) no_text = NULL;
  guint used = 0;

  command->rest = take_rest (words);
  /* A verb may take a guest's file names, which are any bytes. */
  gboolean text = check_words (words, &no_text);
  if (!check_words (command->rest, error) || !parse_before (command, &words, error))
    return FALSE;
  if (command->version || (words[1] == NULL && command->global.help))
    return TRUE;
  if (words[1] == NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "what is to be done? See 'vmckpt help'");
    return FALSE;
  }
  guint family = verb_family_words (words + 1);
  command->family = family > 0 && (words[1 + family] != NULL ? is_help (words[1 + family])
                                                             : command->global.help);
  if (command->family)
    return command->global.help = TRUE;
  command->verb = verb_find (words + 1, &used, error);
  if (command->verb == NULL)
    return FALSE;
  if (!text && !command->verb->takes_bytes) {
    g_propagate_error (error, g_steal_pointer (&no_text));
    return FALSE;
  }
  drop_words (words, used);
  if (!parse_verb (command, &words, error))
    return FALSE;
  drop_words (words, 1);
  command->words = g_steal_pointer (&words);
  if (!command->verb->takes_rest)
    join_rest (command);
  return command->global.help || check_count (command, error);
}
