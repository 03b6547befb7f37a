/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt log: what a guest wrote to its serial port. */
#include "cli-error.h"
#include "verb.h"

#include <unistd.h>

typedef struct {
  gboolean follow;
} LogValues;

static const VerbOption log_options[] = {
  { "follow", 'f', G_OPTION_ARG_NONE, G_STRUCT_OFFSET (LogValues, follow), NULL,
    "go on until the guest ends" },
  { NULL },
};

typedef struct {
  Output *out;
  gboolean mid_line; /* the last byte was no newline */
} LogCopy;

/* The log is the guest's, byte by byte. */
static gboolean
copy_piece (gconstpointer data, gsize len, gpointer user_data)
{
  LogCopy *copy = user_data;

  copy->mid_line = ((const char *)data)[len - 1] != '\n';
  return output_write (copy->out, data, len);
}

/* A domain that is no guest yet becomes one. */
static gboolean
copy_log (Cli *cli, const char *name, GString *path, const LogValues *values, LogCopy *copy,
          GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) guest = NULL;
  g_autoptr (GString) guest_path = cli_guest_path (name, NULL);

  if (api_copy_text (cli->api, path, values->follow, copy_piece, copy, &cause))
    return TRUE;
  if (!g_error_matches (cause, CLI_ERROR, CLI_ERROR_NOT_FOUND) ||
      (guest = api_call (cli->api, "GET", guest_path, NULL, NULL)) == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  return cli_attach (cli, guest, error) &&
         api_copy_text (cli->api, path, values->follow, copy_piece, copy, error);
}

static gboolean
run_log (Cli *cli, const VerbCall *call, GError **error)
{
  const LogValues *values = call->values;
  g_autoptr (GString) path = cli_guest_path (call->args[0], "log");

  api_path_add (path, "follow", values->follow ? "true" : "false");
  LogCopy copy = { .out = cli->out };
  gboolean copied = copy_log (cli, call->args[0], path, values, &copy, error);
  /* On a terminal, what is said next begins a line of its own. */
  if (copy.mid_line && isatty (cli->out->fd))
    output_line (cli->out, "");
  if (!copied)
    return FALSE;
  /* The end of the text is the guest's end, unless the daemon has ended. */
  if (!values->follow || cli->out->closed || cli_guest_has_ended (cli, call->args[0]))
    return TRUE;
  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
               "log of %s: the daemon has ended; the guest runs on, try again", call->args[0]);
  return FALSE;
}

const Verb verb_log = {
  .name = "log",
  .arguments = "NAME",
  .summary = "Show the serial output of a guest",
  .group = VERB_GROUP_GUESTS,
  .options = log_options,
  .values_size = sizeof (LogValues),
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; the guest runs on",
  .run = run_log,
};
