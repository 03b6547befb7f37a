/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt verify, tag, rm: looking after single checkpoints. */
#include "cli-format.h"
#include "proof-values.h"
#include "verb.h"

typedef struct {
  gboolean boot;
  ProofValues proof;
} VerifyValues;

#define VALUE(member) G_STRUCT_OFFSET (VerifyValues, member)
static const VerbOption verify_options[] = {
  { "boot", 0, G_OPTION_ARG_NONE, VALUE (boot), NULL, "and restore them for a moment" },
  { "timeout", 0, G_OPTION_ARG_FILENAME, VALUE (proof.timeout), "TIME",
    "with --boot: so long may its guest take (60s)" },
  { "until", 0, G_OPTION_ARG_FILENAME, VALUE (proof.until), "TEXT",
    "with --boot: it has to print this" },
  { "command", 0, G_OPTION_ARG_FILENAME, VALUE (proof.command), "COMMAND",
    "with --boot: this has to succeed in it" },
  { NULL },
};
#undef VALUE

static gboolean
verify_one (Cli *cli, const char *ref, gpointer user_data, GError **error)
{
  const VerifyValues *values = user_data;
  g_autoptr (GString) path = cli_checkpoint_path (cli, ref, "verify", error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;

  if (path == NULL || !proof_values_add (&values->proof, values->boot, "boot", body, error) ||
      (result = cli_call_long (cli, path, body, ref, error)) == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, result);
    return TRUE;
  }
  g_autofree char *id = format_id_member (result, "id");
  g_autofree char *bytes = format_size_member (result, "bytes");
  output_line (cli->out, id);
  cli_say (cli, "%s is whole: %s read and verified", id, bytes);
  if (values->boot)
    proof_values_say (cli, result, id);
  return TRUE;
}

static gboolean
run_verify (Cli *cli, const VerbCall *call, GError **error)
{
  return cli_for_each (cli, call->args, verify_one, (gpointer)call->values);
}

const Verb verb_verify = {
  .name = "verify",
  .arguments = "ID…",
  .summary = "Read checkpoints and verify every byte",
  .details = "With --boot, a guest is restored from each, cut off from the network, on\n"
             "throw-away layers over its disks, and has to show that it lives: by its guest\n"
             "agent's answer, or, if it has none, by CPUs that execute.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = verify_options,
  .values_size = sizeof (VerifyValues),
  .min_args = 1,
  .max_args = G_MAXUINT,
  .run = run_verify,
};

static gboolean
run_tag (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = cli_checkpoint_path (cli, call->args[0], "tags", error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) answer = NULL;

  if (path == NULL)
    return FALSE;
  json_object_set_string_member (body, "tag", call->args[1]);
  answer = api_call (cli->api, "POST", path, body, error);
  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
    return TRUE;
  }
  g_autofree char *id = format_id_member (answer, "id");
  g_autofree char *tags = format_strings_member (answer, "tags");
  cli_say (cli, "%s has the tags: %s", id, tags);
  return TRUE;
}

const Verb verb_tag = {
  .name = "tag",
  .arguments = "ID TAG",
  .summary = "Give a checkpoint a name: GUEST@TAG",
  .group = VERB_GROUP_CHECKPOINTS,
  .min_args = 2,
  .max_args = 2,
  .run = run_tag,
};

static gboolean
remove_one (Cli *cli, const char *ref, gpointer user_data, GError **error)
{
  g_autoptr (GString) path = cli_checkpoint_path (cli, ref, NULL, error);
  g_autoptr (JsonObject) answer =
      path != NULL ? api_call (cli->api, "DELETE", path, NULL, error) : NULL;

  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
    return TRUE;
  }
  g_autofree char *id = format_id_member (answer, "id");
  output_line (cli->out, id);
  return TRUE;
}

static gboolean
run_rm (Cli *cli, const VerbCall *call, GError **error)
{
  return cli_for_each (cli, call->args, remove_one, NULL);
}

const Verb verb_rm = {
  .name = "rm",
  .arguments = "ID…",
  .summary = "Delete checkpoints",
  .details = "Every other checkpoint stays whole. The space comes back with 'vmckpt store gc'.",
  .group = VERB_GROUP_CHECKPOINTS,
  .min_args = 1,
  .max_args = G_MAXUINT,
  .run = run_rm,
};
