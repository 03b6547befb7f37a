/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store stats. */
#include "cli-format.h"
#include "verb.h"

typedef struct {
  gboolean unused;
} StatsValues;

static const VerbOption stats_options[] = {
  { "unused", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (StatsValues, unused), NULL,
    "also find out how much is not needed" },
  { NULL },
};

static void
print_stat (Cli *cli, const char *title, char *text)
{
  output_print (cli->out, "%-12s %12s\n", title, text);
  g_free (text);
}

static gboolean
run_stats (Cli *cli, const VerbCall *call, GError **error)
{
  const StatsValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "stats", NULL);
  g_autoptr (JsonObject) stats = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  api_path_add (path, "unused", values->unused ? "true" : "false");
  stats = api_call (cli->api, "GET", path, NULL, error);
  if (stats == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, stats);
    return TRUE;
  }
  print_stat (cli, "checkpoints", format_count_member (stats, "checkpoints"));
  print_stat (cli, "logical", format_size_member (stats, "logical_bytes"));
  print_stat (cli, "chunks", format_count_member (stats, "chunks"));
  print_stat (cli, "chunk data", format_size_member (stats, "chunk_bytes"));
  print_stat (cli, "packs", format_count_member (stats, "packs"));
  print_stat (cli, "pack files", format_size_member (stats, "pack_bytes"));
  print_stat (cli, "other files", format_size_member (stats, "other_bytes"));
  if (values->unused)
    print_stat (cli, "not needed", format_size_member (stats, "unused_bytes"));
  return TRUE;
}

const Verb verb_store_stats = {
  .name = "store stats",
  .arguments = "",
  .summary = "Show how much the store holds",
  .group = VERB_GROUP_STORE,
  .options = stats_options,
  .values_size = sizeof (StatsValues),
  .run = run_stats,
};
