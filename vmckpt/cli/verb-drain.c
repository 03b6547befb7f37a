/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt drain: a host for maintenance. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

#include <string.h>
#include <vmckpt/util/json.h>

typedef struct {
  gboolean suspend, undo;
  char *parallel;
} DrainValues;

#define VALUE(member) G_STRUCT_OFFSET (DrainValues, member)
static const VerbOption drain_options[] = {
  { "suspend", 0, G_OPTION_ARG_NONE, VALUE (suspend), NULL, "suspend who cannot be moved to HOST" },
  { "parallel", 0, G_OPTION_ARG_FILENAME, VALUE (parallel), "N", "so many at a time" },
  { "undo", 0, G_OPTION_ARG_NONE, VALUE (undo), NULL, "this host takes guests again" },
  { NULL },
};
#undef VALUE

/* A CliPartFunc: what became of one. */
static void
on_guest (JsonObject *line, const char *type, gpointer user_data)
{
  Cli *cli = user_data;
  const char *outcome = json_get_string_or (line, "outcome", "");
  g_autofree char *name = format_text_member (line, "name");
  g_autofree char *reason = format_text_member (line, "reason");

  if (cli->json) {
    cli_print_json (cli, line);
  } else if (g_str_equal (outcome, "moved")) {
    g_autofree char *to = format_text_member (line, "to");
    g_autofree char *downtime = format_ms_member (line, "downtime_ms");
    cli_say (cli, "%s: runs on %s; it stood still for %s", name, to, downtime);
  } else if (g_str_equal (outcome, "saved")) {
    cli_say (cli, "%s: suspended", name);
  } else if (g_str_equal (outcome, "suspended")) {
    cli_say (cli, "%s: suspended, not moved: %s", name, reason);
  } else {
    cli_say (cli, "%s: still here: %s", name, reason);
  }
}

static gboolean
undo (Cli *cli, GError **error)
{
  g_autoptr (GString) path = api_path ("drain", NULL);
  g_autoptr (JsonObject) answer = api_call (cli->api, "DELETE", path, NULL, error);

  if (answer != NULL && !cli->json)
    cli_say (cli, "this host takes guests again");
  return answer != NULL;
}

static gboolean
drain (Cli *cli, const DrainValues *values, const char *host, GError **error)
{
  g_autoptr (GString) path = api_path ("drain", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autofree char *to = NULL;

  if (host != NULL && strchr (host, '/') != NULL && !g_str_has_prefix (host, "unix:"))
    to = cli_absolute (host, error);
  else
    to = g_strdup (host);
  if ((host != NULL && to == NULL) || !cli_set_count (body, "parallel", values->parallel, error))
    return FALSE;
  /* Without one, guests can only go live. */
  if ((host == NULL || values->suspend || cli->store != NULL) && !cli_add_store (cli, path, error))
    return FALSE;
  cli_set_string (body, "to", to);
  if (values->suspend)
    json_object_set_boolean_member (body, "suspend", TRUE);
  g_autoptr (JsonObject) result = cli_call_parts (cli, path, body, "drain", on_guest, cli, error);
  if (result == NULL)
    return FALSE;
  gint64 left = json_object_get_int_member_with_default (result, "left", 0);
  g_autofree char *moved = format_count_member (result, "moved");
  g_autofree char *suspended = format_count_member (result, "suspended");
  if (cli->json)
    cli_print_json (cli, result);
  else
    cli_say (cli, "%s moved, %s suspended; this host takes no guests until 'vmckpt drain --undo'",
             moved, suspended);
  if (left == 0)
    return TRUE;
  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
               "%" G_GINT64_FORMAT " guest%s still here; say it again to go on", left,
               left == 1 ? " is" : "s are");
  return FALSE;
}

static gboolean
run_drain (Cli *cli, const VerbCall *call, GError **error)
{
  const DrainValues *values = call->values;

  if (!values->undo)
    return drain (cli, values, call->n_args > 0 ? call->args[0] : NULL, error);
  if (call->n_args == 0 && !values->suspend && values->parallel == NULL)
    return undo (cli, error);
  g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, "drain: --undo goes with nothing else");
  return FALSE;
}

const Verb verb_drain = {
  .name = "drain",
  .arguments = "[HOST] | --undo",
  .summary = "Move all guests off this host, and take none",
  .details = "Guests go to HOST (see migrate): live, or else through a store that is given.\n"
             "Without HOST all are suspended. Until --undo this host takes no guests, over a\n"
             "restart too. Interrupted, or with guests left, it goes on when said again.\n"
             "Exit status 0: no guest is here any more.",
  .group = VERB_GROUP_GUESTS,
  .options = drain_options,
  .values_size = sizeof (DrainValues),
  .max_args = 1,
  .interrupted = "interrupted; guests that have not gone run on here",
  .run = run_drain,
};
