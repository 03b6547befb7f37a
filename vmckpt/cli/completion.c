/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Completion scripts, made from the table of verbs so that they cannot fall behind it. */
#include "cli-error.h"
#include "verb.h"

#include <string.h>

#define FISH_QUOTE "\\'"
#define ZSH_QUOTE "'\\''"

#define KEY_FAMILY VERB_FAMILY " " VERB_FAMILY_OF_KEYS

/* Calls @func for each option of @options. */
static void
each_option (GString *text, const Verb *verb, const VerbOption *options,
             void (*func) (GString *text, const Verb *verb, const VerbOption *option))
{
  for (; options != NULL && options->name != NULL; options++)
    func (text, verb, options);
}

static gboolean
takes_file (const VerbOption *option)
{
  return option->value != NULL &&
         (g_str_has_prefix (option->value, "FILE") || g_str_equal (option->value, "PROGRAM") ||
          g_str_equal (option->value, "DIR"));
}

/* @text within single quotes, where @quote stands for one. */
static char *
within_quotes (const char *text, const char *quote)
{
  g_auto (GStrv) pieces = g_strsplit (text, "'", -1);

  return g_strjoinv (quote, pieces);
}

/* The first words of the verbs, each once, then after @separator the next. */
static void
add_first_words (GString *text)
{
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    if (strchr ((*verb)->name, ' ') == NULL)
      g_string_append_printf (text, " %s", (*verb)->name);
  }
  g_string_append (text, " store");
}

/* The words that follow @family ("store ") in the verbs' names, each once. */
static void
add_next_words (GString *text, const char *family)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    if (!g_str_has_prefix ((*verb)->name, family))
      continue;
    const char *rest = (*verb)->name + strlen (family);
    g_autofree char *word = g_strndup (rest, strcspn (rest, " "));
    if (!g_hash_table_contains (seen, word)) {
      g_string_append_printf (text, " %s", word);
      g_hash_table_add (seen, g_steal_pointer (&word));
    }
  }
}

static void
add_bash_option (GString *text, const Verb *verb, const VerbOption *option)
{
  g_string_append_printf (text, " --%s%s", option->name, option->value != NULL ? "=" : "");
}

static char *
bash_script (void)
{
  GString *text = g_string_new ("# bash completion for vmckpt; made by 'vmckpt completion bash'\n"
                                "_vmckpt() {\n"
                                "  local cur=$2 verb='' skip='' word i\n"
                                "  local options=\"");

  each_option (text, NULL, global_options, add_bash_option);
  g_string_append (text, " --version\"\n  local verbs=\"");
  add_first_words (text);
  /* bash takes "--store=DIR" for three words. */
  g_string_append (text,
                   "\"\n"
                   "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                   "    word=${COMP_WORDS[i]}\n"
                   "    case $skip$word in\n"
                   "    --store|--runtime|--key-file|--password-file) skip=skip: ;;\n"
                   "    skip:=|-*) ;;\n"
                   "    skip:*) skip='' ;;\n"
                   "    *) if [[ -z $verb ]]; then verb=$word\n"
                   "       elif [[ $verb = " VERB_FAMILY " || $verb = \"" KEY_FAMILY "\" ]]; then\n"
                   "         verb=\"$verb $word\"\n"
                   "       fi ;;\n"
                   "    esac\n"
                   "  done\n"
                   "  case $verb in\n"
                   "  ''|help) options+=$verbs ;;\n"
                   "  completion) options+=\" bash zsh fish\" ;;\n"
                   "  " VERB_FAMILY ") options+=\"");
  add_next_words (text, VERB_FAMILY " ");
  g_string_append (text, "\" ;;\n  '" KEY_FAMILY "') options+=\"");
  add_next_words (text, KEY_FAMILY " ");
  g_string_append (text, "\" ;;\n");
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    if ((*verb)->options == NULL)
      continue;
    g_string_append_printf (text, "  '%s') options+=\"", (*verb)->name);
    each_option (text, *verb, (*verb)->options, add_bash_option);
    g_string_append (text, "\" ;;\n");
  }
  g_string_append (text, "  esac\n"
                         "  mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
                         "  [[ ${COMPREPLY[*]} = *= ]] && compopt -o nospace\n"
                         "  return 0\n"
                         "}\n"
                         "complete -o default -F _vmckpt vmckpt\n");
  return g_string_free (text, FALSE);
}

/* "verb1 verb2" of "verb2" is what must have been typed. */
static void
add_fish_option (GString *text, const Verb *verb, const VerbOption *option)
{
  g_autofree char *help = within_quotes (option->help, FISH_QUOTE);

  g_string_append (text, "complete -c vmckpt");
  if (verb != NULL) {
    g_auto (GStrv) words = g_strsplit (verb->name, " ", -1);
    g_autofree char *seen = g_strjoinv ("; and __fish_seen_subcommand_from ", words);
    g_string_append_printf (text, " -n '__fish_seen_subcommand_from %s'", seen);
  }
  if (option->letter != 0)
    g_string_append_printf (text, " -s %c", option->letter);
  g_string_append_printf (text, " -l %s%s -d '%s'\n", option->name,
                          option->value == NULL ? ""
                          : takes_file (option) ? " -rF"
                                                : " -x",
                          help);
}

static char *
fish_script (void)
{
  GString *text =
      g_string_new ("# fish completion for vmckpt; made by 'vmckpt completion fish'\n"
                    "complete -c vmckpt -f\n"
                    "complete -c vmckpt -n __fish_use_subcommand -a store -d 'The store'\n"
                    "complete -c vmckpt -n '__fish_seen_subcommand_from store' -a key -d 'Its "
                    "keys'\n"
                    "complete -c vmckpt -n __fish_use_subcommand -l version -d 'Version'\n"
                    "complete -c vmckpt -n '__fish_seen_subcommand_from completion' "
                    "-a 'bash zsh fish'\n");

  each_option (text, NULL, global_options, add_fish_option);
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    const char *last = strrchr ((*verb)->name, ' ');
    g_autofree char *summary = within_quotes ((*verb)->summary, FISH_QUOTE);
    g_string_append_printf (
        text, "complete -c vmckpt -n %s -a %s -d '%s'\n",
        g_str_has_prefix ((*verb)->name, KEY_FAMILY " ")
            ? "'__fish_seen_subcommand_from store; and __fish_seen_subcommand_from key'"
        : last != NULL ? "'__fish_seen_subcommand_from store'"
                       : "__fish_use_subcommand",
        last != NULL ? last + 1 : (*verb)->name, summary);
    each_option (text, *verb, (*verb)->options, add_fish_option);
  }
  return g_string_free (text, FALSE);
}

static void
add_zsh_option (GString *text, const Verb *verb, const VerbOption *option)
{
  g_autofree char *help = within_quotes (option->help, ZSH_QUOTE);

  g_string_append_printf (text, " '--%s%s[%s]%s'", option->name, option->value != NULL ? "=" : "",
                          help,
                          option->value == NULL ? ""
                          : takes_file (option) ? ":file:_files"
                                                : ":value:");
}

static char *
zsh_script (void)
{
  GString *text = g_string_new ("#compdef vmckpt\n"
                                "# zsh completion for vmckpt; made by 'vmckpt completion zsh'\n"
                                "_vmckpt() {\n"
                                "  local verb=${words[(r)[a-z]*,-1]}\n"
                                "  local -a options\n"
                                "  options=(");

  each_option (text, NULL, global_options, add_zsh_option);
  g_string_append (text, " '--version[show the version]')\n"
                         "  verb=${${(@)words[2,CURRENT-1]:#-*}[1]}\n"
                         "  [[ $verb = store ]] && "
                         "verb=\"store ${${(@)words[2,CURRENT-1]:#-*}[2]}\"\n"
                         "  [[ $verb = '" KEY_FAMILY "' ]] && "
                         "verb=\"" KEY_FAMILY " ${${(@)words[2,CURRENT-1]:#-*}[3]}\"\n"
                         "  case $verb in\n"
                         "  ''|help) options+=('*:verb:(");
  add_first_words (text);
  g_string_append (text, ")') ;;\n"
                         "  'completion') options+=('*:shell:(bash zsh fish)') ;;\n"
                         "  'store ') options+=('*:action:(");
  add_next_words (text, VERB_FAMILY " ");
  g_string_append (text, ")') ;;\n  '" KEY_FAMILY " ') options+=('*:action:(");
  add_next_words (text, KEY_FAMILY " ");
  g_string_append (text, ")') ;;\n");
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    if ((*verb)->options == NULL)
      continue;
    g_string_append_printf (text, "  '%s') options+=(", (*verb)->name);
    each_option (text, *verb, (*verb)->options, add_zsh_option);
    g_string_append (text, ") ;;\n");
  }
  g_string_append (text, "  esac\n"
                         "  _arguments $options\n"
                         "}\n"
                         "_vmckpt \"$@\"\n");
  return g_string_free (text, FALSE);
}

char *
completion_script (const char *shell, GError **error)
{
  if (g_str_equal (shell, "bash"))
    return bash_script();
  if (g_str_equal (shell, "zsh"))
    return zsh_script();
  if (g_str_equal (shell, "fish"))
    return fish_script();
  g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
               "completion: no script for '%s'; there are bash, zsh and fish", shell);
  return NULL;
}
