/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt suspend: guests into the store, and off. */
#include "cli-error.h"
#include "cli-format.h"
#include "report-text.h"
#include "verb.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

typedef struct {
  gboolean all;
  char *tag, *note;
  char *parallel, *memory_limit, *rate, *deadline, *fallback, *order, *driver;
} SuspendValues;

#define VALUE(member) G_STRUCT_OFFSET (SuspendValues, member)
static const VerbOption suspend_options[] = {
  { "all", 0, G_OPTION_ARG_NONE, VALUE (all), NULL, "every guest of this host" },
  { "tag", 0, G_OPTION_ARG_FILENAME, VALUE (tag), "TAG", "a name for the checkpoints" },
  { "note", 0, G_OPTION_ARG_FILENAME, VALUE (note), "TEXT", "a remark kept with them" },
  { "deadline", 0, G_OPTION_ARG_FILENAME, VALUE (deadline), "TIME",
    "with --all: all is over by then, e.g. 90s" },
  { "fallback", 0, G_OPTION_ARG_FILENAME, VALUE (fallback), "WHAT",
    "of who cannot be saved: leave, shutdown" },
  { "order", 0, G_OPTION_ARG_FILENAME, VALUE (order), "ORDER",
    "who is first: priority, size or name" },
  { "parallel", 0, G_OPTION_ARG_FILENAME, VALUE (parallel), "N", "so many at a time" },
  { "memory-limit", 0, G_OPTION_ARG_FILENAME, VALUE (memory_limit), "SIZE",
    "so much memory for saving them" },
  { "rate", 0, G_OPTION_ARG_FILENAME, VALUE (rate), "SIZE",
    "bytes a second to plan with, not measured" },
  { "driver", 0, G_OPTION_ARG_FILENAME, VALUE (driver), "NAME", "only guests of qemu or libvirt" },
  { NULL },
};
#undef VALUE

static gboolean
suspend_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  const SuspendValues *values = user_data;
  g_autoptr (GString) path = cli_guest_path (name, "suspend");
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) report = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  cli_set_string (body, "tag", values->tag);
  cli_set_string (body, "note", values->note);
  report = cli_call_long (cli, path, body, name, error);
  if (report == NULL)
    return FALSE;
  g_autofree char *what = g_strdup_printf ("%s: suspended", name);
  report_print (cli, report, what);
  return TRUE;
}

/* ---- All ---- */

typedef struct {
  Cli *cli;
  guint saved;
} SuspendAll;

/* A CliPartFunc: what became of one. */
static void
on_guest (JsonObject *line, const char *type, gpointer user_data)
{
  SuspendAll *all = user_data;
  Cli *cli = all->cli;
  const char *outcome = json_get_string_or (line, "outcome", "");
  g_autofree char *name = format_text_member (line, "name");
  g_autofree char *reason = format_text_member (line, "reason");

  if (g_str_equal (outcome, "saved")) {
    g_autofree char *what = g_strdup_printf ("%s: suspended", name);
    all->saved++;
    report_print (cli, line, what);
  } else if (cli->json) {
    cli_print_json (cli, line);
  } else if (g_str_equal (outcome, "shut-down")) {
    cli_say (cli, "%s: shut down, not saved: %s", name, reason);
  } else if (g_str_equal (outcome, "gone")) {
    cli_say (cli, "%s: not here any more: %s", name, reason);
  } else {
    g_autofree char *id = format_id_member (line, "newest");
    cli_say (cli, "%s: still here, not saved: %s; its newest checkpoint: %s", name, reason, id);
  }
}

static gboolean
set_size (JsonObject *body, const char *option, const char *member, const char *value,
          GError **error)
{
  guint64 bytes;

  if (value == NULL)
    return TRUE;
  if (!bytes_parse_size (value, &bytes, error))
    return FALSE;
  if (bytes == 0 || bytes > G_MAXINT64) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "%s %s is no size that can be used", option,
                 value);
    return FALSE;
  }
  json_object_set_int_member (body, member, bytes);
  return TRUE;
}

static gboolean
suspend_all (Cli *cli, const SuspendValues *values, GError **error)
{
  g_autoptr (GString) path = api_path ("suspend", NULL);
  g_autoptr (JsonObject) body = json_object_new();
  SuspendAll all = { .cli = cli };

  if (!cli_add_store (cli, path, error) ||
      !cli_set_count (body, "parallel", values->parallel, error) ||
      !set_size (body, "--memory-limit", "memory_limit", values->memory_limit, error) ||
      !set_size (body, "--rate", "rate", values->rate, error))
    return FALSE;
  cli_set_string (body, "tag", values->tag);
  cli_set_string (body, "note", values->note);
  cli_set_string (body, "deadline", values->deadline);
  cli_set_string (body, "fallback", values->fallback);
  cli_set_string (body, "order", values->order);
  cli_set_string (body, "driver", values->driver);
  g_autoptr (JsonObject) result =
      cli_call_parts (cli, path, body, "suspend", on_guest, &all, error);
  if (result == NULL) {
    if (g_cancellable_is_cancelled (cli->cancellable))
      cli_say (cli, "%u guest%s suspended and stay%s so", all.saved,
               all.saved == 1 ? " is" : "s are", all.saved == 1 ? "s" : "");
    return FALSE;
  }
  gint64 left = json_object_get_int_member_with_default (result, "left", 0);
  g_autoptr (JsonArray) guests = cli_array (result, "guests");
  if (cli->json)
    cli_print_json (cli, result);
  else if (json_array_get_length (guests) == 0)
    cli_say (cli, "no guest is here");
  if (left == 0)
    return TRUE;
  g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED, "%" G_GINT64_FORMAT " guest%s not saved", left,
               left == 1 ? " was" : "s were");
  return FALSE;
}

static gboolean
run_suspend (Cli *cli, const VerbCall *call, GError **error)
{
  const SuspendValues *values = call->values;
  gboolean of_all = values->parallel != NULL || values->memory_limit != NULL ||
                    values->rate != NULL || values->deadline != NULL || values->fallback != NULL ||
                    values->order != NULL || values->driver != NULL;
  const char *problem = NULL;

  if (values->all == (call->n_args > 0))
    problem = "either the names of guests or --all";
  else if (of_all && !values->all)
    problem = "only --tag and --note go without --all";
  if (problem != NULL) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "suspend: %s", problem);
    return FALSE;
  }
  if (values->all)
    return suspend_all (cli, values, error);
  return cli_for_each (cli, call->args, suspend_one, (gpointer)values);
}

const Verb verb_suspend = {
  .name = "suspend",
  .arguments = "NAME… | --all",
  .summary = "Checkpoint guests and power them off",
  .details = "A guest is off only if its checkpoint exists. 'vmckpt resume' brings it back.\n"
             "With --all, several at a time: first who has the greatest priority (set), then\n"
             "who has the least to write. Who cannot be saved by the deadline is told as soon\n"
             "as that is foreseen, and left running or shut down. Exit status 0: nobody runs.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = suspend_options,
  .values_size = sizeof (SuspendValues),
  .max_args = G_MAXUINT,
  .interrupted = "interrupted; who is not suspended runs on",
  .run = run_suspend,
};
