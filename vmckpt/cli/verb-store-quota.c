/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store quota. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

typedef struct {
  char *store_limit;
  char **guests;
} QuotaValues;

static const VerbOption quota_options[] = {
  { "store-limit", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (QuotaValues, store_limit), "SIZE",
    "all that the store may hold, or none" },
  { "guest", 0, G_OPTION_ARG_FILENAME_ARRAY, G_STRUCT_OFFSET (QuotaValues, guests), "NAME=SIZE",
    "what a guest's checkpoints may store, or none" },
  { NULL },
};

/* Sets the member to the limit that @text says: a size, or "none" for null. */
static gboolean
set_limit (JsonObject *object, const char *member, const char *text, GError **error)
{
  guint64 limit;

  if (g_str_equal (text, "none")) {
    json_object_set_null_member (object, member);
    return TRUE;
  }
  if (!bytes_parse_size (text, &limit, error))
    return FALSE;
  if (limit == 0 || limit > G_MAXINT64) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "%s is not a limit; 'none' takes one away",
                 text);
    return FALSE;
  }
  json_object_set_int_member (object, member, (gint64)limit);
  return TRUE;
}

static JsonObject *
build_body (const QuotaValues *values, GError **error)
{
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) guests = json_object_new();

  if (values->store_limit != NULL && !set_limit (body, "store_limit", values->store_limit, error))
    return NULL;
  for (char **guest = values->guests; guest != NULL && *guest != NULL; guest++) {
    const char *equals = strchr (*guest, '=');
    if (equals == NULL) {
      g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "--guest %s is not NAME=SIZE", *guest);
      return NULL;
    }
    g_autofree char *name = g_strndup (*guest, equals - *guest);
    if (!set_limit (guests, name, equals + 1, error))
      return NULL;
  }
  if (json_object_get_size (guests) > 0)
    json_object_set_object_member (body, "guests", g_steal_pointer (&guests));
  return g_steal_pointer (&body);
}

static void
add_row (Table *table, char *what, JsonObject *object, const char *used, const char *limit)
{
  double bytes, most;
  gboolean limited =
      json_get_number (object, used, &bytes) && json_get_number (object, limit, &most) && most > 0;

  table_take (table, what);
  table_take (table, format_size_member (object, used));
  table_take (table, format_size_member (object, limit));
  table_take (table, limited ? g_strdup_printf ("%.0f%%", bytes * 100 / most) : g_strdup ("-"));
}

static void
print_quota (Cli *cli, JsonObject *quota)
{
  g_autoptr (Table) table = table_new ("WHAT", ">USED", ">LIMIT", ">OF IT", NULL);
  g_autoptr (JsonArray) guests = cli_array (quota, "guests");

  add_row (table, g_strdup ("store"), quota, "store_bytes", "store_limit");
  for (guint i = 0; i < json_array_get_length (guests); i++) {
    g_autoptr (JsonObject) guest = cli_element (guests, i);
    g_autofree char *name = format_text_member (guest, "guest");
    add_row (table, g_strdup_printf ("guest %s", name), guest, "bytes", "limit");
  }
  table_write (table, cli->out);
}

static gboolean
run_quota (Cli *cli, const VerbCall *call, GError **error)
{
  const QuotaValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "quota", NULL);
  g_autoptr (JsonObject) body = build_body (values, error);
  g_autoptr (JsonObject) quota = NULL;

  if (body == NULL || !cli_add_store (cli, path, error))
    return FALSE;
  quota = json_object_get_size (body) > 0 ? api_call (cli->api, "POST", path, body, error)
                                          : api_call (cli->api, "GET", path, NULL, error);
  if (quota == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, quota);
  else
    print_quota (cli, quota);
  return TRUE;
}

const Verb verb_store_quota = {
  .name = "store quota",
  .arguments = "",
  .summary = "Show or set how much may be stored",
  .details = "A checkpoint that would pass a limit is refused, and its guest is left alone.\n"
             "A guest's account is what its checkpoints had stored when they were taken.",
  .group = VERB_GROUP_STORE,
  .options = quota_options,
  .values_size = sizeof (QuotaValues),
  .run = run_quota,
};
