/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt log: what a guest wrote to its serial port. */
#include "verb.h"

typedef struct {
  gboolean follow;
} LogValues;

static const VerbOption log_options[] = {
  { "follow", 'f', G_OPTION_ARG_NONE, G_STRUCT_OFFSET (LogValues, follow), NULL,
    "go on until the guest ends" },
  { NULL },
};

/* The log is the guest's, byte by byte. */
static gboolean
copy_piece (gconstpointer data, gsize len, gpointer out)
{
  return output_write (out, data, len);
}

static gboolean
run_log (Cli *cli, const VerbCall *call, GError **error)
{
  const LogValues *values = call->values;
  g_autoptr (GString) path = cli_guest_path (call->args[0], "log");

  api_path_add (path, "follow", values->follow ? "true" : "false");
  return api_copy_text (cli->api, path, values->follow, copy_piece, cli->out, error);
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
  .run = run_log,
};
