/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store copy. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

typedef struct {
  char *to;
  char *key_file, *password_file; /* of that store */
  gboolean all;
} CopyValues;

static const VerbOption copy_options[] = {
  { "to", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (CopyValues, to), "DIR",
    "the store to copy into" },
  { "all", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (CopyValues, all), NULL, "copy all checkpoints" },
  { "to-key-file", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (CopyValues, key_file), "FILE",
    "the key of that store: this file's content" },
  { "to-password-file", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (CopyValues, password_file),
    "FILE", "its password: the first line of this file" },
  { NULL },
};

static char *
describe (JsonObject *copied)
{
  if (json_get_string_or (copied, "problem", NULL) != NULL)
    return g_strdup ("not copied");
  return g_strdup (json_get_bool_or (copied, "there", FALSE) ? "was there" : "copied");
}

static void
print_copied (Cli *cli, JsonArray *list)
{
  g_autoptr (Table) table = table_new ("ID", "NEW ID", "GUEST", "", ">NEW", ">STORED", NULL);

  for (guint i = 0; i < json_array_get_length (list); i++) {
    g_autoptr (JsonObject) copied = cli_element (list, i);
    table_take (table, format_id_member (copied, "source"));
    table_take (table, format_id_member (copied, "id"));
    table_take (table, format_text_member (copied, "guest"));
    table_take (table, describe (copied));
    table_take (table, format_size_member (copied, "new_bytes"));
    table_take (table, format_size_member (copied, "stored_bytes"));
  }
  table_write (table, cli->out);
}

/* The error for checkpoints that could not be copied; says the first one's. */
static gboolean
report_problems (Cli *cli, JsonArray *list, GError **error)
{
  g_autofree char *first = NULL;
  guint copied = 0, there = 0, problems = 0;

  for (guint i = 0; i < json_array_get_length (list); i++) {
    g_autoptr (JsonObject) one = cli_element (list, i);
    if (json_get_string_or (one, "problem", NULL) != NULL) {
      if (problems++ == 0)
        first = format_text_member (one, "problem");
    } else if (json_get_bool_or (one, "there", FALSE)) {
      there++;
    } else {
      copied++;
    }
  }
  if (problems > 0) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED,
                 "%u checkpoint%s could not be copied; the first: %s", problems,
                 problems == 1 ? "" : "s", first);
    return FALSE;
  }
  if (copied == 0)
    cli_say (cli, "nothing to do: %u checkpoint%s there already", there,
             there == 1 ? " was" : "s were");
  else
    cli_say (cli, "%u copied, %u there already", copied, there);
  return TRUE;
}

static gboolean
run_copy (Cli *cli, const VerbCall *call, GError **error)
{
  const CopyValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "copy", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autofree char *to = NULL;

  if (values->to == NULL || values->all == (call->n_args > 0)) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         values->to == NULL ? "copy where? Give --to DIR"
                                            : "copy what? Give checkpoints or --all");
    return FALSE;
  }
  to = cli_absolute (values->to, error);
  if (to == NULL || !cli_send_other_key (cli, values->key_file, values->password_file, error) ||
      !cli_add_store (cli, path, error))
    return FALSE;
  json_object_set_string_member (body, "to", to);
  if (!values->all) {
    JsonArray *wanted = json_array_new();
    for (guint i = 0; i < call->n_args; i++)
      json_array_add_string_element (wanted, call->args[i]);
    json_object_set_array_member (body, "checkpoints", wanted);
  }
  result = cli_call_long (cli, path, body, "copy", error);
  if (result == NULL)
    return FALSE;
  g_autoptr (JsonArray) list = cli_array (result, "checkpoints");
  if (cli->json)
    cli_print_json (cli, result);
  else
    print_copied (cli, list);
  return report_problems (cli, list, error);
}

const Verb verb_store_copy = {
  .name = "store copy",
  .arguments = "[ID|NAME]…",
  .summary = "Copy checkpoints into another store: what is missing there",
  .group = VERB_GROUP_STORE,
  .options = copy_options,
  .values_size = sizeof (CopyValues),
  .max_args = G_MAXUINT,
  .interrupted = "interrupted; what was copied is whole, and the next copy goes on",
  .run = run_copy,
};
