/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store repair. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

/* Ranges shown of one part; --json has them all. */
#define RANGES_SHOWN 8

typedef struct {
  char *from;
  char *key_file, *password_file; /* of that store */
  gboolean dry_run;
} RepairValues;

static const VerbOption repair_options[] = {
  { "from", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (RepairValues, from), "DIR",
    "a store with copies, to take what is lost from" },
  { "dry-run", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (RepairValues, dry_run), NULL,
    "only say what is hurt" },
  { "from-key-file", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (RepairValues, key_file), "FILE",
    "the key of that store: this file's content" },
  { "from-password-file", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (RepairValues, password_file),
    "FILE", "its password: the first line of this file" },
  { NULL },
};

static guint64
count_of (JsonObject *object, const char *member)
{
  double value = 0;
  return json_get_number (object, member, &value) && value > 0 ? value : 0;
}

static void
print_part (Cli *cli, JsonObject *part)
{
  g_autofree char *role = format_text_member (part, "role");
  g_autofree char *name = format_text_member (part, "name");
  g_autoptr (JsonArray) ranges = cli_array (part, "ranges");
  guint shown = MIN (json_array_get_length (ranges), RANGES_SHOWN);
  guint64 more = json_array_get_length (ranges) - shown + count_of (part, "more_ranges");

  output_print (cli->out,
                "  %s %s: %" G_GUINT64_FORMAT " pages hurt, %" G_GUINT64_FORMAT " of them lost; at",
                role, name, count_of (part, "hurt_pages"), count_of (part, "left_pages"));
  for (guint i = 0; i < shown; i++) {
    g_autoptr (JsonObject) range = cli_element (ranges, i);
    guint64 offset = count_of (range, "offset");
    output_print (cli->out, "%s 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER "x",
                  i > 0 ? "," : "", offset, offset + count_of (range, "bytes") - 1);
  }
  if (more > 0)
    output_print (cli->out, " and %" G_GUINT64_FORMAT " more", more);
  output_line (cli->out, "");
}

/* TRUE if nothing is wrong with it any more. */
static gboolean
print_hurt (Cli *cli, JsonObject *hurt)
{
  g_autofree char *id = format_id_member (hurt, "id");
  g_autofree char *guest = format_text_member (hurt, "guest");
  g_autofree char *time = format_time_member (hurt, "created_us");
  g_autoptr (JsonArray) parts = cli_array (hurt, "parts");
  g_autofree char *replaced = format_id_member (hurt, "replaced_by");
  gboolean healed = json_get_bool_or (hurt, "healed", FALSE);
  gboolean is_replaced = json_get_string_or (hurt, "replaced_by", NULL) != NULL;

  if (cli->json)
    return healed || is_replaced;
  output_print (cli->out, "%s of %s, %s: %s%s\n", id, guest, time,
                healed        ? "healed"
                : is_replaced ? "copied anew, now "
                              : "hurt",
                is_replaced && !healed ? replaced : "");
  if (json_get_string_or (hurt, "problem", NULL) != NULL) {
    g_autofree char *problem = format_text_member (hurt, "problem");
    output_print (cli->out, "  %s\n", problem);
  }
  for (guint i = 0; i < json_array_get_length (parts); i++) {
    g_autoptr (JsonObject) part = cli_element (parts, i);
    print_part (cli, part);
  }
  return healed || is_replaced;
}

static void
say_done (Cli *cli, JsonObject *result)
{
  g_autofree char *packs = format_count_member (result, "damaged_packs");
  g_autofree char *chunks = format_count_member (result, "salvaged_chunks");
  g_autofree char *pages = format_count_member (result, "fetched_pages");
  g_autofree char *tables = format_count_member (result, "index_tables");
  g_autofree char *indexed = format_count_member (result, "indexed_packs");
  g_autofree char *missing = format_count_member (result, "missing_packs");

  cli_say (cli,
           "damaged packs: %s, left to 'vmckpt store gc'; chunks saved of them: %s; pages "
           "fetched: %s",
           packs, chunks, pages);
  cli_say (cli, "index tables replaced: %s; packs indexed again: %s; packs that are gone: %s",
           tables, indexed, missing);
}

static gboolean
run_repair (Cli *cli, const VerbCall *call, GError **error)
{
  const RepairValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "repair", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  guint left = 0;

  if (!cli_send_other_key (cli, values->key_file, values->password_file, error) ||
      !cli_add_store (cli, path, error))
    return FALSE;
  if (values->from != NULL) {
    g_autofree char *from = cli_absolute (values->from, error);
    if (from == NULL)
      return FALSE;
    json_object_set_string_member (body, "from", from);
  }
  json_object_set_boolean_member (body, "dry_run", values->dry_run);
  result = cli_call_long (cli, path, body, "store", error);
  if (result == NULL)
    return FALSE;
  g_autoptr (JsonArray) hurt = cli_array (result, "hurt");
  if (cli->json)
    cli_print_json (cli, result);
  for (guint i = 0; i < json_array_get_length (hurt); i++) {
    g_autoptr (JsonObject) one = cli_element (hurt, i);
    left += !print_hurt (cli, one);
  }
  if (!values->dry_run)
    say_done (cli, result);
  if (left == 0)
    return TRUE;
  g_set_error (
      error, CLI_ERROR, CLI_ERROR_DAMAGED,
      "%u checkpoint%s hurt: 'vmckpt rm' removes %s, 'vmckpt store repair --from DIR' takes "
      "what is lost from another store",
      left, left == 1 ? " is" : "s are", left == 1 ? "it" : "them");
  return FALSE;
}

const Verb verb_store_repair = {
  .name = "store repair",
  .arguments = "",
  .summary = "Mend what is damaged, and say which pages are hurt",
  .group = VERB_GROUP_STORE,
  .options = repair_options,
  .values_size = sizeof (RepairValues),
  .interrupted = "interrupted; nothing is lost by that, and the next repair goes on",
  .run = run_repair,
};
