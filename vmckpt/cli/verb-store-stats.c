/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store stats. */
#include "cli-format.h"
#include "table.h"
#include "verb.h"

typedef struct {
  gboolean unused;
  gboolean usage;
} StatsValues;

static const VerbOption stats_options[] = {
  { "unused", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (StatsValues, unused), NULL,
    "also find out how much gc would free" },
  { "usage", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (StatsValues, usage), NULL,
    "what each guest and checkpoint needs alone" },
  { NULL },
};

static void
print_stat (Cli *cli, const char *title, char *text)
{
  output_print (cli->out, "%-12s %12s\n", title, text);
  g_free (text);
}

static void
take_use (Table *table, JsonObject *use)
{
  table_take (table, format_size_member (use, "logical_bytes"));
  table_take (table, format_size_member (use, "unique_bytes"));
  table_take (table, format_size_member (use, "freed_bytes"));
}

static void
print_usage (Cli *cli, JsonObject *usage)
{
  g_autoptr (Table) guests =
      table_new ("GUEST", ">CHECKPOINTS", ">LOGICAL", ">UNIQUE", ">RM FREES", NULL);
  g_autoptr (Table) checkpoints =
      table_new ("ID", "GUEST", "CREATED", ">LOGICAL", ">UNIQUE", ">RM FREES", NULL);
  g_autoptr (JsonArray) all_guests = cli_array (usage, "guests");
  g_autoptr (JsonArray) all_checkpoints = cli_array (usage, "checkpoints");

  for (guint i = 0; i < json_array_get_length (all_guests); i++) {
    g_autoptr (JsonObject) guest = cli_element (all_guests, i);
    table_take (guests, format_text_member (guest, "guest"));
    table_take (guests, format_count_member (guest, "checkpoints"));
    take_use (guests, guest);
  }
  for (guint i = 0; i < json_array_get_length (all_checkpoints); i++) {
    g_autoptr (JsonObject) checkpoint = cli_element (all_checkpoints, i);
    table_take (checkpoints, format_id_member (checkpoint, "id"));
    table_take (checkpoints, format_text_member (checkpoint, "guest"));
    table_take (checkpoints, format_time_member (checkpoint, "created_us"));
    take_use (checkpoints, checkpoint);
  }
  print_stat (cli, "logical", format_size_member (usage, "logical_bytes"));
  print_stat (cli, "unique", format_size_member (usage, "unique_bytes"));
  print_stat (cli, "stored", format_size_member (usage, "freed_bytes"));
  print_stat (cli, "not needed", format_size_member (usage, "unneeded_bytes"));
  output_line (cli->out, "");
  table_write (guests, cli->out);
  output_line (cli->out, "");
  table_write (checkpoints, cli->out);
}

static gboolean
run_usage (Cli *cli, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "usage", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) usage = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  usage = cli_call_long (cli, path, body, "store", error);
  if (usage == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, usage);
  else
    print_usage (cli, usage);
  return TRUE;
}

static gboolean
run_stats (Cli *cli, const VerbCall *call, GError **error)
{
  const StatsValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "stats", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) stats = NULL;

  if (values->usage)
    return run_usage (cli, error);
  if (!cli_add_store (cli, path, error))
    return FALSE;
  json_object_set_boolean_member (body, "unused", values->unused);
  stats = cli_call_long (cli, path, body, "store", error);
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
  print_stat (cli, "limit", format_size_member (stats, "store_limit"));
  if (values->unused)
    print_stat (cli, "gc frees", format_size_member (stats, "unused_bytes"));
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
