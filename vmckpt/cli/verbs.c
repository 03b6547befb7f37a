/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli-error.h"
#include "verb.h"

#include <string.h>

const Verb *const verbs[] = {
  &verb_run,
  &verb_ps,
  &verb_log,
  &verb_console,
  &verb_pause,
  &verb_continue,
  &verb_kill,
  &verb_set,
  &verb_migrate,
  &verb_drain,
  &verb_prepare,
  &verb_checkpoint,
  &verb_restore,
  &verb_fork,
  &verb_suspend,
  &verb_resume,
  &verb_export,
  &verb_import,
  &verb_nbd,
  &verb_list,
  &verb_show,
  &verb_diff,
  &verb_inspect,
  &verb_ls,
  &verb_cat,
  &verb_cp,
  &verb_verify,
  &verb_check,
  &verb_tag,
  &verb_rm,
  &verb_forget,
  &verb_store_init,
  &verb_store_key_list,
  &verb_store_key_add,
  &verb_store_key_remove,
  &verb_store_key_passwd,
  &verb_store_key_generate,
  &verb_store_check,
  &verb_store_gc,
  &verb_store_stats,
  &verb_store_quota,
  &verb_store_repair,
  &verb_store_copy,
  &verb_doctor,
  &verb_completion,
  &verb_help,
  NULL,
};

#define VALUE(member) G_STRUCT_OFFSET (GlobalValues, member)
const VerbOption global_options[] = {
  { "store", 0, G_OPTION_ARG_FILENAME, VALUE (store), "DIR", "the store (or VMCKPT_STORE)" },
  { "runtime", 0, G_OPTION_ARG_FILENAME, VALUE (runtime), "DIR",
    "the daemon's directory (or VMCKPT_RUNTIME)" },
  { "key-file", 0, G_OPTION_ARG_FILENAME, VALUE (key_file), "FILE",
    "an encrypted store's key (or VMCKPT_KEY_FILE)" },
  { "password-file", 0, G_OPTION_ARG_FILENAME, VALUE (password_file), "FILE",
    "its password (or VMCKPT_PASSWORD_FILE)" },
  { "json", 0, G_OPTION_ARG_NONE, VALUE (json), NULL, "JSON, one object per line" },
  { "quiet", 'q', G_OPTION_ARG_NONE, VALUE (quiet), NULL, "print only the result" },
  { "help", 'h', G_OPTION_ARG_NONE, VALUE (help), NULL, "show help" },
  { NULL },
};
#undef VALUE

/* Edits that make @b of @a (Levenshtein). */
static guint
edit_distance (const char *a, const char *b)
{
  gsize len = strlen (b);
  g_autofree guint *row = g_new (guint, len + 1);

  for (gsize j = 0; j <= len; j++)
    row[j] = j;
  for (gsize i = 1; a[i - 1] != '\0'; i++) {
    guint diagonal = row[0];
    row[0] = i;
    for (gsize j = 1; j <= len; j++) {
      guint above = row[j];
      guint replaced = diagonal + (a[i - 1] != b[j - 1]);
      row[j] = MIN (MIN (above, row[j - 1]) + 1, replaced);
      diagonal = above;
    }
  }
  return row[len];
}

/* The verb whose name is nearest to @word, which is bounded; NULL if none is near. */
static const char *
nearest_name (const char *word)
{
  guint best = 3; /* so many edits are another word */
  const char *name = NULL;

  if (strlen (word) > 32)
    return NULL;
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    guint distance = edit_distance (word, (*verb)->name);
    if (g_str_has_prefix ((*verb)->name, word))
      distance = 1;
    if (distance < best && 2 * distance <= strlen (word)) {
      best = distance;
      name = (*verb)->name;
    }
  }
  return name;
}

/* How many of @words are the name of a verb: 0 if they are another's. */
static guint
words_of_name (const char *name, char **words)
{
  g_auto (GStrv) parts = g_strsplit (name, " ", -1);
  guint n = 0;

  for (; parts[n] != NULL; n++)
    if (words[n] == NULL || !g_str_equal (parts[n], words[n]))
      return 0;
  return n;
}

/* The words that a verb which does not exist may have been meant with: as many as there are, and as
 * its family has. */
static char *
wanted_name (char **words)
{
  guint most = !g_str_equal (words[0], VERB_FAMILY)                              ? 1
               : words[1] != NULL && g_str_equal (words[1], VERB_FAMILY_OF_KEYS) ? 3
                                                                                 : 2;
  g_autoptr (GString) name = g_string_new (words[0]);

  for (guint i = 1; i < most && words[i] != NULL && words[i][0] != '-'; i++)
    g_string_append_printf (name, " %s", words[i]);
  return g_string_free (g_steal_pointer (&name), FALSE);
}

guint
verb_family_words (char **words)
{
  if (words[0] == NULL || !g_str_equal (words[0], VERB_FAMILY))
    return 0;
  return words[1] != NULL && g_str_equal (words[1], VERB_FAMILY_OF_KEYS) ? 2 : 1;
}

const Verb *
verb_find (char **words, guint *used, GError **error)
{
  g_autofree char *wanted = wanted_name (words);

  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    *used = words_of_name ((*verb)->name, words);
    if (*used > 0)
      return *verb;
  }
  if (g_str_equal (wanted, VERB_FAMILY) ||
      g_str_equal (wanted, VERB_FAMILY " " VERB_FAMILY_OF_KEYS)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                 "%s: what is to be done with it? See 'vmckpt " VERB_FAMILY " --help'", wanted);
    return NULL;
  }
  const char *near = nearest_name (wanted);
  g_autofree char *hint =
      near != NULL ? g_strdup_printf ("did you mean '%s'?", near) : g_strdup ("see 'vmckpt help'");
  g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "there is no verb '%s'; %s", wanted, hint);
  return NULL;
}
