/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store gc. */
#include "cli-format.h"
#include "verb.h"

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
  cli_say (cli,
           "%s %s; packs deleted: %s; chunks rewritten: %s; packs that wait for a later gc: %s",
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
