/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt forget: deleting checkpoints by a policy. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

typedef struct {
  char *last, *hourly, *daily, *weekly, *monthly, *yearly;
  char *within, *within_hourly, *within_daily, *within_weekly, *within_monthly, *within_yearly;
  char **keep_tags, **tags;
  char *group_by;
  gboolean no_keep_suspended, dry_run, gc;
} ForgetValues;

#define COUNT(name, member, what)                                                                  \
  {                                                                                                \
    name, 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (ForgetValues, member), "N", what              \
  }
#define WITHIN(name, member, what)                                                                 \
  {                                                                                                \
    name, 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (ForgetValues, member), "TIME", what           \
  }
static const VerbOption forget_options[] = {
  COUNT ("keep-last", last, "keep the last N, or all: unlimited"),
  COUNT ("keep-hourly", hourly, "keep the last of each of N hours that have any"),
  COUNT ("keep-daily", daily, "… of N days"),
  COUNT ("keep-weekly", weekly, "… of N weeks"),
  COUNT ("keep-monthly", monthly, "… of N months"),
  COUNT ("keep-yearly", yearly, "… of N years"),
  WITHIN ("keep-within", within, "keep all of that time before the newest"),
  WITHIN ("keep-within-hourly", within_hourly, "… one of each hour"),
  WITHIN ("keep-within-daily", within_daily, "… one of each day"),
  WITHIN ("keep-within-weekly", within_weekly, "… one of each week"),
  WITHIN ("keep-within-monthly", within_monthly, "… one of each month"),
  WITHIN ("keep-within-yearly", within_yearly, "… one of each year"),
  { "keep-tag", 0, G_OPTION_ARG_FILENAME_ARRAY, G_STRUCT_OFFSET (ForgetValues, keep_tags),
    "TAG[,TAG]", "keep what has all these tags; repeatable" },
  { "tag", 0, G_OPTION_ARG_FILENAME_ARRAY, G_STRUCT_OFFSET (ForgetValues, tags), "TAG[,TAG]",
    "look only at what has all these; repeatable" },
  { "group-by", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (ForgetValues, group_by), "LIST",
    "guest (default), uuid, host, tags, or none" },
  { "no-keep-suspended", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (ForgetValues, no_keep_suspended),
    NULL, "also the only way back to a suspended guest" },
  { "dry-run", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (ForgetValues, dry_run), NULL,
    "only show what would be deleted, and why not" },
  { "gc", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (ForgetValues, gc), NULL,
    "free the space at once" },
  { NULL },
};
#undef COUNT
#undef WITHIN

/* Sets the member for a count, if it is given. */
static gboolean
set_count (JsonObject *body, const char *member, const char *text, GError **error)
{
  guint64 count;

  if (text == NULL)
    return TRUE;
  if (g_str_equal (text, "unlimited") || g_str_equal (text, "-1")) {
    json_object_set_int_member (body, member, -1);
    return TRUE;
  }
  if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT32, &count, NULL)) {
    json_object_set_int_member (body, member, (gint64)count);
    return TRUE;
  }
  g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
               "forget: %s '%s' is neither a number nor 'unlimited'", member, text);
  return FALSE;
}

static gboolean
set_counts (JsonObject *body, const ForgetValues *values, GError **error)
{
  const struct {
    const char *member, *text;
  } counts[] = { { "keep_last", values->last },       { "keep_hourly", values->hourly },
                 { "keep_daily", values->daily },     { "keep_weekly", values->weekly },
                 { "keep_monthly", values->monthly }, { "keep_yearly", values->yearly } };

  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    if (!set_count (body, counts[i].member, counts[i].text, error))
      return FALSE;
  return TRUE;
}

static void
set_strings (JsonObject *body, const char *member, char **strings)
{
  JsonArray *array;

  if (strings == NULL || *strings == NULL)
    return;
  array = json_array_new();
  for (; *strings != NULL; strings++)
    json_array_add_string_element (array, *strings);
  json_object_set_array_member (body, member, array);
}

static JsonObject *
build_body (const VerbCall *call, GError **error)
{
  const ForgetValues *values = call->values;
  g_autoptr (JsonObject) body = json_object_new();

  set_strings (body, "guests", call->args);
  if (!set_counts (body, values, error))
    return NULL;
  cli_set_string (body, "keep_within", values->within);
  cli_set_string (body, "keep_within_hourly", values->within_hourly);
  cli_set_string (body, "keep_within_daily", values->within_daily);
  cli_set_string (body, "keep_within_weekly", values->within_weekly);
  cli_set_string (body, "keep_within_monthly", values->within_monthly);
  cli_set_string (body, "keep_within_yearly", values->within_yearly);
  set_strings (body, "keep_tags", values->keep_tags);
  set_strings (body, "tags", values->tags);
  cli_set_string (body, "group_by", values->group_by);
  if (values->no_keep_suspended)
    json_object_set_boolean_member (body, "keep_suspended", FALSE);
  json_object_set_boolean_member (body, "dry_run", values->dry_run);
  json_object_set_boolean_member (body, "gc", values->gc);
  return g_steal_pointer (&body);
}

/* Groups together, in each the oldest first. */
static int
compare_checkpoints (gconstpointer a, gconstpointer b)
{
  JsonObject *one = *(JsonObject **)a, *other = *(JsonObject **)b;
  int groups =
      g_strcmp0 (json_get_string_or (one, "group", ""), json_get_string_or (other, "group", ""));
  guint64 created = json_get_uint64_or (one, "created_us", 0);
  guint64 than = json_get_uint64_or (other, "created_us", 0);

  return groups != 0 ? groups : (created > than) - (created < than);
}

/* Every checkpoint that was looked at: what becomes of it, and why. */
static void
print_checkpoints (Cli *cli, JsonArray *checkpoints)
{
  g_autoptr (Table) table =
      table_new ("ID", "GROUP", "CREATED", "TAGS", ">STORED", "ACTION", "REASONS", NULL);
  g_autoptr (GPtrArray) sorted = g_ptr_array_new_with_free_func ((GDestroyNotify)json_object_unref);

  for (guint i = 0; i < json_array_get_length (checkpoints); i++)
    g_ptr_array_add (sorted, cli_element (checkpoints, i));
  g_ptr_array_sort (sorted, compare_checkpoints);
  for (guint i = 0; i < sorted->len; i++) {
    JsonObject *checkpoint = sorted->pdata[i];
    gboolean keep = json_get_bool_or (checkpoint, "keep", TRUE);
    table_take (table, format_id_member (checkpoint, "id"));
    table_take (table, format_text_member (checkpoint, "group"));
    table_take (table, format_time_member (checkpoint, "created_us"));
    table_take (table, format_strings_member (checkpoint, "tags"));
    table_take (table, format_size_member (checkpoint, "stored_bytes"));
    table_take (table, g_strdup (keep ? "keep" : "remove"));
    table_take (table, format_strings_member (checkpoint, "reasons"));
  }
  table_write (table, cli->out);
}

/* With --quiet: the ids of what goes. */
static void
print_removed (Cli *cli, JsonArray *checkpoints)
{
  for (guint i = 0; i < json_array_get_length (checkpoints); i++) {
    g_autoptr (JsonObject) checkpoint = cli_element (checkpoints, i);
    g_autofree char *id = format_id_member (checkpoint, "id");
    if (!json_get_bool_or (checkpoint, "keep", TRUE))
      output_line (cli->out, id);
  }
}

static void
say_sum (Cli *cli, JsonObject *result, guint looked_at, gboolean dry_run)
{
  JsonObject *gc = json_get_object (result, "gc", NULL);
  g_autofree char *removed = format_count_member (result, "removed");
  g_autofree char *bytes = format_size_member (result, "removed_bytes");

  cli_say (cli, "%s %s of %u checkpoints, which had stored %s%s",
           dry_run ? "would delete" : "deleted", removed, looked_at, bytes,
           dry_run || gc != NULL ? "" : "; 'vmckpt store gc' frees what nothing else needs");
  if (gc != NULL) {
    g_autofree char *freed = format_size_member (gc, "freed_bytes");
    cli_say (cli, "freed %s", freed);
  }
}

static gboolean
run_forget (Cli *cli, const VerbCall *call, GError **error)
{
  const ForgetValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "forget", NULL);
  g_autoptr (JsonObject) body = build_body (call, error);
  g_autoptr (JsonObject) result = NULL;

  if (body == NULL || !cli_add_store (cli, path, error))
    return FALSE;
  result = cli_call_long (cli, path, body, "store", error);
  if (result == NULL)
    return FALSE;
  g_autoptr (JsonArray) checkpoints = cli_array (result, "checkpoints");
  g_autoptr (JsonArray) damaged = cli_array (result, "damaged");
  if (cli->json)
    cli_print_json (cli, result);
  else if (cli->quiet)
    print_removed (cli, checkpoints);
  else
    print_checkpoints (cli, checkpoints);
  say_sum (cli, result, json_array_get_length (checkpoints), values->dry_run);
  if (json_array_get_length (damaged) == 0)
    return TRUE;
  g_autofree char *ids = format_ids_member (result, "damaged");
  g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED,
               "%u cannot be read, and are left alone: %s; 'vmckpt store check' says more",
               json_array_get_length (damaged), ids);
  return FALSE;
}

const Verb verb_forget = {
  .name = "forget",
  .arguments = "[NAME…]",
  .summary = "Delete checkpoints that no rule keeps",
  .details = "The rules are restic's; at least one is needed, and what one keeps stays. Each\n"
             "guest is looked at alone, by local time. TIME is such as 2y5m7d3h, back from\n"
             "the guest's newest checkpoint. The space comes back with --gc or 'store gc'.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = forget_options,
  .values_size = sizeof (ForgetValues),
  .max_args = G_MAXUINT,
  .interrupted = "interrupted; what is not forgotten yet is whole",
  .run = run_forget,
};
