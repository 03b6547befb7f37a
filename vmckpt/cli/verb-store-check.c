/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store check. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

#include <string.h>

typedef struct {
  gboolean read_data;
  char *subset;
} CheckValues;

static const VerbOption check_options[] = {
  { "read-data", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (CheckValues, read_data), NULL,
    "read and verify all data too" },
  { "subset", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (CheckValues, subset), "N/T|P%",
    "read one of T parts of the data, or P percent" },
  { NULL },
};

/* How many are not just left to gc. */
static guint
count_problems (JsonArray *findings)
{
  guint count = 0;

  for (guint i = 0; i < json_array_get_length (findings); i++) {
    g_autoptr (JsonObject) finding = cli_element (findings, i);
    count += !json_get_bool_or (finding, "left_to_gc", FALSE);
  }
  return count;
}

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
hurts_any (JsonArray *findings)
{
  for (guint i = 0; i < json_array_get_length (findings); i++) {
    g_autoptr (JsonObject) finding = cli_element (findings, i);
    g_autoptr (JsonArray) checkpoints = cli_array (finding, "checkpoints");
    if (json_array_get_length (checkpoints) > 0)
      return TRUE;
  }
  return FALSE;
}

/* How much of the data was read: of --subset=2/3, "2/3" would be read as two thirds. */
static char *
describe_read (const CheckValues *values)
{
  if (values->subset == NULL)
    return g_strdup (values->read_data ? "all data was read"
                                       : "--read-data would read all data too");
  const char *slash = strchr (values->subset, '/');
  if (slash == NULL)
    return g_strdup_printf ("%s of the data was read", values->subset);
  return g_strdup_printf ("part %.*s of %s of the data was read", (int)(slash - values->subset),
                          values->subset, slash + 1);
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
  json_object_set_boolean_member (body, "read_data", values->read_data || values->subset != NULL);
  cli_set_string (body, "subset", values->subset);
  result = cli_call_long (cli, path, body, "store", error);
  if (result == NULL)
    return FALSE;
  findings = cli_array (result, "findings");
  guint count = count_problems (findings);
  if (cli->json)
    cli_print_json (cli, result);
  else
    print_findings (cli, findings);
  if (count > 0) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED,
                 "check of the store %s: %u problem%s found; %s", cli->store, count,
                 count == 1 ? "" : "s",
                 hurts_any (findings)
                     ? "'vmckpt store repair' mends what it can, and with --dry-run only says "
                       "which pages are hurt"
                     : "no checkpoint is hurt: 'vmckpt store repair', if it was not done yet, and "
                       "then 'vmckpt store gc' clean up");
    return FALSE;
  }
  g_autofree char *part = describe_read (values);
  cli_say (cli, "nothing is wrong with the store %s; %s", cli->store, part);
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
