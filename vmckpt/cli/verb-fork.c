/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt fork: from a checkpoint, or a guest that runs, to several guests. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

#include <string.h>

typedef struct {
  char *count, *prefix, *qemu;
  gboolean paused, wait;
} ForkValues;

#define VALUE(member) G_STRUCT_OFFSET (ForkValues, member)
static const VerbOption fork_options[] = {
  { "count", 'n', G_OPTION_ARG_FILENAME, VALUE (count), "N",
    "how many guests, 1 to 64 (default 1)" },
  { "prefix", 0, G_OPTION_ARG_FILENAME, VALUE (prefix), "NAME",
    "what their names begin with (default: the guest's)" },
  { "paused", 0, G_OPTION_ARG_NONE, VALUE (paused), NULL, "do not let their CPUs run yet" },
  { "wait", 0, G_OPTION_ARG_NONE, VALUE (wait), NULL, "until all of their memory has been read" },
  { "qemu", 0, G_OPTION_ARG_FILENAME, VALUE (qemu), "PROGRAM", "QEMU to run them with" },
  { NULL },
};
#undef VALUE

static void
print_memory (Cli *cli, JsonObject *result, guint count)
{
  JsonObject *memory = json_get_object (result, "memory", NULL);

  if (memory == NULL)
    return;
  g_autofree char *total = format_size_member (memory, "total_bytes");
  g_autofree char *template = format_size_member (memory, "template_bytes");
  g_autofree char *own = format_size_member (memory, "own_bytes");
  g_autofree char *one = format_size_member (memory, "one_bytes");
  gboolean complete = json_object_get_boolean_member_with_default (memory, "complete", FALSE);
  cli_say (cli, "memory: %s for %u, of which %s are shared and %s their own; one alone: %s%s",
           total, count, template, own, one, complete ? "" : " (it is still being read)");
}

static void
print_forks (Cli *cli, JsonObject *result)
{
  g_autoptr (JsonArray) guests = cli_array (result, "guests");
  g_autofree char *id = format_id_member (result, "id");
  g_autofree char *wall = format_ms_member (result, "wall_ms");
  guint count = json_array_get_length (guests);

  if (cli->json) {
    cli_print_json (cli, result);
    return;
  }
  for (guint i = 0; i < count; i++) {
    g_autoptr (JsonObject) guest = cli_element (guests, i);
    g_autofree char *name = format_text_member (guest, "name");
    g_autofree char *ms = format_ms_member (guest, "ms");
    g_autofree char *state = format_text_member (guest, "state");
    output_line (cli->out, name);
    cli_say (cli, "%s is %s after %s", name, state, ms);
  }
  cli_say (cli, "%u fork%s of checkpoint %s, after %s", count, count == 1 ? "" : "s", id, wall);
  print_memory (cli, result, count);
}

/* A guest that is here is forked as it is now; anything else names a checkpoint. */
static GString *
fork_path (Cli *cli, const char *ref, GError **error)
{
  g_autoptr (GString) path = NULL;

  if (strchr (ref, '@') != NULL || cli_guest_has_ended (cli, ref))
    return cli_checkpoint_path (cli, ref, "fork", error);
  path = cli_guest_path (ref, "fork");
  if (!cli_add_store (cli, path, error))
    return NULL;
  cli_say (cli, "%s is here: a checkpoint of it is taken and forked", ref);
  return g_steal_pointer (&path);
}

static gboolean
run_fork (Cli *cli, const VerbCall *call, GError **error)
{
  const ForkValues *values = call->values;
  const char *ref = call->args[0];
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autoptr (GString) path = NULL;
  g_autofree char *qemu = NULL;

  if (!cli_set_count (body, "count", values->count, error))
    return FALSE;
  if (values->qemu != NULL && (qemu = cli_program (values->qemu, error)) == NULL)
    return FALSE;
  path = fork_path (cli, ref, error);
  if (path == NULL)
    return FALSE;
  cli_set_string (body, "prefix", values->prefix);
  cli_set_string (body, "qemu", qemu);
  if (values->paused)
    json_object_set_boolean_member (body, "paused", TRUE);
  if (values->wait)
    json_object_set_boolean_member (body, "wait", TRUE);
  result = cli_call_long (cli, path, body, ref, error);
  if (result == NULL)
    return FALSE;
  print_forks (cli, result);
  return TRUE;
}

const Verb verb_fork = {
  .name = "fork",
  .arguments = "ID | NAME[@TAG]",
  .summary = "Start guests from one checkpoint that share its memory",
  .details = "Each has a name (NAME-1, NAME-2, …), UUID, generation id and network\n"
             "addresses of its own. NAME of a guest that runs: through a checkpoint of it,\n"
             "which stays; of another guest: its newest. All are started, or none.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = fork_options,
  .values_size = sizeof (ForkValues),
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; no fork is left, unless they ran already",
  .run = run_fork,
};
