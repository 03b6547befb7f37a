/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt doctor, completion, help: about this host and this program. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

typedef struct {
  char *qemu, *host, *domain;
} DoctorValues;

static const VerbOption doctor_options[] = {
  { "qemu", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (DoctorValues, qemu), "PROGRAM",
    "the QEMU to look at" },
  { "host", 0, G_OPTION_ARG_STRING, G_STRUCT_OFFSET (DoctorValues, host), "HOST",
    "see whether guests can be moved there" },
  { "domain", 0, G_OPTION_ARG_FILENAME, G_STRUCT_OFFSET (DoctorValues, domain), "DOMAIN",
    "what a domain's checkpoints will contain" },
  { NULL },
};

/* Sentences are too wide for a table. */
static void
print_checks (Cli *cli, JsonArray *checks)
{
  for (guint i = 0; i < json_array_get_length (checks); i++) {
    g_autoptr (JsonObject) check = cli_element (checks, i);
    gboolean ok = json_get_bool_or (check, "ok", FALSE);
    g_autofree char *name = format_text_member (check, "check");
    g_autofree char *found = format_text_member (check, "found");
    g_autofree char *purpose = format_text_member (check, "for");
    g_autofree char *mend = format_text_member (check, "mend");
    output_print (cli->out, "%-6s %s: %s\n       for %s\n", ok ? "ok" : "lacks", name, found,
                  purpose);
    if (!ok && !g_str_equal (mend, "-"))
      output_print (cli->out, "       mend: %s\n", mend);
  }
}

static void
print_contents (Cli *cli, JsonObject *answer)
{
  g_autoptr (Table) table = table_new ("PART", "NAME", ">SIZE", "KEPT", "HOW", NULL);
  g_autoptr (JsonArray) contents = cli_array (answer, "contents");

  for (guint i = 0; i < json_array_get_length (contents); i++) {
    g_autoptr (JsonObject) part = cli_element (contents, i);
    table_take (table, format_text_member (part, "part"));
    table_take (table, format_text_member (part, "name"));
    table_take (table, format_size_member (part, "bytes"));
    table_take (table, g_strdup (json_get_bool_or (part, "kept", FALSE) ? "yes" : "no"));
    table_take (table, format_text_member (part, "how"));
  }
  table_write (table, cli->out);
}

static void
print_findings (Cli *cli, JsonObject *answer)
{
  g_autoptr (JsonArray) findings = cli_array (answer, "findings");

  for (guint i = 0; i < json_array_get_length (findings); i++) {
    g_autoptr (JsonObject) finding = cli_element (findings, i);
    g_autofree char *level = format_text_member (finding, "level");
    g_autofree char *check = format_text_member (finding, "check");
    g_autofree char *found = format_text_member (finding, "found");
    g_autofree char *mend = format_text_member (finding, "mend");
    output_print (cli->out, "%-9s %s: %s\n", level, check, found);
    if (!g_str_equal (mend, "-"))
      output_print (cli->out, "          mend: %s\n", mend);
  }
}

static gboolean
examine_domain (Cli *cli, const char *domain, GError **error)
{
  g_autoptr (GString) path = api_path ("domains", domain, "doctor", NULL);
  g_autoptr (JsonObject) answer = api_call (cli->api, "GET", path, NULL, error);

  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
  } else {
    g_autofree char *prepared = format_text_member (answer, "prepared");
    g_autofree char *engine = format_text_member (answer, "engine");
    print_contents (cli, answer);
    output_print (cli->out, "prepared: %s, engine: %s\n", prepared, engine);
    print_findings (cli, answer);
  }
  if (!json_get_bool_or (answer, "possible", FALSE))
    cli->status = MAX (cli->status, cli_error_exit_status (CLI_ERROR_NOT_POSSIBLE));
  return TRUE;
}

static gboolean
run_doctor (Cli *cli, const VerbCall *call, GError **error)
{
  const DoctorValues *values = call->values;
  g_autoptr (GString) path = api_path ("doctor", NULL);
  g_autoptr (JsonObject) answer = NULL;
  g_autoptr (JsonArray) checks = NULL;

  if (values->domain != NULL)
    return examine_domain (cli, values->domain, error);
  if (values->qemu != NULL) {
    g_autofree char *qemu = cli_program (values->qemu, error);
    if (qemu == NULL)
      return FALSE;
    api_path_add (path, "qemu", qemu);
  }
  if (values->host != NULL)
    api_path_add (path, "host", values->host);
  answer = api_call (cli->api, "GET", path, NULL, error);
  if (answer == NULL)
    return FALSE;
  checks = cli_array (answer, "checks");
  if (!cli_print_json_list (cli, checks))
    print_checks (cli, checks);
  return TRUE;
}

const Verb verb_doctor = {
  .name = "doctor",
  .arguments = "",
  .summary = "Show what this host can do, and what lacks",
  .group = VERB_GROUP_OTHER,
  .options = doctor_options,
  .values_size = sizeof (DoctorValues),
  .run = run_doctor,
};

static gboolean
run_completion (Cli *cli, const VerbCall *call, GError **error)
{
  g_autofree char *script = completion_script (call->args[0], error);

  if (script != NULL)
    output_print (cli->out, "%s", script);
  return script != NULL;
}

const Verb verb_completion = {
  .name = "completion",
  .arguments = "bash | zsh | fish",
  .summary = "Print the completion script for a shell",
  .group = VERB_GROUP_OTHER,
  .min_args = 1,
  .max_args = 1,
  .offline = TRUE,
  .run = run_completion,
};

static gboolean
run_help (Cli *cli, const VerbCall *call, GError **error)
{
  g_autofree char *text = NULL;

  if (call->n_args > 0 && verb_family_words (call->args) == call->n_args) {
    text = help_family();
  } else if (call->n_args > 0) {
    guint used;
    const Verb *verb = verb_find (call->args, &used, error);
    text = verb != NULL ? help_verb (verb) : NULL;
  } else {
    text = help_all();
  }
  if (text != NULL)
    output_print (cli->out, "%s", text);
  return text != NULL;
}

const Verb verb_help = {
  .name = "help",
  .arguments = "[VERB]",
  .summary = "Show help",
  .group = VERB_GROUP_OTHER,
  .max_args = 2,
  .offline = TRUE,
  .run = run_help,
};
