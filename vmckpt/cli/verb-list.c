/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt list, show, diff: what is in the store. */
#include "cli-error.h"
#include "cli-format.h"
#include "guest-path.h"
#include "table.h"
#include "verb.h"

/* Damaged checkpoints are said, and are exit code 4. */
static gboolean
report_damaged (Cli *cli, JsonObject *answer, GError **error)
{
  g_autoptr (JsonArray) damaged = cli_array (answer, "damaged");
  guint count = json_array_get_length (damaged);
  g_autofree char *ids = format_ids_member (answer, "damaged");

  if (count == 0)
    return TRUE;
  g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED,
               "%u checkpoint%s cannot be read: %s; 'vmckpt store check' says more", count,
               count == 1 ? "" : "s", ids);
  return FALSE;
}

static void
print_checkpoints (Cli *cli, JsonArray *checkpoints)
{
  g_autoptr (Table) table = table_new ("ID", "GUEST", "CREATED", "MODE", ">RAM", ">NEW", ">STORED",
                                       ">PAUSE", "TAGS", "NOTE", NULL);

  for (guint i = 0; i < json_array_get_length (checkpoints); i++) {
    g_autoptr (JsonObject) checkpoint = cli_element (checkpoints, i);
    table_take (table, format_id_member (checkpoint, "id"));
    table_take (table, format_text_member (checkpoint, "guest"));
    table_take (table, format_time_member (checkpoint, "created_us"));
    table_take (table, format_text_member (checkpoint, "mode"));
    table_take (table, format_size_member (checkpoint, "ram_bytes"));
    table_take (table, format_size_member (checkpoint, "new_bytes"));
    table_take (table, format_size_member (checkpoint, "stored_bytes"));
    table_take (table, format_ms_member (checkpoint, "pause_ms"));
    table_take (table, format_strings_member (checkpoint, "tags"));
    table_take (table, format_text_member (checkpoint, "note"));
  }
  table_write (table, cli->out);
}

static gboolean
run_list (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("checkpoints", NULL);
  g_autoptr (JsonObject) answer = NULL;
  g_autoptr (JsonArray) checkpoints = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  if (call->n_args > 0)
    api_path_add (path, "guest", call->args[0]);
  answer = api_call (cli->api, "GET", path, NULL, error);
  if (answer == NULL)
    return FALSE;
  checkpoints = cli_array (answer, "checkpoints");
  if (!cli_print_json_list (cli, checkpoints))
    print_checkpoints (cli, checkpoints);
  return report_damaged (cli, answer, error);
}

const Verb verb_list = {
  .name = "list",
  .arguments = "[NAME]",
  .summary = "List the checkpoints of the store, or of one guest",
  .group = VERB_GROUP_CHECKPOINTS,
  .max_args = 1,
  .run = run_list,
};

static void
print_value (Cli *cli, const char *title, char *text)
{
  output_print (cli->out, "%-12s %s\n", title, text);
  g_free (text);
}

static void
print_parts (Cli *cli, JsonObject *checkpoint)
{
  g_autoptr (JsonArray) parts = cli_array (checkpoint, "parts");
  g_autoptr (Table) table = table_new ("PART", "NAME", ">LENGTH", "ROOT", NULL);

  for (guint i = 0; i < json_array_get_length (parts); i++) {
    g_autoptr (JsonObject) part = cli_element (parts, i);
    table_take (table, format_text_member (part, "role"));
    table_take (table, format_text_member (part, "name"));
    table_take (table, format_size_member (part, "length"));
    table_take (table, format_id_member (part, "root"));
  }
  output_line (cli->out, "");
  table_write (table, cli->out);
}

/* What the machine and the report hold is the daemon's affair: shown as it is. */
static void
print_object (Cli *cli, JsonObject *checkpoint, const char *member)
{
  JsonObject *object = json_get_object (checkpoint, member, NULL);

  if (object == NULL)
    return;
  g_autofree char *text = json_to_pretty (object);
  g_autofree char *clean = format_clean_lines (text);
  output_print (cli->out, "\n%s %s", member, clean);
}

static void
print_checkpoint (Cli *cli, JsonObject *checkpoint)
{
  print_value (cli, "id", format_text_member (checkpoint, "id"));
  print_value (cli, "parent", format_text_member (checkpoint, "parent"));
  print_value (cli, "guest", format_text_member (checkpoint, "guest"));
  print_value (cli, "guest uuid", format_text_member (checkpoint, "guest_uuid"));
  print_value (cli, "created", format_time_member (checkpoint, "created_us"));
  print_value (cli, "host", format_text_member (checkpoint, "host"));
  print_value (cli, "engine", format_text_member (checkpoint, "engine"));
  print_value (cli, "mode", format_text_member (checkpoint, "mode"));
  print_value (cli, "tags", format_strings_member (checkpoint, "tags"));
  print_value (cli, "note", format_text_member (checkpoint, "note"));
  print_value (cli, "RAM", format_size_member (checkpoint, "ram_bytes"));
  print_value (cli, "new", format_size_member (checkpoint, "new_bytes"));
  print_value (cli, "stored", format_size_member (checkpoint, "stored_bytes"));
  print_value (cli, "pause", format_ms_member (checkpoint, "pause_ms"));
  print_value (cli, "took", format_ms_member (checkpoint, "wall_ms"));
  print_parts (cli, checkpoint);
  print_object (cli, checkpoint, "machine");
  print_object (cli, checkpoint, "report");
}

static gboolean
run_show (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = cli_checkpoint_path (cli, call->args[0], NULL, error);
  g_autoptr (JsonObject) checkpoint =
      path != NULL ? api_call (cli->api, "GET", path, NULL, error) : NULL;

  if (checkpoint == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, checkpoint);
  else
    print_checkpoint (cli, checkpoint);
  return TRUE;
}

const Verb verb_show = {
  .name = "show",
  .arguments = "ID",
  .summary = "Show all about one checkpoint",
  .group = VERB_GROUP_CHECKPOINTS,
  .min_args = 1,
  .max_args = 1,
  .run = run_show,
};

static void
print_diff (Cli *cli, JsonObject *diff)
{
  g_autoptr (JsonArray) parts = cli_array (diff, "parts");
  g_autoptr (JsonArray) machine = cli_array (diff, "machine");
  g_autoptr (Table) table = table_new ("PART", "NAME", ">A", ">B", ">CHANGED", NULL);
  g_autofree char *changed = format_size_member (diff, "changed_bytes");

  for (guint i = 0; i < json_array_get_length (parts); i++) {
    g_autoptr (JsonObject) part = cli_element (parts, i);
    table_take (table, format_text_member (part, "role"));
    table_take (table, format_text_member (part, "name"));
    table_take (table, format_size_member (part, "a_bytes"));
    table_take (table, format_size_member (part, "b_bytes"));
    table_take (table, format_size_member (part, "changed_bytes"));
  }
  table_write (table, cli->out);
  output_print (cli->out, "\n%s changed in all\n", changed);
  for (guint i = 0; i < json_array_get_length (machine); i++) {
    JsonNode *node = json_array_get_element (machine, i);
    const char *text = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
    g_autofree char *clean = format_clean (text != NULL ? text : "?");
    output_print (cli->out, "machine: %s\n", clean);
  }
}

/* ---- diff --files ---- */

typedef struct {
  gboolean files, checksums;
  char *in;
} DiffValues;

#define VALUE(member) G_STRUCT_OFFSET (DiffValues, member)
static const VerbOption diff_options[] = {
  { "files", 0, G_OPTION_ARG_NONE, VALUE (files), NULL, "which files on their disks differ" },
  { "checksums", 0, G_OPTION_ARG_NONE, VALUE (checksums), NULL,
    "compare their content too, not only size and time" },
  { "in", 0, G_OPTION_ARG_FILENAME, VALUE (in), "[DISK:]/PATH", "only of what is there" },
  { NULL },
};
#undef VALUE

/* CliPartFunc. */
static void
on_changes (JsonObject *line, const char *type, gpointer user_data)
{
  Cli *cli = user_data;
  g_autoptr (JsonArray) changes = cli_array (line, "changes");

  if (cli_print_json_list (cli, changes))
    return;
  for (guint i = 0; i < json_array_get_length (changes) && !cli->out->closed; i++) {
    g_autoptr (JsonObject) change = cli_element (changes, i);
    const char *kind = json_get_string_or (change, "change", "");
    g_autofree char *path = format_text_member (change, "path");
    g_autofree char *what = format_strings_member (change, "what");
    if (g_str_equal (kind, "changed"))
      output_print (cli->out, "~ %s (%s)\n", path, what);
    else
      output_print (cli->out, "%c %s\n", g_str_equal (kind, "added") ? '+' : '-', path);
  }
}

static gboolean
add_place (JsonObject *body, const char *in, GError **error)
{
  g_autofree char *text = g_strconcat ("ID:", in, NULL);
  g_autoptr (GuestPath) place = guest_path_parse (text, FALSE, error);

  if (place == NULL)
    return FALSE;
  guest_path_add_to_body (place, body);
  return TRUE;
}

static gboolean
diff_files (Cli *cli, const VerbCall *call, GError **error)
{
  const DiffValues *values = call->values;
  g_autoptr (GString) path =
      api_path ("checkpoints", call->args[0], "diff", call->args[1], "files", NULL);
  g_autoptr (JsonObject) body = json_object_new();

  if (!cli_add_store (cli, path, error) ||
      (values->in != NULL && !add_place (body, values->in, error)))
    return FALSE;
  json_object_set_boolean_member (body, "checksums", values->checksums);
  g_autoptr (JsonObject) result =
      cli_call_parts (cli, path, body, call->args[0], on_changes, cli, error);
  if (result == NULL)
    return FALSE;
  cli_say (cli,
           "%" G_GUINT64_FORMAT " added, %" G_GUINT64_FORMAT " changed, %" G_GUINT64_FORMAT
           " removed",
           json_get_uint64_or (result, "added", 0), json_get_uint64_or (result, "changed", 0),
           json_get_uint64_or (result, "removed", 0));
  return TRUE;
}

static gboolean
run_diff (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("checkpoints", call->args[0], "diff", call->args[1], NULL);
  g_autoptr (JsonObject) diff = NULL;
  const DiffValues *values = call->values;

  if (values->files)
    return diff_files (cli, call, error);
  if (values->checksums || values->in != NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, "--checksums and --in need --files");
    return FALSE;
  }
  if (!cli_add_store (cli, path, error))
    return FALSE;
  diff = api_call (cli->api, "GET", path, NULL, error);
  if (diff == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, diff);
  else
    print_diff (cli, diff);
  return TRUE;
}

const Verb verb_diff = {
  .name = "diff",
  .arguments = "ID ID",
  .summary = "Show how much differs between two checkpoints",
  .details = "With --files: + came, - went, ~ changed (what of it). Times of directories do\n"
             "not count. Checkpoints whose disks are the same are known to be so at once.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = diff_options,
  .values_size = sizeof (DiffValues),
  .min_args = 2,
  .max_args = 2,
  .run = run_diff,
};
