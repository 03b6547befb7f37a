/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report-text.h"

#include "cli-format.h"

/* " and 2 disks (11 MiB read)"; "" without any. */
static char *
format_disks (JsonObject *report)
{
  g_autoptr (JsonArray) disks = cli_array (report, "disks");
  guint count = json_array_get_length (disks);
  gint64 read_bytes = 0;

  for (guint i = 0; i < count; i++) {
    g_autoptr (JsonObject) disk = cli_element (disks, i);
    read_bytes += json_object_get_int_member_with_default (disk, "read_bytes", 0);
  }
  g_autofree char *size = format_size (MAX (read_bytes, 0));
  return count == 0
             ? g_strdup ("")
             : g_strdup_printf (" and %u disk%s (%s read)", count, count == 1 ? "" : "s", size);
}

void
report_print (Cli *cli, JsonObject *report, const char *what)
{
  if (cli->json) {
    cli_print_json (cli, report);
    return;
  }
  g_autofree char *id = format_id_member (report, "id");
  g_autofree char *pause = format_ms_member (report, "pause_ms");
  g_autofree char *wall = format_ms_member (report, "wall_ms");
  g_autofree char *ram = format_size_member (report, "ram_bytes");
  g_autofree char *fresh = format_size_member (report, "new_bytes");
  g_autofree char *stored = format_size_member (report, "stored_bytes");
  g_autofree char *disks = format_disks (report);
  g_autofree char *frozen =
      json_object_has_member (report, "frozen_ms") ? format_ms_member (report, "frozen_ms") : NULL;
  output_line (cli->out, id);
  cli_say (cli, "%s in %s, paused for %s%s%s; %s of RAM%s, %s new, %s stored", what, wall, pause,
           frozen != NULL ? ", frozen for " : "", frozen != NULL ? frozen : "", ram, disks, fresh,
           stored);
}
