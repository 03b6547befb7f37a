/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proof-values.h"

#include "cli-error.h"
#include "cli-format.h"

#include <vmckpt/util/json.h>

static gboolean
add_command (const char *text, JsonObject *body, GError **error)
{
  g_auto (GStrv) words = NULL;
  g_autoptr (GError) cause = NULL;
  JsonArray *array;

  if (text == NULL)
    return TRUE;
  if (!g_shell_parse_argv (text, NULL, &words, &cause)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "--command %s: %s", text, cause->message);
    return FALSE;
  }
  array = json_array_new();
  for (guint i = 0; words[i] != NULL; i++)
    json_array_add_string_element (array, words[i]);
  json_object_set_array_member (body, "command", array);
  return TRUE;
}

gboolean
proof_values_add (const ProofValues *values, gboolean wanted, const char *option, JsonObject *body,
                  GError **error)
{
  if (!wanted && (values->timeout != NULL || values->until != NULL || values->command != NULL)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "--timeout, --until and --command go with --%s",
                 option);
    return FALSE;
  }
  if (wanted)
    json_object_set_boolean_member (body, option, TRUE);
  cli_set_string (body, "timeout", values->timeout);
  cli_set_string (body, "until", values->until);
  return add_command (values->command, body, error);
}

/* What it showed. */
static const char *
describe (const char *how)
{
  if (g_str_equal (how, "until"))
    return "printed that text";
  if (g_str_equal (how, "command"))
    return "ran that command";
  return g_str_equal (how, "agent") ? "answered" : "executed";
}

void
proof_values_say (Cli *cli, JsonObject *proof, const char *id)
{
  g_autofree char *restore = format_ms_member (proof, "restore_ms");
  g_autofree char *answer = format_ms_member (proof, "answer_ms");

  cli_say (cli, "%s can be restored: its guest ran after %s and %s after %s more", id, restore,
           describe (json_get_string_or (proof, "how", "")), answer);
}
