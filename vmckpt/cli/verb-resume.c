/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt resume: suspended guests back from the store. */
#include "cli-error.h"
#include "cli-format.h"
#include "restored-text.h"
#include "verb.h"

#include <vmckpt/util/json.h>

typedef struct {
  gboolean all, take_over, last, lost;
  char *sync_time, *parallel, *start_delay, *order, *driver;
} ResumeValues;

#define VALUE(member) G_STRUCT_OFFSET (ResumeValues, member)
static const VerbOption resume_options[] = {
  { "all", 0, G_OPTION_ARG_NONE, VALUE (all), NULL, "every suspended guest of the store" },
  { "last", 0, G_OPTION_ARG_NONE, VALUE (last), NULL,
    "of these only who 'suspend --all' took off here" },
  { "lost", 0, G_OPTION_ARG_NONE, VALUE (lost), NULL, "and who ran here when the host went down" },
  { "sync-time", 0, G_OPTION_ARG_FILENAME, VALUE (sync_time), "yes|no",
    "set their clocks right (yes)" },
  { "order", 0, G_OPTION_ARG_FILENAME, VALUE (order), "ORDER",
    "who is first: priority, size or name" },
  { "parallel", 0, G_OPTION_ARG_FILENAME, VALUE (parallel), "N", "so many at a time" },
  { "start-delay", 0, G_OPTION_ARG_FILENAME, VALUE (start_delay), "TIME",
    "between one and the next, e.g. 5s" },
  { "driver", 0, G_OPTION_ARG_FILENAME, VALUE (driver), "NAME", "only guests of qemu or libvirt" },
  { "take-over", 0, G_OPTION_ARG_NONE, VALUE (take_over), NULL,
    "the host that runs it is known to be dead" },
  { NULL },
};
#undef VALUE

static gboolean
set_common (JsonObject *body, const ResumeValues *values, GError **error)
{
  if (values->take_over)
    json_object_set_boolean_member (body, "take_over", TRUE);
  return restored_set_sync_time (body, values->sync_time, error);
}

static gboolean
resume_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  g_autoptr (GString) path = cli_guest_path (name, "resume");
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;

  if (!cli_add_store (cli, path, error) || !set_common (body, user_data, error))
    return FALSE;
  result = cli_call_long (cli, path, body, name, error);
  if (result == NULL)
    return FALSE;
  restored_print (cli, result, name);
  return TRUE;
}

/* ---- All ---- */

/* A CliPartFunc: what became of one. */
static void
on_guest (JsonObject *line, const char *type, gpointer user_data)
{
  Cli *cli = user_data;
  const char *raw = json_get_string_or (line, "name", "?");
  g_autofree char *name = format_clean (raw);
  g_autofree char *reason = format_text_member (line, "reason");

  if (g_strcmp0 (json_get_string_or (line, "outcome", NULL), "resumed") == 0)
    restored_print (cli, line, name);
  else if (cli->json)
    cli_print_json (cli, line);
  else
    output_print (cli->err, "vmckpt: %s: %s\n", name, reason);
}

static gboolean
resume_all (Cli *cli, const ResumeValues *values, GError **error)
{
  g_autoptr (GString) path = api_path ("resume", NULL);
  g_autoptr (JsonObject) body = json_object_new();

  if (!cli_add_store (cli, path, error) || !set_common (body, values, error) ||
      !cli_set_count (body, "parallel", values->parallel, error))
    return FALSE;
  if (values->last)
    json_object_set_boolean_member (body, "last", TRUE);
  if (values->lost)
    json_object_set_boolean_member (body, "lost", TRUE);
  cli_set_string (body, "start_delay", values->start_delay);
  cli_set_string (body, "order", values->order);
  cli_set_string (body, "driver", values->driver);
  g_autoptr (JsonObject) result = cli_call_parts (cli, path, body, "resume", on_guest, cli, error);
  if (result == NULL)
    return FALSE;
  gint64 failed = json_object_get_int_member_with_default (result, "failed", 0);
  g_autoptr (JsonArray) guests = cli_array (result, "guests");
  if (cli->json)
    cli_print_json (cli, result);
  else if (json_array_get_length (guests) == 0)
    cli_say (cli, "no guest of this store is to be resumed");
  if (failed == 0)
    return TRUE;
  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "%" G_GINT64_FORMAT " guest%s not resumed",
               failed, failed == 1 ? " was" : "s were");
  return FALSE;
}

static gboolean
run_resume (Cli *cli, const VerbCall *call, GError **error)
{
  const ResumeValues *values = call->values;
  gboolean of_all = values->last || values->lost || values->parallel != NULL ||
                    values->start_delay != NULL || values->order != NULL || values->driver != NULL;
  const char *problem = NULL;

  if (values->all == (call->n_args > 0))
    problem = "either the names of guests or --all";
  else if (of_all && !values->all)
    problem = "only --sync-time and --take-over go without --all";
  if (problem != NULL) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "resume: %s", problem);
    return FALSE;
  }
  if (values->all)
    return resume_all (cli, values, error);
  return cli_for_each (cli, call->args, resume_one, (gpointer)values);
}

const Verb verb_resume = {
  .name = "resume",
  .arguments = "NAME… | --all",
  .summary = "Bring suspended or paused guests back",
  .details = "With --all, by priority, each after its start delay (set); all run before the\n"
             "memory of any is read in the background, and who was paused comes back paused.\n"
             "At boot, --all --last brings back who ran when this host was shut down, and no\n"
             "one else; --lost adds who ran when its power failed, from their newest\n"
             "checkpoint.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = resume_options,
  .values_size = sizeof (ResumeValues),
  .max_args = G_MAXUINT,
  .interrupted = "interrupted; the checkpoint is as it was",
  .run = run_resume,
};
