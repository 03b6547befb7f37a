/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt inspect, check: what is on a checkpoint's disks, and whether it can be used. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

#include <string.h>

/* ---- inspect ---- */

typedef struct {
  gboolean packages;
} InspectValues;

static const VerbOption inspect_options[] = {
  { "packages", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (InspectValues, packages), NULL,
    "list the installed packages" },
  { NULL },
};

static void
print_disks (Cli *cli, JsonObject *result)
{
  g_autoptr (JsonArray) disks = cli_array (result, "disks");
  g_autoptr (Table) table = table_new ("DISK", ">SIZE", "PARTITIONS", NULL);

  for (guint i = 0; i < json_array_get_length (disks); i++) {
    g_autoptr (JsonObject) disk = cli_element (disks, i);
    table_take (table, format_text_member (disk, "name"));
    table_take (table, format_size_member (disk, "bytes"));
    table_take (table, format_text_member (disk, "partition_table"));
  }
  table_write (table, cli->out);
}

static void
print_file_systems (Cli *cli, JsonObject *result)
{
  g_autoptr (JsonArray) all = cli_array (result, "filesystems");
  g_autoptr (Table) table =
      table_new ("FILE SYSTEM", "TYPE", ">SIZE", ">FREE", "LABEL", "UUID", NULL);

  for (guint i = 0; i < json_array_get_length (all); i++) {
    g_autoptr (JsonObject) fs = cli_element (all, i);
    table_take (table, format_text_member (fs, "volume"));
    table_take (table, format_text_member (fs, "type"));
    table_take (table, format_size_member (fs, "bytes"));
    table_take (table, format_size_member (fs, "free_bytes"));
    table_take (table, format_text_member (fs, "label"));
    table_take (table, format_text_member (fs, "uuid"));
  }
  output_line (cli->out, "");
  table_write (table, cli->out);
}

static void
print_packages (Cli *cli, JsonObject *system)
{
  g_autoptr (JsonArray) packages = cli_array (system, "packages");
  g_autoptr (Table) table = table_new ("PACKAGE", "VERSION", "ARCH", NULL);

  for (guint i = 0; i < json_array_get_length (packages); i++) {
    g_autoptr (JsonObject) package = cli_element (packages, i);
    table_take (table, format_text_member (package, "name"));
    table_take (table, format_text_member (package, "version"));
    table_take (table, format_text_member (package, "arch"));
  }
  output_line (cli->out, "");
  table_write (table, cli->out);
}

/* Debian's own name for itself is its version alone. */
static char *
system_name (JsonObject *system)
{
  g_autofree char *name = format_text_member (system, "name");
  g_autofree char *distribution = format_text_member (system, "distribution");

  return g_ascii_isdigit (name[0]) ? g_strconcat (distribution, " ", name, NULL)
                                   : g_steal_pointer (&name);
}

static void
print_system (Cli *cli, JsonObject *system)
{
  g_autofree char *volume = format_text_member (system, "volume");
  g_autofree char *name = system_name (system);
  g_autofree char *arch = format_text_member (system, "arch");
  g_autofree char *host = format_text_member (system, "hostname");
  g_autofree char *format = format_text_member (system, "package_format");
  g_autoptr (JsonArray) mounts = cli_array (system, "mounts");

  output_print (cli->out, "\nsystem on %s: %s, %s, host name %s\n", volume, name, arch, host);
  for (guint i = 0; i < json_array_get_length (mounts); i++) {
    g_autoptr (JsonObject) mount = cli_element (mounts, i);
    g_autofree char *path = format_text_member (mount, "path");
    g_autofree char *on = format_text_member (mount, "volume");
    output_print (cli->out, "  %s from %s\n", path, on);
  }
  output_print (cli->out, "  %" G_GUINT64_FORMAT " packages (%s)\n",
                json_get_uint64_or (system, "package_count", 0), format);
}

static void
print_systems (Cli *cli, JsonObject *result, gboolean packages)
{
  g_autoptr (JsonArray) systems = cli_array (result, "systems");

  for (guint i = 0; i < json_array_get_length (systems); i++) {
    g_autoptr (JsonObject) system = cli_element (systems, i);
    print_system (cli, system);
    if (packages)
      print_packages (cli, system);
  }
  if (json_array_get_length (systems) == 0)
    output_print (cli->out, "\nno operating system was found\n");
}

static gboolean
run_inspect (Cli *cli, const VerbCall *call, GError **error)
{
  const InspectValues *values = call->values;
  g_autoptr (GString) path = cli_checkpoint_path (cli, call->args[0], "inspect", error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result =
      path != NULL ? cli_call_long (cli, path, body, call->args[0], error) : NULL;

  if (result == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, result);
    return TRUE;
  }
  print_disks (cli, result);
  print_file_systems (cli, result);
  print_systems (cli, result, values->packages);
  return TRUE;
}

const Verb verb_inspect = {
  .name = "inspect",
  .arguments = "ID",
  .summary = "Show systems and file systems on its disks",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = inspect_options,
  .values_size = sizeof (InspectValues),
  .min_args = 1,
  .max_args = 1,
  .run = run_inspect,
};

/* ---- check ---- */

typedef struct {
  gboolean fs;
} CheckValues;

static const VerbOption check_options[] = {
  { "fs", 0, G_OPTION_ARG_NONE, G_STRUCT_OFFSET (CheckValues, fs), NULL,
    "check every file system on its disks" },
  { NULL },
};

static void
print_states (Cli *cli, JsonArray *all)
{
  for (guint i = 0; i < json_array_get_length (all); i++) {
    g_autoptr (JsonObject) fs = cli_element (all, i);
    g_autofree char *volume = format_text_member (fs, "volume");
    g_autofree char *type = format_text_member (fs, "fs");
    g_autofree char *state = format_text_member (fs, "state");
    const char *detail = json_get_string_or (fs, "detail", NULL);

    output_print (cli->out, "%s (%s): %s\n", volume, type, state);
    if (detail == NULL)
      continue;
    g_auto (GStrv) lines = g_strsplit (detail, "\n", -1);
    for (guint j = 0; lines[j] != NULL; j++) {
      g_autofree char *clean = format_clean (lines[j]);
      output_print (cli->out, "  %s\n", clean);
    }
  }
}

/* A checkpoint of which nothing could be checked is not proved to be good. */
static gboolean
judge (JsonObject *result, GError **error)
{
  guint64 broken = json_get_uint64_or (result, "broken", 0);
  guint64 checked = json_get_uint64_or (result, "checked", 0);
  g_autofree char *id = format_id_member (result, "id");

  if (broken > 0)
    g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED,
                 "checkpoint %s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                 " file systems %s broken",
                 id, broken, checked, broken == 1 ? "is" : "are");
  else if (checked == 0)
    g_set_error (error, CLI_ERROR, CLI_ERROR_FAILED,
                 "checkpoint %s: there is no file system that could be checked", id);
  return broken == 0 && checked > 0;
}

static gboolean
check_one (Cli *cli, const char *ref, gpointer user_data, GError **error)
{
  g_autoptr (GString) path = cli_checkpoint_path (cli, ref, "fsck", error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = path != NULL ? cli_call_long (cli, path, body, ref, error) : NULL;
  g_autoptr (JsonArray) all = result != NULL ? cli_array (result, "filesystems") : NULL;

  if (result == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, result);
  else
    print_states (cli, all);
  return judge (result, error);
}

static gboolean
run_check (Cli *cli, const VerbCall *call, GError **error)
{
  const CheckValues *values = call->values;

  if (values->fs)
    return cli_for_each (cli, call->args, check_one, NULL);
  g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                       "check: --fs checks the file systems; 'vmckpt verify' reads all data, "
                       "'vmckpt store check' the whole store");
  return FALSE;
}

const Verb verb_check = {
  .name = "check",
  .arguments = "ID…",
  .summary = "Check the file systems in checkpoints",
  .details = "Each is mounted once, so that its journal is replayed, then checked by its own\n"
             "program, in a virtual machine and on a layer that is thrown away. Exit code 4\n"
             "if one is broken.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = check_options,
  .values_size = sizeof (CheckValues),
  .min_args = 1,
  .max_args = G_MAXUINT,
  .run = run_check,
};
