/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt restore: from the store to a running guest. */
#include "cli-error.h"
#include "cli-format.h"
#include "restored-text.h"
#include "verb.h"

#include <string.h>

typedef struct {
  char *as, *qemu, *accel, *to, *format, *sync_time, *driver;
  char **disks, **paths;
  gboolean paused, take_over, lazy, eager, accept_changed_disks, disks_only, in_place;
} RestoreValues;

#define VALUE(member) G_STRUCT_OFFSET (RestoreValues, member)
static const VerbOption restore_options[] = {
  { "as", 0, G_OPTION_ARG_FILENAME, VALUE (as), "NAME", "another name for the guest" },
  { "lazy", 0, G_OPTION_ARG_NONE, VALUE (lazy), NULL, "run it while its memory is read, or fail" },
  { "eager", 0, G_OPTION_ARG_NONE, VALUE (eager), NULL, "read memory and disks before it runs" },
  { "disk", 0, G_OPTION_ARG_FILENAME_ARRAY, VALUE (disks), "NAME=PATH",
    "where a disk is, or is to be" },
  { "map-path", 0, G_OPTION_ARG_FILENAME_ARRAY, VALUE (paths), "OLD=NEW",
    "of a libvirt domain: what is elsewhere here" },
  { "driver", 0, G_OPTION_ARG_FILENAME, VALUE (driver), "DRIVER",
    "qemu or libvirt, where it could be either" },
  { "to", 0, G_OPTION_ARG_FILENAME, VALUE (to), "DIR", "where files of disks go" },
  { "format", 0, G_OPTION_ARG_FILENAME, VALUE (format), "FORMAT", "raw or qcow2, of whole files" },
  { "in-place", 0, G_OPTION_ARG_NONE, VALUE (in_place), NULL,
    "put its disks back where they were" },
  { "disks-only", 0, G_OPTION_ARG_NONE, VALUE (disks_only), NULL,
    "write its disks as files, start nothing" },
  { "paused", 0, G_OPTION_ARG_NONE, VALUE (paused), NULL, "do not let its CPUs run yet" },
  { "qemu", 0, G_OPTION_ARG_FILENAME, VALUE (qemu), "PROGRAM", "QEMU to run it with" },
  { "accel", 0, G_OPTION_ARG_FILENAME, VALUE (accel), "KIND", "auto, kvm or tcg" },
  { "sync-time", 0, G_OPTION_ARG_FILENAME, VALUE (sync_time), "yes|no",
    "set its clock right (no)" },
  { "take-over", 0, G_OPTION_ARG_NONE, VALUE (take_over), NULL,
    "the host that runs it is known to be dead" },
  { "accept-changed-disks", 0, G_OPTION_ARG_NONE, VALUE (accept_changed_disks), NULL,
    "shared or readonly disks have moved on" },
  { NULL },
};
#undef VALUE

/* The object @member from the values of @option, "NAME=PATH". Names of @absolute are paths, too. */
static gboolean
add_paths (JsonObject *body, const char *member, const char *option, char **values,
           gboolean absolute, GError **error)
{
  JsonObject *paths;

  if (values == NULL)
    return TRUE;
  paths = json_object_new();
  json_object_set_object_member (body, member, paths);
  for (; *values != NULL; values++) {
    const char *equals = strchr (*values, '=');
    if (equals == NULL || equals == *values || equals[1] == 0 ||
        (absolute && !g_path_is_absolute (*values))) {
      g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "restore: --%s %s: write %s", option, *values,
                   absolute ? "/OLD=NEW" : "NAME=PATH");
      return FALSE;
    }
    g_autofree char *name = g_strndup (*values, equals - *values);
    g_autofree char *path = cli_absolute (equals + 1, error);
    if (path == NULL)
      return FALSE;
    json_object_set_string_member (paths, name, path);
  }
  return TRUE;
}

/* Where disks go. */
static gboolean
add_disks (JsonObject *body, const RestoreValues *values, GError **error)
{
  g_autofree char *to = values->to != NULL ? cli_absolute (values->to, error) : NULL;

  if (values->to != NULL && to == NULL)
    return FALSE;
  if (values->in_place && (values->to != NULL || values->format != NULL)) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "restore: --in-place goes without --to and --format");
    return FALSE;
  }
  cli_set_string (body, "disk_directory", to);
  cli_set_string (body, "disk_format", values->format);
  return add_paths (body, "disk_paths", "disk", values->disks, FALSE, error);
}

static gboolean
check_alternatives (const RestoreValues *values, GError **error)
{
  const char *problem = NULL;

  if (values->lazy && values->eager)
    problem = "either --lazy or --eager";
  else if (values->disks_only && (values->as != NULL || values->lazy || values->in_place ||
                                  values->paths != NULL || values->driver != NULL))
    problem = "--disks-only goes without --as, --lazy, --in-place, --map-path and --driver";
  else if (values->format != NULL && !values->eager && !values->disks_only)
    problem = "--format is of whole files: say --eager or --disks-only";
  if (problem != NULL)
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "restore: %s", problem);
  return problem == NULL;
}

/* Writes files and starts nothing: prints their names. */
static gboolean
restore_disks (Cli *cli, const char *ref, const RestoreValues *values, GError **error)
{
  g_autoptr (GString) path = cli_checkpoint_path (cli, ref, "disks", error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autoptr (JsonArray) disks = NULL;

  if (path == NULL || !add_disks (body, values, error))
    return FALSE;
  result = cli_call_long (cli, path, body, ref, error);
  if (result == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, result);
    return TRUE;
  }
  disks = cli_array (result, "disks");
  for (guint i = 0; i < json_array_get_length (disks); i++) {
    g_autoptr (JsonObject) disk = cli_element (disks, i);
    g_autofree char *file = format_text_member (disk, "path");
    output_line (cli->out, file);
  }
  return TRUE;
}

static gboolean
run_restore (Cli *cli, const VerbCall *call, GError **error)
{
  const RestoreValues *values = call->values;
  const char *ref = call->args[0];
  g_autoptr (GString) path = NULL;
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autofree char *qemu = NULL;

  if (!check_alternatives (values, error))
    return FALSE;
  if (values->disks_only)
    return restore_disks (cli, ref, values, error);
  path = cli_checkpoint_path (cli, ref, "restore", error);
  if (path == NULL || !add_disks (body, values, error) ||
      !add_paths (body, "paths", "map-path", values->paths, TRUE, error))
    return FALSE;
  cli_set_string (body, "driver", values->driver);
  if (values->in_place || values->eager)
    json_object_set_string_member (body, "disks", values->in_place ? "in-place" : "eager");
  if (values->lazy || values->eager)
    json_object_set_string_member (body, "fill", values->lazy ? "lazy" : "eager");
  if (values->qemu != NULL && (qemu = cli_program (values->qemu, error)) == NULL)
    return FALSE;
  if (!restored_set_sync_time (body, values->sync_time, error))
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
  restored_print (cli, result, values->as != NULL ? values->as : ref);
  return TRUE;
}

const Verb verb_restore = {
  .name = "restore",
  .arguments = "ID | NAME[@TAG]",
  .summary = "Start a guest from a checkpoint; NAME: its newest",
  .details = "Refused while the checkpoint's guest runs anywhere that the store knows of.\n"
             "Disks are there at once, on new files: what the guest has not written comes from\n"
             "the store until all is there. The files that it had are touched only by\n"
             "--in-place. --disk says where a disk goes, or where one that is not in the\n"
             "checkpoint is on this host.\n"
             "A libvirt domain goes back into libvirt; --as makes it one of its own there,\n"
             "with another UUID and other MAC addresses.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = restore_options,
  .values_size = sizeof (RestoreValues),
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; the checkpoint is as it was",
  .run = run_restore,
};
