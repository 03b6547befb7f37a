/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt prepare: the description of a libvirt domain, changed so that its memory is followed. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

typedef struct {
  gboolean apply;
  gboolean undo;
} PrepareValues;

static const VerbOption prepare_options[] = {
  { "apply", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (PrepareValues, apply), NULL,
    "make the change, for the next start" },
  { "undo", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (PrepareValues, undo), NULL,
    "the change is what takes that back" },
  { NULL },
};

static void
print_change (Cli *cli, JsonObject *answer)
{
  g_autofree char *diff = format_clean_lines (json_get_string_or (answer, "diff", ""));
  g_autoptr (JsonArray) notes = cli_array (answer, "notes");

  output_print (cli->out, "%s", diff);
  for (guint i = 0; i < json_array_get_length (notes); i++) {
    JsonNode *node = json_array_get_element (notes, i);
    g_autofree char *note = format_clean (
        json_node_get_value_type (node) == G_TYPE_STRING ? json_node_get_string (node) : "");
    cli_say (cli, "%s", note);
  }
  if (json_get_bool_or (answer, "needed", FALSE) && !json_get_bool_or (answer, "applied", FALSE))
    cli_say (cli, "nothing was changed; --apply does so");
}

static gboolean
run_prepare (Cli *cli, const VerbCall *call, GError **error)
{
  const PrepareValues *values = call->values;
  g_autoptr (GString) path = api_path ("domains", call->args[0], "prepare", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) answer = NULL;

  json_object_set_boolean_member (body, "undo", values->undo);
  json_object_set_boolean_member (body, "apply", values->apply);
  answer = api_call (cli->api, "POST", path, body, error);
  if (answer == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, answer);
  else
    print_change (cli, answer);
  return TRUE;
}

const Verb verb_prepare = {
  .name = "prepare",
  .arguments = "DOMAIN",
  .summary = "Change a libvirt domain so that its memory is followed",
  .details = "Shows the change of its description, for its next start, as a diff.\n"
             "With it, checkpoints read only what was written since the last one.",
  .group = VERB_GROUP_GUESTS,
  .options = prepare_options,
  .values_size = sizeof (PrepareValues),
  .min_args = 1,
  .max_args = 1,
  .run = run_prepare,
};
