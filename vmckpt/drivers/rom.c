/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rom.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <string.h>

#define TEXT_MAX_BYTES (64 * 1024)
#define PIECE (256 * 1024)

gboolean
file_record (const char *path, JsonObject *object, GError **error)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  g_autofree guint8 *piece = g_malloc (PIECE);
  guint64 size = 0;

  if (fd < 0)
    return fd_set_errno_error (error, "opening %s", path);
  for (;;) {
    gssize n = fd_read_full (fd, piece, PIECE, error);
    if (n < 0)
      return FALSE;
    g_checksum_update (sum, piece, n);
    size += n;
    if (n < PIECE)
      break;
  }
  json_object_set_int_member (object, "size", size);
  json_object_set_string_member (object, "sha256", g_checksum_get_string (sum));
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
data_directories (const GuestSpec *spec)
{
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func (g_free);
  const char *argv[] = { spec->qemu, "-L", "help", NULL };
  g_autofree char *output = NULL;

  for (guint i = 0; spec->extra[i] != NULL; i++)
    if (g_str_equal (spec->extra[i], "-L") && spec->extra[i + 1] != NULL)
      g_ptr_array_add (list, g_strdup (spec->extra[++i]));
  if (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output,
                    NULL, NULL, NULL)) {
    g_auto (GStrv) lines = g_strsplit (output, "\n", ROM_MAX_COUNT);
    for (guint i = 0; lines[i] != NULL; i++)
      if (g_path_is_absolute (lines[i]))
        g_ptr_array_add (list, g_strdup (lines[i]));
  }
  g_ptr_array_add (list, NULL);
  return (GStrv)g_ptr_array_free (g_steal_pointer (&list), FALSE);
}

static JsonObject *
record_one (const char *name, char **directories)
{
  JsonObject *rom = json_object_new();

  json_object_set_string_member (rom, "name", name);
  for (guint i = 0; directories[i] != NULL; i++) {
    g_autofree char *path = g_build_filename (directories[i], name, NULL);
    if (g_file_test (path, G_FILE_TEST_IS_REGULAR) && file_record (path, rom, NULL)) {
      json_object_set_string_member (rom, "path", path);
      break;
    }
  }
  return rom;
}

JsonArray *
rom_record (const GuestSpec *spec, QmpClient *monitor, GError **error)
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
  g_auto (GStrv) directories = data_directories (spec);
  for (guint i = 0; names[i] != NULL; i++)
    json_array_add_object_element (roms, record_one (names[i], directories));
  return g_steal_pointer (&roms);
}
