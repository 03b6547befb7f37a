/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt set: what decides about a guest's turn among others. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

#include <vmckpt/util/json.h>

typedef struct {
  char *priority, *start_delay;
} SetValues;

#define VALUE(member) G_STRUCT_OFFSET (SetValues, member)
static const VerbOption set_options[] = {
  { "priority", 0, G_OPTION_ARG_FILENAME, VALUE (priority), "N",
    "0 to 1000 (100): the greatest is first" },
  { "start-delay", 0, G_OPTION_ARG_FILENAME, VALUE (start_delay), "TIME",
    "so long after the one before it" },
  { NULL },
};
#undef VALUE

gboolean
verb_set_priority (JsonObject *body, const char *value, GError **error)
{
  guint64 priority;

  if (value == NULL)
    return TRUE;
  if (!g_ascii_string_to_unsigned (value, 10, 0, 1000, &priority, NULL)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                 "--priority %s: must be a number from 0 to 1000", value);
    return FALSE;
  }
  json_object_set_int_member (body, "priority", priority);
  return TRUE;
}

static gboolean
run_set (Cli *cli, const VerbCall *call, GError **error)
{
  const SetValues *values = call->values;
  g_autoptr (GString) path = cli_guest_path (call->args[0], "settings");
  g_autoptr (JsonObject) body = json_object_new();

  if (values->priority == NULL && values->start_delay == NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "set: what is to be set? Give --priority or --start-delay");
    return FALSE;
  }
  if (!verb_set_priority (body, values->priority, error))
    return FALSE;
  cli_set_string (body, "start_delay", values->start_delay);
  g_autoptr (JsonObject) guest = api_call (cli->api, "POST", path, body, error);
  if (guest == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, guest);
    return TRUE;
  }
  g_autofree char *priority = format_count_member (guest, "priority");
  g_autofree char *delay = format_ms_member (guest, "start_delay_ms");
  cli_say (cli, "%s has priority %s and is started %s after the one before it", call->args[0],
           priority, delay);
  return TRUE;
}

const Verb verb_set = {
  .name = "set",
  .arguments = "NAME",
  .summary = "Change a guest's turn among others",
  .details = "When all guests are suspended or resumed. It is kept with the guest and each of\n"
             "its checkpoints from then on.",
  .group = VERB_GROUP_GUESTS,
  .options = set_options,
  .values_size = sizeof (SetValues),
  .min_args = 1,
  .max_args = 1,
  .run = run_set,
};
