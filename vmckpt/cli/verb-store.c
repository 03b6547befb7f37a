/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store init, check, gc, stats. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

static gboolean
run_init (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "init", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) answer = NULL;

  if (call->n_args > 0) {
    g_autofree char *location = cli_absolute (call->args[0], error);
    if (location == NULL)
      return FALSE;
    api_path_add (path, "store", location);
  } else if (!cli_add_store (cli, path, error)) {
    return FALSE;
  }
  answer = api_call (cli->api, "POST", path, body, error);
  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
    return TRUE;
  }
  g_autofree char *where = format_text_member (answer, "location");
  g_autofree char *id = format_id_member (answer, "id");
  cli_say (cli, "made the store %s in %s", id, where);
  return TRUE;
}

const Verb verb_store_init = {
  .name = "store init",
  .arguments = "[DIR]",
  .summary = "Make an empty store",
  .group = VERB_GROUP_STORE,
  .max_args = 1,
  .run = run_init,
};

typedef struct {
  gboolean read_data;
} CheckValues;

static const VerbOption check_options[] = {
  { "read-data", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (CheckValues, read_data), NULL,
    "read and verify all data too" },
  { NULL },
};

static void
print_findings (Cli *cli, JsonArray *findings)
{
  for (guint i = 0; i < json_array_get_length (findings); i++) {
    g_autoptr (JsonObject) finding = cli_element (findings, i);
    g_autofree char *object = format_text_member (finding, "object");
    g_autofree char *problem = format_text_member (finding, "problem");
    g_autofree char *hurt = format_ids_member (finding, "checkpoints");
    output_print (cli->out, "%s: %s\n  hurts %s\n", object, problem,
                  g_str_equal (hurt, "-") ? "no checkpoint" : hurt);
  }
}

static gboolean
run_check (Cli *cli, const VerbCall *call, GError **error)
{
  const CheckValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "check", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autoptr (JsonArray) findings = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  json_object_set_boolean_member (body, "read_data", values->read_data);
  result = cli_call_long (cli, path, body, "store", error);
  if (result == NULL)
    return FALSE;
  findings = cli_array (result, "findings");
  guint count = json_array_get_length (findings);
  if (cli->json)
    cli_print_json (cli, result);
  else
    print_findings (cli, findings);
  if (count > 0) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED, "check of the store %s: %u problem%s found",
                 cli->store, count, count == 1 ? "" : "s");
    return FALSE;
  }
  cli_say (cli, "nothing is wrong with the store %s%s", cli->store,
           values->read_data ? "; all data was read" : "; --read-data would read all data too");
  return TRUE;
}

const Verb verb_store_check = {
  .name = "store check",
  .arguments = "",
  .summary = "Look for damage, and say what it hurts",
  .group = VERB_GROUP_STORE,
  .options = check_options,
  .values_size = sizeof (CheckValues),
  .run = run_check,
};

typedef struct {
  gboolean dry_run;
} GcValues;

static const VerbOption gc_options[] = {
  { "dry-run", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (GcValues, dry_run), NULL,
    "only say what would be deleted" },
  { NULL },
};

static gboolean
run_gc (Cli *cli, const VerbCall *call, GError **error)
{
  const GcValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "gc", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  json_object_set_boolean_member (body, "dry_run", values->dry_run);
  result = cli_call_long (cli, path, body, "store", error);
  if (result == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, result);
    return TRUE;
  }
  g_autofree char *packs = format_count_member (result, "deleted_packs");
  g_autofree char *freed = format_size_member (result, "freed_bytes");
  g_autofree char *chunks = format_count_member (result, "rewritten_chunks");
  g_autofree char *waiting = format_count_member (result, "waiting_packs");
  cli_say (cli, "%s %s: %s packs deleted, %s chunks rewritten; %s packs wait for a later gc",
           values->dry_run ? "would free" : "freed", freed, packs, chunks, waiting);
  return TRUE;
}

const Verb verb_store_gc = {
  .name = "store gc",
  .arguments = "",
  .summary = "Delete what no checkpoint needs",
  .group = VERB_GROUP_STORE,
  .options = gc_options,
  .values_size = sizeof (GcValues),
  .interrupted = "interrupted; nothing that is needed is gone, and the next gc goes on",
  .run = run_gc,
};

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
