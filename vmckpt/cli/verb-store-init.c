/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store init. */
#include "cli-format.h"
#include "verb.h"

static gboolean
run_init (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "init", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) answer = NULL;

  if (call->n_args > 0) {
    g_autofree char *location = cli_absolute (call->args[0], error);
    if (location == NULL)
      return FALSE;
    api_path_add (path, "store", location);
  } else if (!cli_add_store (cli, path, error)) {
    return FALSE;
  }
  answer = api_call (cli->api, "POST", path, body, error);
  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
    return TRUE;
  }
  g_autofree char *where = format_text_member (answer, "location");
  g_autofree char *id = format_id_member (answer, "id");
  cli_say (cli, "made the store %s in %s", id, where);
  return TRUE;
}

const Verb verb_store_init = {
  .name = "store init",
  .arguments = "[DIR]",
  .summary = "Make an empty store",
  .group = VERB_GROUP_STORE,
  .max_args = 1,
  .run = run_init,
};
