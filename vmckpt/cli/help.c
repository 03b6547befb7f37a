/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "verb.h"

#include <string.h>

#define NAME_COLUMN 19
#define OPTION_COLUMN 26

static const char *const group_titles[VERB_GROUP_COUNT] = {
  [VERB_GROUP_GUESTS] = "Guests",
  [VERB_GROUP_CHECKPOINTS] = "Checkpoints",
  [VERB_GROUP_STORE] = "Store",
  [VERB_GROUP_OTHER] = "Other",
};

static void
add_options (GString *text, const VerbOption *options)
{
  for (const VerbOption *option = options; option != NULL && option->name != NULL; option++) {
    g_autofree char *letter =
        option->letter != 0 ? g_strdup_printf ("-%c, ", option->letter) : g_strdup ("");
    g_autofree char *left =
        g_strdup_printf ("%s--%s%s%s", letter, option->name, option->value != NULL ? "=" : "",
                         option->value != NULL ? option->value : "");
    g_string_append_printf (text, "  %-*s %s\n", OPTION_COLUMN, left, option->help);
  }
}

static void
add_group (GString *text, VerbGroup group)
{
  g_string_append_printf (text, "\n%s:\n", group_titles[group]);
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    if ((*verb)->group == group)
      g_string_append_printf (text, "  %-*s %s\n", NAME_COLUMN, (*verb)->name, (*verb)->summary);
  }
}

char *
help_family (void)
{
  GString *text = g_string_new ("Usage: vmckpt " VERB_FAMILY " ACTION [OPTION…]\n");

  add_group (text, VERB_GROUP_STORE);
  g_string_append (text, "\n'vmckpt " VERB_FAMILY " ACTION --help' tells more.\n");
  return g_string_free (text, FALSE);
}

char *
help_all (void)
{
  GString *text = g_string_new ("Usage: vmckpt [OPTION…] VERB [ARGUMENT…]\n"
                                "Checkpoints of whole virtual machines: take, keep, restore.\n");

  for (VerbGroup group = 0; group < VERB_GROUP_COUNT; group++)
    add_group (text, group);
  g_string_append (text, "\nOptions of every verb:\n");
  add_options (text, global_options);
  g_string_append_printf (text, "  %-*s %s\n", OPTION_COLUMN, "--version", "show the version");
  g_string_append (text, "\n'vmckpt VERB --help' tells more; vmckpt(1) tells all.\n");
  return g_string_free (text, FALSE);
}

char *
help_verb (const Verb *verb)
{
  GString *text = g_string_new (NULL);

  g_string_append_printf (text, "Usage: vmckpt %s%s%s%s\n%s.\n", verb->name,
                          verb->options != NULL ? " [OPTION…]" : "",
                          verb->arguments[0] != '\0' ? " " : "", verb->arguments, verb->summary);
  if (verb->details != NULL)
    g_string_append_printf (text, "\n%s\n", verb->details);
  if (verb->options != NULL) {
    g_string_append (text, "\nOptions:\n");
    add_options (text, verb->options);
  }
  g_string_append (text, "\nOptions of every verb:\n");
  add_options (text, global_options);
  return g_string_free (text, FALSE);
}
