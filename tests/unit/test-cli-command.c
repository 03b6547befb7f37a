/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli-error.h"
#include "command.h"

#include <string.h>

/* Parses words separated by "|". */
static gboolean
parse (const char *line, Command *command, GError **error)
{
  g_auto (GStrv) argv = g_strsplit (line, "|", -1);

  return command_parse (argv, command, error);
}

static void
expect_words (char **words, const char *wanted)
{
  g_autofree char *joined = g_strjoinv ("|", words);

  g_assert_cmpstr (joined, ==, wanted);
}

/* Options of every verb are taken before and after it; the later one wins. */
static void
test_global_options (void)
{
  g_auto (Command) command = COMMAND_NONE;
  g_autoptr (GError) error = NULL;

  g_assert_true (parse ("vmckpt|--store|/a|--json|checkpoint|g1|--store=/b|-q", &command, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (command.verb->name, ==, "checkpoint");
  g_assert_cmpstr (command.global.store, ==, "/b");
  g_assert_true (command.global.json);
  g_assert_true (command.global.quiet);
  expect_words (command.words, "g1");
}

/* What follows "--" is QEMU's for run, and plain arguments elsewhere. */
static void
test_rest (void)
{
  g_auto (Command) run = COMMAND_NONE;
  g_auto (Command) rm = COMMAND_NONE;

  g_assert_true (parse ("vmckpt|run|--disk|a|g1|--disk=b,shared|--|-m|--json", &run, NULL));
  expect_words (run.words, "g1");
  expect_words (run.rest, "-m|--json");
  g_assert_false (run.global.json);
  g_assert_true (parse ("vmckpt|rm|a|--|-b", &rm, NULL));
  expect_words (rm.words, "a|-b");
}

static void
test_verbs_of_two_words (void)
{
  g_auto (Command) command = COMMAND_NONE;
  g_auto (Command) family = COMMAND_NONE;
  g_auto (Command) keys = COMMAND_NONE;
  g_auto (Command) key = COMMAND_NONE;

  g_assert_true (parse ("vmckpt|store|check|--read-data", &command, NULL));
  g_assert_cmpstr (command.verb->name, ==, "store check");
  g_assert_true (parse ("vmckpt|store|--help", &family, NULL));
  g_assert_true (family.family);
  g_assert_true (parse ("vmckpt|store|key|--help", &keys, NULL));
  g_assert_true (keys.family);
  g_assert_true (parse ("vmckpt|store|key|list|--help", &key, NULL));
  g_assert_false (key.family);
  g_assert_cmpstr (key.verb->name, ==, "store key list");
}

/* Each is a usage error, with a text that helps. */
static void
test_usage_errors (void)
{
  static const struct {
    const char *line, *text;
  } cases[] = {
    { "vmckpt", "vmckpt help" },
    { "vmckpt|chekpoint|g1", "did you mean 'checkpoint'?" },
    { "vmckpt|restor", "did you mean 'restore'?" },
    { "vmckpt|store|chek", "did you mean 'store check'?" },
    { "vmckpt|store", "store --help" },
    { "vmckpt|policy|x", "there is no verb 'policy'; see" },
    { "vmckpt|key", "there is no verb 'key'; see" },
    { "vmckpt|ps|--lazy", "ps: Unknown option --lazy; see 'vmckpt ps --help'" },
    { "vmckpt|restore|x|--now", "Unknown option" },
    { "vmckpt|run", "an argument is missing; usage: vmckpt run NAME" },
    { "vmckpt|diff|a|b|c", "too many arguments" },
    { "vmckpt|checkpoint|g|--note|\377", "not UTF-8" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_auto (Command) command = COMMAND_NONE;
    g_autoptr (GError) error = NULL;
    g_assert_false (parse (cases[i].line, &command, &error));
    g_assert_cmpint (cli_error_code (error), ==, CLI_ERROR_USAGE);
    if (strstr (error->message, cases[i].text) == NULL)
      g_error ("%s: '%s' is not in '%s'", cases[i].line, cases[i].text, error->message);
  }
}

static void
assert_narrow (const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);

  for (char **line = lines; *line != NULL; line++) {
    if (g_utf8_strlen (*line, -1) > 80)
      g_error ("wider than 80 columns: %s", *line);
  }
}

static void
test_help_is_narrow_and_complete (void)
{
  g_autofree char *all = help_all();
  g_autofree char *family = help_family();

  assert_narrow (all);
  assert_narrow (family);
  for (const Verb *const *verb = verbs; *verb != NULL; verb++) {
    g_autofree char *help = help_verb (*verb);
    g_autofree char *line = g_strdup_printf ("\n  %s ", (*verb)->name);
    assert_narrow (help);
    g_assert_nonnull (strstr (all, line));
    for (const VerbOption *o = (*verb)->options; o != NULL && o->name != NULL; o++)
      g_assert_nonnull (strstr (help, o->name));
  }
}

static void
test_exit_codes (void)
{
  static const struct {
    const char *kind;
    int status;
  } cases[] = {
    { "failed", 1 },  { "conflict", 1 },     { "usage", 2 },         { "not-found", 3 },
    { "damaged", 4 }, { "not-possible", 5 }, { "interrupted", 130 }, { "unheard-of", 1 }
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpint (cli_error_exit_status (cli_error_from_kind (cases[i].kind)), ==,
                     cases[i].status);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cli-command/global-options", test_global_options);
  g_test_add_func ("/cli-command/rest", test_rest);
  g_test_add_func ("/cli-command/verbs-of-two-words", test_verbs_of_two_words);
  g_test_add_func ("/cli-command/usage-errors", test_usage_errors);
  g_test_add_func ("/cli-command/help-is-narrow-and-complete", test_help_is_narrow_and_complete);
  g_test_add_func ("/cli-command/exit-codes", test_exit_codes);
  return g_test_run();
}
