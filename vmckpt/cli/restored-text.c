/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restored-text.h"

#include "cli-error.h"
#include "cli-format.h"

/* Where they are from now on. */
static void
say_disks (Cli *cli, JsonObject *result)
{
  g_autoptr (JsonArray) disks = cli_array (result, "disks");

  for (guint i = 0; i < json_array_get_length (disks); i++) {
    g_autoptr (JsonObject) disk = cli_element (disks, i);
    g_autofree char *name = format_text_member (disk, "name");
    g_autofree char *file = format_text_member (disk, "path");
    cli_say (cli, "  its disk %s: %s", name, file);
  }
}

/* How far its clock was from the host's, if somebody looked. */
static void
say_clock (Cli *cli, JsonObject *result)
{
  JsonObject *clock = json_get_object (result, "clock", NULL);

  if (clock == NULL)
    return;
  g_autofree char *note = format_text_member (clock, "note");
  if (json_object_get_null_member (clock, "skew_ms")) {
    cli_say (cli, "  its clock may be off (%s)", note);
    return;
  }
  double skew = json_object_get_double_member_with_default (clock, "skew_ms", 0);
  gboolean set = json_get_bool_or (clock, "set", FALSE);
  gboolean noted = json_get_string_or (clock, "note", NULL) != NULL;
  cli_say (cli, "  its clock %s%.3f s off%s%s", set ? "is set right; it was " : "is ", skew / 1000,
           noted ? ": " : "", noted ? note : "");
}

/* Prints the guest's name, and the rest for people. A guest that was only paused has no figures. */
void
restored_print (Cli *cli, JsonObject *result, const char *fallback)
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
  say_disks (cli, result);
  say_clock (cli, result);
}

gboolean
restored_set_sync_time (JsonObject *body, const char *value, GError **error)
{
  gboolean yes = g_strcmp0 (value, "yes") == 0;

  if (value == NULL)
    return TRUE;
  if (!yes && !g_str_equal (value, "no")) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "--sync-time %s: must be yes or no", value);
    return FALSE;
  }
  json_object_set_boolean_member (body, "sync_time", yes);
  return TRUE;
}
