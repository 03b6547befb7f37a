/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt migrate: a guest that runs goes to another host. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

#include <string.h>

typedef struct {
  char *max_downtime, *bandwidth, *channels, *disks_to, *store_there;
  gboolean postcopy, auto_converge, shared_disks, via_store;
} MigrateValues;

#define VALUE(member) G_STRUCT_OFFSET (MigrateValues, member)
static const VerbOption migrate_options[] = {
  { "max-downtime", 0, G_OPTION_ARG_FILENAME, VALUE (max_downtime), "TIME",
    "so long may it stand still (default 100ms)" },
  { "bandwidth", 0, G_OPTION_ARG_FILENAME, VALUE (bandwidth), "RATE",
    "at most so much per second (100M)" },
  { "channels", 0, G_OPTION_ARG_FILENAME, VALUE (channels), "N",
    "so many connections for its memory" },
  { "postcopy", 0, G_OPTION_ARG_NONE, VALUE (postcopy), NULL,
    "if it does not converge, fetch the rest from there" },
  { "auto-converge", 0, G_OPTION_ARG_NONE, VALUE (auto_converge), NULL,
    "if it does not converge, slow its CPUs down" },
  { "shared-disks", 0, G_OPTION_ARG_NONE, VALUE (shared_disks), NULL,
    "its disks are reached from there by the same paths" },
  { "disks-to", 0, G_OPTION_ARG_FILENAME, VALUE (disks_to), "DIR",
    "directory there for copies of its disks" },
  { "via-store", 0, G_OPTION_ARG_NONE, VALUE (via_store), NULL,
    "through the store, which both hosts reach" },
  { "store-there", 0, G_OPTION_ARG_FILENAME, VALUE (store_there), "DIR",
    "the store as that host reaches it" },
  { NULL },
};
#undef VALUE

/* "100M" of "--bandwidth": bytes per second. */
static gboolean
set_bandwidth (JsonObject *body, const char *text, GError **error)
{
  char *end = NULL;
  guint64 number = text != NULL ? g_ascii_strtoull (text, &end, 10) : 0;
  const char *units = "KMGT", *unit = end != NULL && *end != '\0' ? strchr (units, *end) : NULL;
  guint shift = unit != NULL ? 10 * (guint)(unit - units + 1) : 0;

  if (text == NULL)
    return TRUE;
  if (number == 0 || (*end != '\0' && (unit == NULL || end[1] != '\0')) ||
      number > (guint64)G_MAXINT64 >> shift) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                 "--bandwidth %.32s: a number of bytes per second is wanted, or with K, M, G or T",
                 text);
    return FALSE;
  }
  json_object_set_int_member (body, "bandwidth", (gint64)(number << shift));
  return TRUE;
}

/* A path is meant from where the user is; "unix:SOCKET" and a libvirt's URI are as they are. */
static char *
absolute_host (const char *host, GError **error)
{
  return strchr (host, '/') != NULL && strstr (host, "://") == NULL &&
                 !g_str_has_prefix (host, "unix:")
             ? cli_absolute (host, error)
             : g_strdup (host);
}

static void
print_migrated (Cli *cli, JsonObject *result)
{
  if (cli->json) {
    cli_print_json (cli, result);
    return;
  }
  g_autofree char *name = format_text_member (result, "guest");
  g_autofree char *to = format_text_member (result, "to");
  g_autofree char *downtime = format_ms_member (result, "downtime_ms");
  g_autofree char *wall = format_ms_member (result, "wall_ms");
  g_autofree char *bytes = format_size_member (result, "transferred_bytes");
  g_autoptr (JsonArray) disks = cli_array (result, "disks");
  cli_say (cli, "%s runs on %s after %s: stood still for %s, %s sent", name, to, wall, downtime,
           bytes);
  for (guint i = 0; i < json_array_get_length (disks); i++) {
    g_autoptr (JsonObject) disk = cli_element (disks, i);
    if (json_get_string_or (disk, "left", NULL) == NULL)
      continue;
    g_autofree char *left = format_text_member (disk, "left");
    cli_say (cli, "its disk %s stays here, and nobody uses it any more", left);
  }
}

static gboolean
set_store (Cli *cli, const MigrateValues *values, JsonObject *body, GString *path, GError **error)
{
  if (!values->via_store)
    return TRUE;
  json_object_set_boolean_member (body, "via_store", TRUE);
  cli_set_string (body, "store_there", values->store_there);
  return cli_add_store (cli, path, error);
}

static gboolean
run_migrate (Cli *cli, const VerbCall *call, GError **error)
{
  const MigrateValues *values = call->values;
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) result = NULL;
  g_autoptr (GString) path = cli_guest_path (call->args[0], "migrate");
  g_autofree char *to = absolute_host (call->args[1], error);

  if (to == NULL || !set_bandwidth (body, values->bandwidth, error) ||
      !cli_set_count (body, "channels", values->channels, error))
    return FALSE;
  if (!set_store (cli, values, body, path, error))
    return FALSE;
  cli_set_string (body, "to", to);
  cli_set_string (body, "max_downtime", values->max_downtime);
  cli_set_string (body, "disk_directory", values->disks_to);
  if (values->postcopy)
    json_object_set_boolean_member (body, "postcopy", TRUE);
  if (values->auto_converge)
    json_object_set_boolean_member (body, "auto_converge", TRUE);
  if (values->shared_disks)
    json_object_set_boolean_member (body, "shared_disks", TRUE);
  result = cli_call_long (cli, path, body, call->args[0], error);
  if (result == NULL)
    return FALSE;
  print_migrated (cli, result);
  return TRUE;
}

const Verb verb_migrate = {
  .name = "migrate",
  .arguments = "NAME HOST",
  .summary = "Move a guest that runs to another host",
  .details = "HOST is HOST[:PORT] of a vmckptd that listens, or another runtime directory of\n"
             "this machine. The guest runs on while its memory and disks are copied, and\n"
             "goes on there; after any failure exactly one of the two runs.",
  .group = VERB_GROUP_GUESTS,
  .options = migrate_options,
  .values_size = sizeof (MigrateValues),
  .min_args = 2,
  .max_args = 2,
  .interrupted = "interrupted; the guest runs on here, unless it had gone already",
  .run = run_migrate,
};
