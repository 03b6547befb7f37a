/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/qmp/commands.h>

#include <string.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

/* Runs a command with the default deadline. Takes @arguments. */
static JsonNode *
run (QmpClient *client, const char *command, JsonObject *arguments, int pass_fd, GError **error)
{
  return qmp_client_execute (client, command, arguments, pass_fd, 0, NULL, error);
}

/* Runs a command whose answer says nothing. */
static gboolean
run_plain (QmpClient *client, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer = run (client, command, arguments, -1, error);
  return answer != NULL;
}

/* Arguments of one string member. */
static JsonObject *
string_argument (const char *member, const char *value)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, member, value);
  return arguments;
}

/* An answer that is not what the schema says. */
static gboolean
set_unexpected (GError **error, const char *command, const GError *cause)
{
  g_set_error (error, QMP_ERROR, QMP_ERROR_PROTOCOL, "the answer to '%s' is not understood: %s",
               command, cause != NULL ? cause->message : "it has another type");
  return FALSE;
}

/* Runs a command that answers with an object; @timeout_ms: 0: the usual. */
static JsonObject *
run_object_within (QmpClient *client, const char *command, int timeout_ms, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (client, command, NULL, -1, timeout_ms, NULL, error);

  if (answer == NULL)
    return NULL;
  if (!JSON_NODE_HOLDS_OBJECT (answer)) {
    set_unexpected (error, command, NULL);
    return NULL;
  }
  return json_node_dup_object (answer);
}

static JsonObject *
run_object (QmpClient *client, const char *command, GError **error)
{
  return run_object_within (client, command, 0, error);
}

/* Runs a command that answers with an array of objects. */
static JsonArray *
run_objects (QmpClient *client, const char *command, GError **error)
{
  g_autoptr (JsonNode) answer = run (client, command, NULL, -1, error);

  if (answer == NULL)
    return NULL;
  gboolean good = JSON_NODE_HOLDS_ARRAY (answer);
  JsonArray *array = good ? json_node_get_array (answer) : NULL;
  for (guint i = 0; good && i < json_array_get_length (array); i++)
    good = JSON_NODE_HOLDS_OBJECT (json_array_get_element (array, i));
  if (!good) {
    set_unexpected (error, command, NULL);
    return NULL;
  }
  return json_array_ref (array);
}

char *
qmp_query_status (QmpClient *client, GError **error)
{
  return qmp_query_status_within (client, 0, error);
}

char *
qmp_query_status_within (QmpClient *client, int timeout_ms, GError **error)
{
  g_autoptr (JsonObject) answer = run_object_within (client, "query-status", timeout_ms, error);
  g_autoptr (GError) cause = NULL;

  if (answer == NULL)
    return NULL;
  const char *status = json_get_string (answer, "status", &cause);
  if (status == NULL)
    set_unexpected (error, "query-status", cause);
  return g_strdup (status);
}

gboolean
qmp_stop (QmpClient *client, GError **error)
{
  return run_plain (client, "stop", NULL, error);
}

gboolean
qmp_cont (QmpClient *client, GError **error)
{
  return run_plain (client, "cont", NULL, error);
}

gboolean
qmp_quit (QmpClient *client, GError **error)
{
  return run_plain (client, "quit", NULL, error);
}

gboolean
qmp_getfd (QmpClient *client, const char *name, int fd, GError **error)
{
  g_autoptr (JsonNode) answer = run (client, "getfd", string_argument ("fdname", name), fd, error);
  return answer != NULL;
}

gboolean
qmp_add_fd (QmpClient *client, gint64 set, int fd, GError **error)
{
  JsonObject *arguments = json_object_new();

  json_object_set_int_member (arguments, "fdset-id", set);
  g_autoptr (JsonNode) answer = run (client, "add-fd", arguments, fd, error);
  return answer != NULL;
}

gboolean
qmp_closefd (QmpClient *client, const char *name, GError **error)
{
  return run_plain (client, "closefd", string_argument ("fdname", name), error);
}

gboolean
qmp_migrate_set_capabilities (QmpClient *client, const QmpCapability *capabilities, guint count,
                              GError **error)
{
  JsonObject *arguments = json_object_new();
  JsonArray *list = json_array_new();

  for (guint i = 0; i < count; i++) {
    JsonObject *item = string_argument ("capability", capabilities[i].name);
    json_object_set_boolean_member (item, "state", capabilities[i].state);
    json_array_add_object_element (list, item);
  }
  json_object_set_array_member (arguments, "capabilities", list);
  return run_plain (client, "migrate-set-capabilities", arguments, error);
}

gboolean
qmp_migrate_set_capability (QmpClient *client, const char *capability, gboolean state,
                            GError **error)
{
  return qmp_migrate_set_capabilities (client, &(QmpCapability){ capability, state }, 1, error);
}

gboolean
qmp_migrate_has_capability (QmpClient *client, const char *capability, gboolean *known,
                            GError **error)
{
  g_autoptr (JsonArray) list = run_objects (client, "query-migrate-capabilities", error);

  if (list == NULL)
    return FALSE;
  *known = FALSE;
  for (guint i = 0; i < json_array_get_length (list); i++) {
    JsonObject *item = json_array_get_object_element (list, i);
    if (g_strcmp0 (json_get_string_or (item, "capability", NULL), capability) == 0)
      *known = TRUE;
  }
  return TRUE;
}

gboolean
qmp_migrate_set_bandwidth (QmpClient *client, guint64 bytes_per_second, GError **error)
{
  JsonObject *arguments = json_object_new();

  json_object_set_int_member (arguments, "max-bandwidth",
                              (gint64)MIN (bytes_per_second, G_MAXINT64));
  return run_plain (client, "migrate-set-parameters", arguments, error);
}

gboolean
qmp_migrate (QmpClient *client, const char *uri, GError **error)
{
  return run_plain (client, "migrate", string_argument ("uri", uri), error);
}

gboolean
qmp_migrate_incoming (QmpClient *client, const char *uri, GError **error)
{
  return run_plain (client, "migrate-incoming", string_argument ("uri", uri), error);
}

gboolean
qmp_migrate_cancel (QmpClient *client, GError **error)
{
  return run_plain (client, "migrate_cancel", NULL, error);
}

gboolean
qmp_find_shared_memory (QmpClient *client, const char *besides, char **name, GError **error)
{
  g_autoptr (JsonArray) list = run_objects (client, "query-memdev", error);

  *name = NULL;
  for (guint i = 0; list != NULL && i < json_array_get_length (list) && *name == NULL; i++) {
    JsonObject *item = json_array_get_object_element (list, i);
    const char *id = json_get_string_or (item, "id", "without a name");
    if (json_get_bool_or (item, "share", FALSE) && g_strcmp0 (id, besides) != 0)
      *name = g_strdup (id);
  }
  return list != NULL;
}

void
qmp_migration_clear (QmpMigration *migration)
{
  g_free (migration->status);
  g_free (migration->error_desc);
  g_free (migration->blocked_reasons);
  *migration = (QmpMigration){ 0 };
}

/* The strings of an array, joined; NULL if there are none. */
static char *
join_strings (JsonArray *array)
{
  g_autoptr (GPtrArray) parts = g_ptr_array_new();

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    const char *part = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
    if (part != NULL)
      g_ptr_array_add (parts, (gpointer)part);
  }
  if (parts->len == 0)
    return NULL;
  g_ptr_array_add (parts, NULL);
  return g_strjoinv ("; ", (char **)parts->pdata);
}

gboolean
qmp_query_migrate (QmpClient *client, QmpMigration *migration, GError **error)
{
  g_autoptr (JsonObject) answer = run_object (client, "query-migrate", error);

  if (answer == NULL)
    return FALSE;
  JsonObject *ram = json_get_object (answer, "ram", NULL);
  *migration = (QmpMigration){
    /* Before the first migration QEMU answers with an empty object. */
    .status = g_strdup (json_get_string_or (answer, "status", "none")),
    .error_desc = g_strdup (json_get_string_or (answer, "error-desc", NULL)),
    .blocked_reasons = join_strings (json_get_array (answer, "blocked-reasons", NULL)),
    .ram_total = ram != NULL ? json_get_uint64_or (ram, "total", 0) : 0,
    .ram_transferred = ram != NULL ? json_get_uint64_or (ram, "transferred", 0) : 0,
    .ram_remaining = ram != NULL ? json_get_uint64_or (ram, "remaining", 0) : 0,
    .total_ms = json_get_uint64_or (answer, "total-time", 0),
    .downtime_ms = json_get_uint64_or (answer, "downtime", 0),
  };
  return TRUE;
}

JsonArray *
qmp_query_machines (QmpClient *client, GError **error)
{
  return run_objects (client, "query-machines", error);
}

char *
qmp_find_machine (JsonArray *machines, const char *alias, char **ram_id)
{
  for (guint i = 0; i < json_array_get_length (machines); i++) {
    JsonObject *machine = json_array_get_object_element (machines, i);
    const char *name = json_get_string_or (machine, "name", "");
    if (strcmp (name, alias) != 0 &&
        g_strcmp0 (json_get_string_or (machine, "alias", NULL), alias) != 0)
      continue;
    if (ram_id != NULL)
      *ram_id = g_strdup (json_get_string_or (machine, "default-ram-id", NULL));
    return g_strdup (name);
  }
  return NULL;
}
