/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rom.h"

#include "qemu-ask.h"

#include <string.h>

#define TEXT_MAX_BYTES (64 * 1024)

gboolean
file_record (FileHashes *hashes, const char *path, JsonObject *object, GError **error)
{
  guint64 size;
  g_autofree char *hash = file_hashes_get (hashes, path, &size, error);

  if (hash == NULL)
    return FALSE;
  json_object_set_int_member (object, "size", size);
  json_object_set_string_member (object, "sha256", hash);
  return TRUE;
}

/* The text between the quotes of name="…" in @line, without directories; NULL if there is none. */
static char *
parse_line (const char *line)
{
  const char *name = strstr (line, "name=\"");

  /* "/rom@etc/acpi/tables …" and the like are made by QEMU, not read from a file. */
  if (name == NULL || line[0] == '/')
    return NULL;
  name += strlen ("name=\"");
  const char *end = strchr (name, '"');
  if (end == NULL || end == name)
    return NULL;
  g_autofree char *whole = g_strndup (name, end - name);
  return g_path_get_basename (whole);
}

GStrv
rom_parse_names (const char *text)
{
  g_auto (GStrv) lines = g_strsplit_set (text, "\r\n", 0);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  for (gsize i = 0; lines[i] != NULL && names->len < ROM_MAX_COUNT; i++) {
    g_autofree char *name = parse_line (lines[i]);
    if (name != NULL && !g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL))
      g_ptr_array_add (names, g_steal_pointer (&name));
  }
  g_ptr_array_add (names, NULL);
  return (GStrv)g_ptr_array_free (g_steal_pointer (&names), FALSE);
}

/* The directories in which QEMU looks for its files: those of -L first, then its own. */
static GStrv
data_directories (const GuestSpec *spec, QemuFacts *facts)
{
  g_autoptr (GStrvBuilder) list = g_strv_builder_new();
  g_auto (GStrv) own = qemu_ask_directories (facts, spec->qemu);

  for (guint i = 0; spec->extra[i] != NULL; i++)
    if (g_str_equal (spec->extra[i], "-L") && spec->extra[i + 1] != NULL)
      g_strv_builder_add (list, spec->extra[++i]);
  g_strv_builder_addv (list, (const char **)own);
  return g_strv_builder_end (list);
}

static JsonObject *
record_one (const char *name, char **directories, FileHashes *hashes)
{
  JsonObject *rom = json_object_new();

  json_object_set_string_member (rom, "name", name);
  for (guint i = 0; directories[i] != NULL; i++) {
    g_autofree char *path = g_build_filename (directories[i], name, NULL);
    if (g_file_test (path, G_FILE_TEST_IS_REGULAR) && file_record (hashes, path, rom, NULL)) {
      json_object_set_string_member (rom, "path", path);
      break;
    }
  }
  return rom;
}

JsonArray *
rom_record (const GuestSpec *spec, QmpClient *monitor, QemuFacts *facts, GError **error)
{
  JsonObject *arguments = json_object_new();
  g_autoptr (JsonNode) answer = NULL;

  json_object_set_string_member (arguments, "command-line", "info roms");
  answer = qmp_client_execute (monitor, "human-monitor-command", arguments, -1, 0, NULL, error);
  if (answer == NULL)
    return NULL;

  g_autoptr (JsonArray) roms = json_array_new();
  const char *text = json_node_get_string (answer);
  if (text == NULL || strlen (text) > TEXT_MAX_BYTES)
    return g_steal_pointer (&roms);

  g_auto (GStrv) names = rom_parse_names (text);
  g_auto (GStrv) directories = data_directories (spec, facts);
  for (guint i = 0; names[i] != NULL; i++)
    json_array_add_object_element (roms,
                                   record_one (names[i], directories, qemu_facts_hashes (facts)));
  return g_steal_pointer (&roms);
}
