/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/qmp/migration-settings.h>

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>

#define CAPABILITIES "capabilities"
#define BANDWIDTH "max-bandwidth"
#define FILE_MAX (64 * 1024)
#define FILE_DEPTH 4
#define CAPABILITIES_MAX 128

/* { "capabilities": [ … ], "max-bandwidth": N } as QEMU has them now. */
static JsonObject *
read_settings (QmpClient *client, GError **error)
{
  g_autoptr (JsonNode) list =
      qmp_client_execute (client, "query-migrate-capabilities", NULL, -1, 0, NULL, error);
  g_autoptr (JsonNode) parameters =
      list != NULL
          ? qmp_client_execute (client, "query-migrate-parameters", NULL, -1, 0, NULL, error)
          : NULL;
  guint64 bandwidth;

  if (parameters == NULL)
    return NULL;
  if (!JSON_NODE_HOLDS_ARRAY (list) || !JSON_NODE_HOLDS_OBJECT (parameters) ||
      !json_get_uint64 (json_node_get_object (parameters), BANDWIDTH, &bandwidth, NULL)) {
    g_set_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL,
                 "what QEMU says of its migration settings is not understood");
    return NULL;
  }
  JsonObject *settings = json_object_new();
  json_object_set_array_member (settings, CAPABILITIES, json_node_dup_array (list));
  json_object_set_int_member (settings, BANDWIDTH, (gint64)MIN (bandwidth, G_MAXINT64));
  return settings;
}

gboolean
qmp_migration_keep (QmpClient *client, const char *path, GError **error)
{
  ERROR_PREFIX (error, "keeping QEMU's migration settings");

  if (g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  g_autoptr (JsonObject) settings = read_settings (client, error);
  if (settings == NULL)
    return FALSE;
  g_autofree char *text = json_to_line (settings);
  return g_file_set_contents_full (path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

/* The state of capability @name among @settings'; FALSE: it is not named there. */
static gboolean
find_state (JsonObject *settings, const char *name, gboolean *state)
{
  JsonArray *list = json_get_array (settings, CAPABILITIES, NULL);

  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++) {
    JsonNode *node = json_array_get_element (list, i);
    JsonObject *one = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    if (one != NULL && g_strcmp0 (json_get_string_or (one, "capability", NULL), name) == 0)
      return json_get_bool (one, "state", state, NULL);
  }
  return FALSE;
}

/* All that differ, in one command: some go only together. */
static gboolean
put_capabilities_back (QmpClient *client, JsonObject *kept, JsonObject *now, GError **error)
{
  JsonArray *list = json_get_array (now, CAPABILITIES, error);
  QmpCapability wanted[CAPABILITIES_MAX];
  guint count = 0;

  if (list == NULL)
    return FALSE;
  for (guint i = 0; i < json_array_get_length (list) && count < CAPABILITIES_MAX; i++) {
    JsonNode *node = json_array_get_element (list, i);
    JsonObject *one = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    const char *name = one != NULL ? json_get_string_or (one, "capability", NULL) : NULL;
    gboolean before;
    if (name != NULL && find_state (kept, name, &before) &&
        before != json_get_bool_or (one, "state", before))
      wanted[count++] = (QmpCapability){ name, before };
  }
  return count == 0 || qmp_migrate_set_capabilities (client, wanted, count, error);
}

gboolean
qmp_migration_put_back (QmpClient *client, const char *path, GError **error)
{
  ERROR_PREFIX (error, "putting QEMU's migration settings back");
  g_autofree char *text = NULL;
  guint64 before, is;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, NULL))
    return TRUE;
  g_autoptr (JsonObject) kept = json_parse_bounded (text, len, FILE_MAX, FILE_DEPTH, error);
  g_autoptr (JsonObject) now = kept != NULL ? read_settings (client, error) : NULL;
  if (now == NULL || !put_capabilities_back (client, kept, now, error) ||
      !json_get_uint64 (kept, BANDWIDTH, &before, error) ||
      !json_get_uint64 (now, BANDWIDTH, &is, error) ||
      (before != is && !qmp_migrate_set_bandwidth (client, before, error)))
    return FALSE;
  g_unlink (path);
  return TRUE;
}
