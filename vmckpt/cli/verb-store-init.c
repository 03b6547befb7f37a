/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store init. */
#include "cli-format.h"
#include "verb.h"

typedef struct {
  gboolean encrypt;
  char *label;
} InitValues;

static const VerbOption init_options[] = {
  { "encrypt", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (InitValues, encrypt), NULL,
    "encrypt all that is kept there" },
  { "label", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (InitValues, label), "TEXT",
    "what the first key is called" },
  { NULL },
};

/* The key that will open the store: that of the options, or a password that is asked for. */
static gboolean
send_first_key (Cli *cli, GError **error)
{
  g_autoptr (KeyMaterial) key = key_source_new_key (&cli->keys, error);

  if (key != NULL)
    api_set_key (cli->api, key);
  return key != NULL;
}

static gboolean
run_init (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "init", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) answer = NULL;
  const InitValues *values = call->values;

  if (call->n_args > 0) {
    g_autofree char *location = cli_absolute (call->args[0], error);
    if (location == NULL)
      return FALSE;
    api_path_add (path, "store", location);
  } else if (!cli_add_store (cli, path, error)) {
    return FALSE;
  }
  if (values->encrypt) {
    json_object_set_boolean_member (body, "encrypt", TRUE);
    if (!send_first_key (cli, error))
      return FALSE;
  }
  cli_set_string (body, "label", values->label);
  answer = api_call (cli->api, "POST", path, body, error);
  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
    return TRUE;
  }
  g_autofree char *where = format_text_member (answer, "location");
  g_autofree char *id = format_id_member (answer, "id");
  cli_say (cli, "made the %sstore %s in %s", values->encrypt ? "encrypted " : "", id, where);
  if (values->encrypt)
    cli_say (cli, "whoever loses all its keys loses what is in it: 'vmckpt store key add'");
  return TRUE;
}

const Verb verb_store_init = {
  .name = "store init",
  .arguments = "[DIR]",
  .summary = "Make an empty store",
  .details = "With --encrypt, --key-file or --password-file give the key that will open it;\n"
             "without them, a password is asked for.",
  .group = VERB_GROUP_STORE,
  .options = init_options,
  .values_size = sizeof (InitValues),
  .max_args = 1,
  .run = run_init,
};
