/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt restore, resume: from the store to a running guest. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

typedef struct {
  char *as, *qemu, *accel;
  gboolean paused, take_over, lazy, eager, accept_changed_disks;
} RestoreValues;

#define VALUE(member) G_STRUCT_OFFSET (RestoreValues, member)
static const VerbOption restore_options[] = {
  { "as", 0, G_OPTION_ARG_FILENAME, VALUE (as), "NAME", "another name for the guest" },
  { "lazy", 0, G_OPTION_ARG_NONE, VALUE (lazy), NULL, "run it while its memory is read, or fail" },
  { "eager", 0, G_OPTION_ARG_NONE, VALUE (eager), NULL, "read all of its memory before it runs" },
  { "paused", 0, G_OPTION_ARG_NONE, VALUE (paused), NULL, "do not let its CPUs run yet" },
  { "qemu", 0, G_OPTION_ARG_FILENAME, VALUE (qemu), "PROGRAM", "QEMU to run it with" },
  { "accel", 0, G_OPTION_ARG_FILENAME, VALUE (accel), "KIND", "auto, kvm or tcg" },
  { "take-over", 0, G_OPTION_ARG_NONE, VALUE (take_over), NULL,
    "the host that runs it is known to be dead" },
  { "accept-changed-disks", 0, G_OPTION_ARG_NONE, VALUE (accept_changed_disks), NULL,
    "shared or readonly disks have moved on" },
  { NULL },
};
#undef VALUE

typedef struct {
  gboolean all, take_over;
} ResumeValues;

#define VALUE(member) G_STRUCT_OFFSET (ResumeValues, member)
static const VerbOption resume_options[] = {
  { "all", 0, G_OPTION_ARG_NONE, VALUE (all), NULL, "every suspended guest of the store" },
  { "take-over", 0, G_OPTION_ARG_NONE, VALUE (take_over), NULL,
    "the host that runs it is known to be dead" },
  { NULL },
};
#undef VALUE

/* Prints the guest's name, and the rest for people. A guest that was only paused has no figures. */
static void
print_restored (Cli *cli, JsonObject *result, const char *fallback)
{
  JsonObject *guest = json_get_object (result, "guest", NULL);
  const char *raw = guest != NULL ? json_get_string_or (guest, "name", fallback) : fallback;
  g_autofree char *name = format_clean (raw);
  g_autofree char *id = format_id_member (result, "id");
  g_autofree char *wall = format_ms_member (result, "wall_ms");
  g_autofree char *ram = format_size_member (result, "ram_bytes");

  if (cli->json) {
    cli_print_json (cli, result);
    return;
  }
  output_line (cli->out, name);
  if (!json_object_has_member (result, "wall_ms")) {
    cli_say (cli, "%s goes on", name);
    return;
  }
  const char *state = guest != NULL ? json_get_string_or (guest, "state", "running") : "running";
  g_autofree char *clean_state = format_clean (state);
  cli_say (cli, "%s is %s as of checkpoint %s, after %s; %s of RAM", name, clean_state, id, wall,
           ram);
}

static gboolean
run_restore (Cli *cli, const VerbCall *call, GError **error)
{
  const RestoreValues *values = call->values;
  const char *ref = call->args[0];
  g_autoptr (GString) path = cli_checkpoint_path (cli, ref, "restore", error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autofree char *qemu = NULL;

  if (path == NULL)
    return FALSE;
  if (values->lazy && values->eager) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, "restore: either --lazy or --eager");
    return FALSE;
  }
  if (values->lazy || values->eager)
    json_object_set_string_member (body, "fill", values->lazy ? "lazy" : "eager");
  if (values->qemu != NULL && (qemu = cli_program (values->qemu, error)) == NULL)
    return FALSE;
  cli_set_string (body, "as", values->as);
  cli_set_string (body, "qemu", qemu);
  cli_set_string (body, "accel", values->accel);
  if (values->paused)
    json_object_set_boolean_member (body, "paused", TRUE);
  if (values->take_over)
    json_object_set_boolean_member (body, "take_over", TRUE);
  if (values->accept_changed_disks)
    json_object_set_boolean_member (body, "accept_changed_disks", TRUE);
  result = cli_call_long (cli, path, body, ref, error);
  if (result == NULL)
    return FALSE;
  print_restored (cli, result, values->as != NULL ? values->as : ref);
  return TRUE;
}

const Verb verb_restore = {
  .name = "restore",
  .arguments = "ID | NAME[@TAG]",
  .summary = "Start a guest from a checkpoint; NAME: its newest",
  .details = "Refused while the checkpoint's guest runs anywhere that the store knows of.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = restore_options,
  .values_size = sizeof (RestoreValues),
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; the checkpoint is as it was",
  .run = run_restore,
};

static gboolean
resume_one (Cli *cli, const char *name, gpointer user_data, GError **error)
{
  const ResumeValues *values = user_data;
  g_autoptr (GString) path = cli_guest_path (name, "resume");
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  if (values->take_over)
    json_object_set_boolean_member (body, "take_over", TRUE);
  if (values->all)
    json_object_set_boolean_member (body, "hold", TRUE);
  result = cli_call_long (cli, path, body, name, error);
  if (result == NULL)
    return FALSE;
  print_restored (cli, result, name);
  return TRUE;
}

static GStrv
suspended_guests (Cli *cli, GError **error)
{
  g_autoptr (GString) path = api_path ("suspended", NULL);
  g_autoptr (JsonObject) answer = NULL;
  g_autoptr (GStrvBuilder) names = g_strv_builder_new();
  g_autoptr (JsonArray) guests = NULL;

  if (!cli_add_store (cli, path, error))
    return NULL;
  answer = api_call (cli->api, "GET", path, NULL, error);
  if (answer == NULL)
    return NULL;
  guests = cli_array (answer, "guests");
  for (guint i = 0; i < json_array_get_length (guests); i++) {
    g_autoptr (JsonObject) guest = cli_element (guests, i);
    const char *name = json_get_string_or (guest, "guest", NULL);
    if (name != NULL)
      g_strv_builder_add (names, name);
  }
  return g_strv_builder_end (names);
}

/*
 * All CPUs run: now the guests' memory may be read in the background. After an interruption, too:
 * those that were resumed before it would wait for that forever.
 */
static gboolean
begin_filling (Cli *cli, GError **error)
{
  gboolean interrupted = g_cancellable_is_cancelled (cli->cancellable);
  g_autoptr (GString) path = api_path ("fill", NULL);
  g_autoptr (JsonObject) body = json_object_new();

  if (interrupted)
    g_cancellable_reset (cli->cancellable);
  g_autoptr (JsonObject) result =
      api_call (cli->api, "POST", path, body, interrupted ? NULL : error);
  if (!interrupted)
    return result != NULL;
  g_cancellable_cancel (cli->cancellable);
  /* Between two guests, nobody has said so yet. */
  return cli->status != 0 || !g_cancellable_set_error_if_cancelled (cli->cancellable, error);
}

static gboolean
run_resume (Cli *cli, const VerbCall *call, GError **error)
{
  const ResumeValues *values = call->values;
  g_auto (GStrv) all = NULL;

  if (values->all == (call->n_args > 0)) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "resume: either the names of guests or --all");
    return FALSE;
  }
  if (values->all && (all = suspended_guests (cli, error)) == NULL)
    return FALSE;
  if (all != NULL && *all == NULL)
    cli_say (cli, "no guest of this store is suspended");
  gboolean good = cli_for_each (cli, all != NULL ? all : call->args, resume_one, (gpointer)values);
  return (all == NULL || begin_filling (cli, good ? error : NULL)) && good;
}

const Verb verb_resume = {
  .name = "resume",
  .arguments = "NAME… | --all",
  .summary = "Bring suspended or paused guests back",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = resume_options,
  .values_size = sizeof (ResumeValues),
  .max_args = G_MAXUINT,
  .interrupted = "interrupted; the checkpoint is as it was",
  .run = run_resume,
};
