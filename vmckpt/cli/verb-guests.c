/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt ps, kill, pause, continue: the guests of this host. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

#include <string.h>

#define REASON_IN_TABLE 30 /* bytes; a longer one would push all columns out of the terminal */

/* "exited (powered off)" */
static char *
state_text (JsonObject *guest)
{
  g_autofree char *state = format_text_member (guest, "state");
  g_autofree char *reason = format_text_member (guest, "reason");

  return g_str_equal (reason, "-") || strlen (reason) > REASON_IN_TABLE
             ? g_steal_pointer (&state)
             : g_strdup_printf ("%s (%s)", state, reason);
}

/* The reasons that did not go into the table, a line each. */
static void
print_long_reasons (Cli *cli, JsonArray *guests)
{
  for (guint i = 0; i < json_array_get_length (guests); i++) {
    g_autoptr (JsonObject) guest = cli_element (guests, i);
    g_autofree char *name = format_text_member (guest, "name");
    g_autofree char *state = format_text_member (guest, "state");
    g_autofree char *reason = format_text_member (guest, "reason");
    g_autofree char *line = g_strdup_printf ("%s is %s: %s", name, state, reason);
    if (strlen (reason) > REASON_IN_TABLE)
      output_line (cli->out, line);
  }
}

/* Checkpoints that nobody's command waits for, a line each. */
static void
print_schedules (Cli *cli, JsonArray *guests)
{
  for (guint i = 0; i < json_array_get_length (guests); i++) {
    g_autoptr (JsonObject) guest = cli_element (guests, i);
    g_autofree char *name = format_text_member (guest, "name");
    g_autoptr (JsonArray) schedules = cli_array (guest, "schedules");
    for (guint j = 0; j < json_array_get_length (schedules); j++) {
      g_autoptr (JsonObject) one = cli_element (schedules, j);
      g_autofree char *every = format_text_member (one, "every");
      g_autofree char *store = format_text_member (one, "store");
      g_autofree char *trouble = format_text_member (one, "trouble");
      g_autofree char *line =
          g_strdup_printf ("%s: checkpoints every %s go on by themselves, into %s%s%s", name, every,
                           store, g_str_equal (trouble, "-") ? "" : "; not taken: ",
                           g_str_equal (trouble, "-") ? "" : trouble);
      if (json_get_bool_or (one, "kept", FALSE))
        output_line (cli->out, line);
    }
  }
}

/* "40.2 MiB of 2.0 GiB", or just the size. */
static char *
ram_text (JsonObject *guest)
{
  g_autofree char *size = format_size_member (guest, "ram_bytes");
  guint64 filled = json_get_uint64_or (guest, "filled_bytes", G_MAXUINT64);

  if (filled == G_MAXUINT64)
    return g_steal_pointer (&size);
  g_autofree char *there = format_size_member (guest, "filled_bytes");
  return g_strdup_printf ("%s of %s", there, size);
}

/* "1.2 GiB of 2.0 GiB" while disks come from a store, else "-". */
static char *
disks_text (JsonObject *guest)
{
  if (json_get_uint64_or (guest, "disk_bytes_there", G_MAXUINT64) == G_MAXUINT64)
    return g_strdup ("-");
  g_autofree char *size = format_size_member (guest, "disk_bytes");
  g_autofree char *there = format_size_member (guest, "disk_bytes_there");
  return g_strdup_printf ("%s of %s", there, size);
}

typedef struct {
  gboolean wait;
} PsValues;

static const VerbOption ps_options[] = {
  { "wait", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (PsValues, wait), NULL,
    "wait until all of the named guests is there" },
  { NULL },
};

static gboolean
wait_for_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  g_autoptr (GString) path = cli_guest_path (name, "fill");
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) guest = cli_call_long (cli, path, body, name, error);

  return guest != NULL;
}

static gboolean
run_ps (Cli *cli, const VerbCall *call, GError **error)
{
  const PsValues *values = call->values;
  g_autoptr (GString) path = api_path ("guests", NULL);

  if (values->wait != (call->n_args > 0)) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "ps: names of guests go with --wait, and --wait with names");
    return FALSE;
  }
  if (values->wait)
    return cli_for_each (cli, call->args, wait_for_one, NULL);
  g_autoptr (JsonObject) answer = api_call (cli->api, "GET", path, NULL, error);
  g_autoptr (JsonArray) guests = NULL;
  g_autoptr (Table) table = NULL;

  if (answer == NULL)
    return FALSE;
  guests = cli_array (answer, "guests");
  const char *trouble = json_get_string_or (answer, "libvirt_error", NULL);
  if (trouble != NULL)
    cli_say (cli, "libvirt's domains are not among them: %s", trouble);
  if (json_get_bool_or (answer, "drained", FALSE))
    cli_say (cli, "this host is drained and takes no guests; 'vmckpt drain --undo' ends that");
  if (cli_print_json_list (cli, guests))
    return TRUE;
  table = table_new ("NAME", "STATE", ">RAM", ">DISKS", ">CPUS", "DRIVER", "ACCEL", "QEMU", ">PID",
                     "STARTED", "CHECKPOINT", "OPERATION", NULL);
  for (guint i = 0; i < json_array_get_length (guests); i++) {
    g_autoptr (JsonObject) guest = cli_element (guests, i);
    table_take (table, format_text_member (guest, "name"));
    table_take (table, state_text (guest));
    table_take (table, ram_text (guest));
    table_take (table, disks_text (guest));
    table_take (table, format_count_member (guest, "cpus"));
    table_take (table, format_text_member (guest, "driver"));
    table_take (table, format_text_member (guest, "accel"));
    table_take (table, format_text_member (guest, "qemu_version"));
    table_take (table, json_get_uint64_or (guest, "pid", 0) > 0 ? format_count_member (guest, "pid")
                                                                : g_strdup ("-"));
    table_take (table, format_time_member (guest, "started_us"));
    table_take (table, format_id_member (guest, "checkpoint"));
    table_take (table, format_text_member (guest, "operation"));
  }
  table_write (table, cli->out);
  print_long_reasons (cli, guests);
  print_schedules (cli, guests);
  return TRUE;
}

const Verb verb_ps = {
  .name = "ps",
  .arguments = "[--wait NAME…]",
  .summary = "List the guests of this host",
  .details = "A restored guest runs while its memory and disks are still being read: RAM and\n"
             "DISKS say how much is there. --wait returns when all is.",
  .group = VERB_GROUP_GUESTS,
  .options = ps_options,
  .values_size = sizeof (PsValues),
  .max_args = G_MAXUINT,
  .run = run_ps,
};

/* Prints the guest that the call was about. */
static void
print_guest (Cli *cli, JsonObject *guest, const char *name, const char *what)
{
  if (cli->json)
    cli_print_json (cli, guest);
  else
    cli_say (cli, "%s %s", name, what);
}

typedef struct {
  gboolean remove_disks;
} KillValues;

static const VerbOption kill_options[] = {
  { "remove-disks", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (KillValues, remove_disks), NULL,
    "remove the disks that a restore made for them" },
  { NULL },
};

/* Says which files of a guest that is gone stay. */
static void
say_left_disks (Cli *cli, JsonObject *answer)
{
  g_autoptr (JsonArray) disks = cli_array (answer, "disks");

  for (guint i = 0; !cli->json && i < json_array_get_length (disks); i++) {
    const char *raw = json_array_string_or_null (disks, i);
    g_autofree char *file = format_clean (raw != NULL ? raw : "");
    cli_say (cli, "  its disk stays: %s", file);
  }
}

static gboolean
kill_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  const KillValues *values = user_data;
  g_autoptr (GString) path = cli_guest_path (name, NULL);

  if (values->remove_disks)
    api_path_add (path, "remove_disks", "true");
  g_autoptr (JsonObject) answer = api_call (cli->api, "DELETE", path, NULL, error);
  if (answer == NULL)
    return FALSE;
  json_object_set_string_member (answer, "name", name);
  print_guest (cli, answer, name, "has ended");
  say_left_disks (cli, answer);
  return TRUE;
}

static gboolean
run_kill (Cli *cli, const VerbCall *call, GError **error)
{
  return cli_for_each (cli, call->args, kill_one, (gpointer)call->values);
}

const Verb verb_kill = {
  .name = "kill",
  .arguments = "NAME…",
  .summary = "End guests; what was not checkpointed is gone",
  .details = "A guest that has exited is taken off the list. Disks that a restore made stay\n"
             "unless --remove-disks says otherwise.",
  .group = VERB_GROUP_GUESTS,
  .options = kill_options,
  .values_size = sizeof (KillValues),
  .min_args = 1,
  .max_args = G_MAXUINT,
  .run = run_kill,
};

typedef struct {
  gboolean take_over;
} ContinueValues;

static const VerbOption continue_options[] = {
  { "take-over", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (ContinueValues, take_over), NULL,
    "it was handed over to a host that is certainly dead" },
  { NULL },
};

static gboolean
post_action (Cli *cli, const char *name, const char *action, gboolean take_over, const char *what,
             GError **error)
{
  g_autoptr (GString) path = cli_guest_path (name, action);
  g_autoptr (JsonObject) body = json_object_new();
  if (take_over)
    json_object_set_boolean_member (body, "take_over", TRUE);
  g_autoptr (JsonObject) guest = api_call (cli->api, "POST", path, body, error);

  if (guest == NULL)
    return FALSE;
  print_guest (cli, guest, name, what);
  return TRUE;
}

static gboolean
pause_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  return post_action (cli, name, "pause", FALSE, "is paused", error);
}

static gboolean
continue_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  const ContinueValues *values = user_data;

  return post_action (cli, name, "continue", values->take_over, "is running", error);
}

static gboolean
run_pause (Cli *cli, const VerbCall *call, GError **error)
{
  return cli_for_each (cli, call->args, pause_one, NULL);
}

static gboolean
run_continue (Cli *cli, const VerbCall *call, GError **error)
{
  return cli_for_each (cli, call->args, continue_one, (gpointer)call->values);
}

const Verb verb_pause = {
  .name = "pause",
  .arguments = "NAME…",
  .summary = "Stop the CPUs of guests; they stay in memory",
  .group = VERB_GROUP_GUESTS,
  .min_args = 1,
  .max_args = G_MAXUINT,
  .run = run_pause,
};

const Verb verb_continue = {
  .name = "continue",
  .arguments = "NAME…",
  .summary = "Let the CPUs of paused guests run",
  .group = VERB_GROUP_GUESTS,
  .options = continue_options,
  .values_size = sizeof (ContinueValues),
  .min_args = 1,
  .max_args = G_MAXUINT,
  .run = run_continue,
};
