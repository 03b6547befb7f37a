/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt checkpoint: from a guest into the store. */
#include "cli-error.h"
#include "cli-format.h"
#include "proof-values.h"
#include "report-text.h"
#include "verb.h"

#include <vmckpt/util/json.h>

typedef struct {
  gboolean live, stop;
  char *engine, *tag, *note;
  gboolean quiesce, prove;
  ProofValues proof;
  char *quiesce_time;
  char *every, *duration, *count;
} CheckpointValues;

#define VALUE(member) G_STRUCT_OFFSET (CheckpointValues, member)
static const VerbOption checkpoint_options[] = {
  { "live", 0, G_OPTION_ARG_NONE, VALUE (live), NULL, "the guest runs on meanwhile (default)" },
  { "stop", 0, G_OPTION_ARG_NONE, VALUE (stop), NULL, "the guest is paused meanwhile" },
  { "engine", 0, G_OPTION_ARG_FILENAME, VALUE (engine), "NAME",
    "how RAM is captured: auto, tracked or stream" },
  { "tag", 0, G_OPTION_ARG_FILENAME, VALUE (tag), "TAG", "a name for the checkpoint" },
  { "note", 0, G_OPTION_ARG_FILENAME, VALUE (note), "TEXT", "a remark kept with it" },
  { "quiesce", 0, G_OPTION_ARG_NONE, VALUE (quiesce), NULL,
    "freeze its file systems over the instant" },
  { "quiesce-time", 0, G_OPTION_ARG_FILENAME, VALUE (quiesce_time), "TIME",
    "so long may freezing take (10s)" },
  { "prove", 0, G_OPTION_ARG_NONE, VALUE (prove), NULL, "it is good only if it can be restored" },
  { "timeout", 0, G_OPTION_ARG_FILENAME, VALUE (proof.timeout), "TIME",
    "with --prove: so long may its guest take" },
  { "until", 0, G_OPTION_ARG_FILENAME, VALUE (proof.until), "TEXT",
    "with --prove: it has to print this" },
  { "command", 0, G_OPTION_ARG_FILENAME, VALUE (proof.command), "COMMAND",
    "with --prove: this has to succeed in it" },
  { "every", 0, G_OPTION_ARG_FILENAME, VALUE (every), "TIME",
    "one after the other: 1s, 10min; none: no more" },
  { "for", 0, G_OPTION_ARG_FILENAME, VALUE (duration), "TIME", "with --every: for so long" },
  { "count", 0, G_OPTION_ARG_FILENAME, VALUE (count), "N", "with --every: so many at most" },
  { NULL },
};
#undef VALUE

/* "0.4%" */
static char *
format_share (JsonObject *object, const char *member)
{
  return g_strdup_printf ("%.2g%%",
                          100 * json_object_get_double_member_with_default (object, member, 0));
}

static void
print_summary (Cli *cli, JsonObject *summary, const char *name)
{
  if (cli->json) {
    cli_print_json (cli, summary);
    return;
  }
  gint64 count = json_object_get_int_member_with_default (summary, "checkpoints", 0);
  gint64 missed = json_object_get_int_member_with_default (summary, "missed", 0) +
                  json_object_get_int_member_with_default (summary, "skipped", 0);
  g_autofree char *median = format_ms_member (summary, "pause_ms_median");
  g_autofree char *worst = format_ms_member (summary, "pause_ms_worst");
  g_autofree char *stored = format_size_member (summary, "stored_bytes");
  g_autofree char *paused = format_share (summary, "paused_share");
  g_autofree char *at_work = format_share (summary, "work_share");
  g_autofree char *left_out =
      missed > 0 ? g_strdup_printf (", %" G_GINT64_FORMAT " left out", missed) : g_strdup ("");
  cli_say (cli,
           "%s: %" G_GINT64_FORMAT " checkpoints%s in %.1f s; pause %s, worst %s; paused for %s of "
           "the time, at work for %s; %s stored",
           name, count, left_out,
           json_object_get_double_member_with_default (summary, "seconds", 0), median, worst,
           paused, at_work, stored);
  if (json_get_string_or (summary, "goes_on_at", NULL) == NULL)
    return;
  g_autofree char *there = format_text_member (summary, "goes_on_at");
  cli_say (cli, "%s has gone to %s, and its checkpoints go on there", name, there);
}

typedef struct {
  Cli *cli;
  char *what; /* begins the line for each */
  guint made;
} PeriodicCall;

/* A CliPartFunc. */
static void
on_periodic_part (JsonObject *report, const char *type, gpointer user_data)
{
  PeriodicCall *periodic = user_data;

  periodic->made++;
  report_print (periodic->cli, report, periodic->what);
}

/* Those that came with the guest and go on by themselves. */
static gboolean
end_kept (Cli *cli, const char *name, GError **error)
{
  g_autoptr (GString) path = cli_guest_path (name, "checkpoints");
  g_autoptr (JsonObject) answer = api_call (cli->api, "DELETE", path, NULL, error);

  if (answer == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, answer);
  else
    cli_say (cli, "%s: %" G_GUINT64_FORMAT " schedules of checkpoints have ended", name,
             json_get_uint64_or (answer, "ended", 0));
  return TRUE;
}

static gboolean
run_periodic (Cli *cli, const char *name, const CheckpointValues *values, JsonObject *body,
              GError **error)
{
  g_autoptr (GString) path = cli_guest_path (name, "checkpoints");
  g_autofree char *what = g_strdup_printf ("%s: checkpoint", name);
  PeriodicCall periodic = { cli, what, 0 };

  if (!cli_add_store (cli, path, error) || !cli_set_count (body, "count", values->count, error))
    return FALSE;
  json_object_set_string_member (body, "every", values->every);
  cli_set_string (body, "for", values->duration);
  g_autoptr (JsonObject) summary =
      cli_call_parts (cli, path, body, name, on_periodic_part, &periodic, error);
  if (summary != NULL)
    print_summary (cli, summary, name);
  else if (g_cancellable_is_cancelled (cli->cancellable))
    cli_say (cli, "%s: %u checkpoints were made", name, periodic.made);
  return summary != NULL;
}

/* Options that do not go together, or say nothing. */
static gboolean
check_values (const CheckpointValues *values, GError **error)
{
  const char *text = NULL;

  if (values->live && values->stop)
    text = "checkpoint: --live and --stop exclude each other";
  else if (values->every == NULL && (values->duration != NULL || values->count != NULL))
    text = "checkpoint: --for and --count go with --every";
  else if (values->quiesce_time != NULL && !values->quiesce)
    text = "checkpoint: --quiesce-time goes with --quiesce";
  else if (values->every != NULL && values->prove)
    text = "checkpoint: --prove is for one checkpoint, not with --every";
  if (text != NULL)
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, text);
  return text == NULL;
}

static gboolean
run_checkpoint (Cli *cli, const VerbCall *call, GError **error)
{
  const CheckpointValues *values = call->values;
  const char *name = call->args[0];
  g_autoptr (GString) path = cli_guest_path (name, "checkpoint");
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) report = NULL;

  if (!check_values (values, error))
    return FALSE;
  if (g_strcmp0 (values->every, "none") == 0)
    return end_kept (cli, name, error);
  if (!proof_values_add (&values->proof, values->prove, "prove", body, error) ||
      !cli_add_store (cli, path, error))
    return FALSE;
  json_object_set_string_member (body, "mode", values->stop ? "stop" : "live");
  cli_set_string (body, "engine", values->engine);
  cli_set_string (body, "tag", values->tag);
  cli_set_string (body, "note", values->note);
  if (values->quiesce)
    json_object_set_boolean_member (body, "quiesce", TRUE);
  cli_set_string (body, "quiesce_time", values->quiesce_time);
  if (values->every != NULL)
    return run_periodic (cli, name, values, body, error);
  report = cli_call_long (cli, path, body, name, error);
  if (report == NULL)
    return FALSE;
  g_autofree char *what = g_strdup_printf ("%s: checkpoint", name);
  report_print (cli, report, what);
  if (values->prove && !cli->json) {
    g_autofree char *id = format_id_member (report, "id");
    JsonObject *proof = json_get_object (report, "proof", NULL);
    if (proof != NULL)
      proof_values_say (cli, proof, id);
  }
  return TRUE;
}

const Verb verb_checkpoint = {
  .name = "checkpoint",
  .arguments = "NAME",
  .summary = "Take a checkpoint of a guest and print its id",
  .details = "With --every, checkpoints at regular times until --for or --count ends it, or\n"
             "Ctrl-C. A time that passes while one is still being taken is left out. If the\n"
             "guest is migrated, they go on at the other host, until --every none there.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = checkpoint_options,
  .values_size = sizeof (CheckpointValues),
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; the guest runs on",
  .run = run_checkpoint,
};
