/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "program.h"

#include "cli-error.h"
#include "command.h"

#include <string.h>
#include <unistd.h>

/* The option, else the environment, else NULL; an empty one counts as not given. */
static const char *
given_or_environment (const char *given, const char *variable)
{
  const char *value = given != NULL ? given : g_getenv (variable);
  return value != NULL && *value != '\0' ? value : NULL;
}

static gboolean
choose_store (const Command *command, char **store, GError **error)
{
  const char *given = given_or_environment (command->global.store, "VMCKPT_STORE");

  if (given == NULL)
    return TRUE;
  if (strstr (given, "://") != NULL) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                 "the store %s is not a directory: only directories can be stores", given);
    return FALSE;
  }
  *store = cli_absolute (given, error);
  return *store != NULL;
}

static gboolean
choose_runtime (const Command *command, char **runtime, GError **error)
{
  const char *given = given_or_environment (command->global.runtime, "VMCKPT_RUNTIME");
  const char *user = given_or_environment (NULL, "XDG_RUNTIME_DIR");

  if (given != NULL) {
    *runtime = cli_absolute (given, error);
  } else if (getuid() == 0) {
    *runtime = g_strdup ("/run/vmckpt");
  } else if (user != NULL) {
    *runtime = g_build_filename (user, "vmckpt", NULL);
  } else {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "where is the daemon? Give --runtime DIR or VMCKPT_RUNTIME "
                         "(XDG_RUNTIME_DIR is not set)");
  }
  return *runtime != NULL;
}

/* VMCKPT_KEY_FILE, then VMCKPT_PASSWORD_FILE, hold where no option says so. */
static KeySource
choose_key (const Command *command, const ProgramSetup *setup)
{
  KeySource source = { .password_file = command->global.password_file, .ask = setup->ask };

  source.key_file = given_or_environment (command->global.key_file,
                                          source.password_file == NULL ? "VMCKPT_KEY_FILE" : "");
  if (source.key_file == NULL)
    source.password_file = given_or_environment (source.password_file, "VMCKPT_PASSWORD_FILE");
  return source;
}

/* ApiKeyFunc. */
static KeyMaterial *
get_key (gpointer user_data, gboolean refused, GError **error)
{
  const KeySource *source = user_data;

  if (!refused)
    return key_source_read (source, error);
  return source->ask != NULL ? key_source_ask (source, error) : NULL;
}

static gboolean
run_verb (Cli *cli, const Command *command, const ProgramSetup *setup, GError **error)
{
  g_autofree char *store = NULL;
  g_autofree char *runtime = NULL;
  g_autoptr (Api) api = NULL;
  const VerbCall call = { .values = command->values,
                          .args = command->words,
                          .n_args = g_strv_length (command->words),
                          .rest = command->rest };

  if (!command->verb->offline) {
    if (!choose_store (command, &store, error) || !choose_runtime (command, &runtime, error))
      return FALSE;
    api = api_new (runtime, setup->start, setup->cancellable, error);
    if (api == NULL)
      return FALSE;
  }
  cli->keys = choose_key (command, setup);
  if (api != NULL)
    api_set_key_func (api, get_key, &cli->keys);
  cli->store = store;
  cli->runtime = runtime;
  cli->api = api;
  cli->interrupted = command->verb->interrupted;
  return command->verb->run (cli, &call, error);
}

static gboolean
act (Cli *cli, const Command *command, const ProgramSetup *setup, GError **error)
{
  g_autofree char *text = NULL;

  if (command->version)
    text = g_strdup ("vmckpt " VMCKPT_VERSION "\n");
  else if (command->global.help)
    text = command->family         ? help_family()
           : command->verb != NULL ? help_verb (command->verb)
                                   : help_all();
  else
    return run_verb (cli, command, setup, error);
  output_print (cli->out, "%s", text);
  return TRUE;
}

int
program_run (char **argv, const ProgramSetup *setup)
{
  g_auto (Output) out = { .fd = setup->out_fd };
  g_auto (Output) err = { .fd = setup->err_fd };
  g_auto (Command) command = COMMAND_NONE;
  g_autoptr (GError) error = NULL;
  Cli cli = { .cancellable = setup->cancellable, .out = &out, .err = &err };
  gboolean understood = command_parse (argv, &command, &error);

  cli.json = command.global.json;
  cli.quiet = command.global.quiet;
  if (!understood || !act (&cli, &command, setup, &error))
    cli_report (&cli, error);
  if (cli.status == 0 && out.fault != NULL)
    cli_report (&cli, out.fault);
  return cli.status;
}
