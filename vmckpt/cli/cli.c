/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include "cli-error.h"
#include "cli-format.h"
#include "key-source.h"
#include "terminal.h"

#include <string.h>
#include <unistd.h>

void
cli_report (Cli *cli, const GError *error)
{
  CliError code = cli_error_code (error);
  g_autofree char *valid = g_utf8_make_valid (error->message, -1);
  const char *message = valid;

  if (code == CLI_ERROR_INTERRUPTED)
    message = cli->interrupted != NULL ? cli->interrupted : "interrupted";
  g_autofree char *clean = format_clean_lines (message);

  output_print (cli->err, "vmckpt: %s\n", clean);
  if (cli->json) {
    g_autoptr (JsonObject) line = json_object_new();
    json_object_set_string_member (line, "type", "error");
    json_object_set_string_member (line, "kind", cli_error_kind (code));
    json_object_set_string_member (line, "message", message);
    cli_print_json (cli, line);
  }
  cli->status = MAX (cli->status, cli_error_exit_status (code));
}

void
cli_say (Cli *cli, const char *format, ...)
{
  va_list args;

  if (cli->json || cli->quiet)
    return;
  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  output_line (cli->err, text);
}

void
cli_print_json (Cli *cli, JsonObject *object)
{
  g_autofree char *text = json_to_line (object);
  output_line (cli->out, text);
}

gboolean
cli_print_json_list (Cli *cli, JsonArray *array)
{
  for (guint i = 0; cli->json && i < json_array_get_length (array) && !cli->out->closed; i++) {
    JsonNode *node = json_array_get_element (array, i);
    if (JSON_NODE_HOLDS_OBJECT (node))
      cli_print_json (cli, json_node_get_object (node));
  }
  return cli->json;
}

JsonArray *
cli_array (JsonObject *object, const char *member)
{
  JsonArray *array = json_get_array (object, member, NULL);
  return array != NULL ? json_array_ref (array) : json_array_new();
}

JsonObject *
cli_element (JsonArray *array, guint index)
{
  JsonNode *node = json_array_get_element (array, index);
  return JSON_NODE_HOLDS_OBJECT (node) ? json_object_ref (json_node_get_object (node))
                                       : json_object_new();
}

gboolean
cli_add_store (Cli *cli, GString *path, GError **error)
{
  if (cli->store == NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "which store? Give --store DIR or VMCKPT_STORE; "
                         "make one with 'vmckpt store init DIR'");
    return FALSE;
  }
  api_path_add (path, "store", cli->store);
  return TRUE;
}

GString *
cli_checkpoint_path (Cli *cli, const char *ref, const char *action, GError **error)
{
  g_autoptr (GString) path = api_path ("checkpoints", ref, action, NULL);

  return cli_add_store (cli, path, error) ? g_steal_pointer (&path) : NULL;
}

GString *
cli_guest_path (const char *name, const char *action)
{
  return api_path ("guests", name, action, NULL);
}

gboolean
cli_attach (Cli *cli, JsonObject *guest, GError **error)
{
  if (!g_str_equal (json_get_string_or (guest, "driver", ""), "libvirt"))
    return TRUE;
  g_autoptr (GString) path = cli_guest_path (json_get_string_or (guest, "uuid", ""), "attach");
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (JsonObject) attached = api_call (cli->api, "POST", path, body, error);

  return attached != NULL;
}

gboolean
cli_guest_has_ended (Cli *cli, const char *name)
{
  g_autoptr (GString) path = cli_guest_path (name, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) guest = api_call (cli->api, "GET", path, NULL, &error);

  if (guest == NULL)
    return g_error_matches (error, CLI_ERROR, CLI_ERROR_NOT_FOUND);
  return g_str_equal (json_get_string_or (guest, "state", ""), "exited");
}

typedef struct {
  Cli *cli;
  ProgressBar *bar; /* (nullable) */
  CliPartFunc part; /* (nullable) */
  gpointer part_data;
} LongCall;

static void
on_line (JsonObject *line, const char *type, gpointer user_data)
{
  LongCall *call = user_data;

  if (call->part != NULL && !g_str_equal (type, "status") && !g_str_equal (type, "message")) {
    if (call->bar != NULL)
      progress_bar_wipe (call->bar);
    call->part (line, type, call->part_data);
  } else if (call->cli->json) {
    if (!call->cli->quiet)
      cli_print_json (call->cli, line);
  } else if (g_str_equal (type, "message")) {
    g_autofree char *text = format_text_member (line, "text");
    if (call->bar != NULL)
      progress_bar_wipe (call->bar);
    cli_say (call->cli, "note: %s", text);
  } else if (call->bar != NULL) {
    progress_bar_update (call->bar, line, g_get_monotonic_time());
  }
}

JsonObject *
cli_call_long (Cli *cli, const GString *path, JsonObject *body, const char *title, GError **error)
{
  return cli_call_parts (cli, path, body, title, NULL, NULL, error);
}

JsonObject *
cli_call_parts (Cli *cli, const GString *path, JsonObject *body, const char *title,
                CliPartFunc func, gpointer user_data, GError **error)
{
  g_autoptr (ProgressBar) bar = NULL;

  if (!cli->json && !cli->quiet && isatty (cli->err->fd)) {
    g_autofree char *clean = format_clean (title);
    bar = progress_bar_new (cli->err, clean, terminal_width (cli->err->fd));
  }
  LongCall call = { cli, bar, func, user_data };
  return api_call_long (cli->api, path, body, on_line, &call, error);
}

gboolean
cli_for_each (Cli *cli, char **names, CliEachFunc func, gpointer user_data)
{
  for (; *names != NULL && !g_cancellable_is_cancelled (cli->cancellable); names++) {
    g_autoptr (GError) error = NULL;
    if (!func (cli, *names, user_data, &error))
      cli_report (cli, error);
  }
  return TRUE;
}

char *
cli_absolute (const char *path, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);

  if (*path == '\0' || !g_utf8_validate (absolute, -1, NULL)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "%s",
                 *path == '\0' ? "a file name is empty" : "a file name is not UTF-8");
    return NULL;
  }
  return g_steal_pointer (&absolute);
}

char *
cli_program (const char *program, GError **error)
{
  char *found = NULL;

  if (strchr (program, '/') != NULL || *program == '\0')
    return cli_absolute (program, error);
  found = g_find_program_in_path (program);
  return found != NULL ? found : g_strdup (program);
}

void
cli_set_string (JsonObject *object, const char *member, const char *value)
{
  if (value != NULL)
    json_object_set_string_member (object, member, value);
}

gboolean
cli_set_count (JsonObject *object, const char *member, const char *value, GError **error)
{
  guint64 count;

  if (value == NULL)
    return TRUE;
  if (!g_ascii_string_to_unsigned (value, 10, 1, G_MAXINT32, &count, NULL)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "--%s %s is not a count of 1 or more", member,
                 value);
    return FALSE;
  }
  json_object_set_int_member (object, member, count);
  return TRUE;
}

gboolean
cli_send_other_key (Cli *cli, const char *key_file, const char *password_file, GError **error)
{
  const KeySource source = { key_file, password_file, NULL };
  g_autoptr (GError) cause = NULL;
  g_autoptr (KeyMaterial) key = key_source_read (&source, &cause);

  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  api_set_other_key (cli->api, key);
  return TRUE;
}
