/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-features.h"

#include <vmckpt/drivers/guest-spec.h>

#include <string.h>

/* A feature that "max" has on older QEMUs, that no processor ever had, and that newer ones refuse.
 */
#define RETIRED "pcommit"

gboolean
cpu_is_unportable (const char *cpu)
{
  g_auto (GStrv) parts = g_strsplit (cpu, ",", 2);

  return parts[0] != NULL && (g_str_equal (parts[0], "max") || g_str_equal (parts[0], "host"));
}

/* One property of -cpu as QMP takes it: "x=on", "x=5", "x=text", and the old "+x" and "-x". */
static void
add_property (JsonObject *properties, const char *text)
{
  g_auto (GStrv) pair = g_strsplit (text, "=", 2);
  const char *name = pair[0], *value = name != NULL ? pair[1] : NULL;
  guint64 number;

  if (name == NULL || *name == '\0')
    return;
  if (value == NULL && (*name == '+' || *name == '-'))
    json_object_set_boolean_member (properties, name + 1, *name == '+');
  else if (value == NULL || g_str_equal (value, "on"))
    json_object_set_boolean_member (properties, name, TRUE);
  else if (g_str_equal (value, "off"))
    json_object_set_boolean_member (properties, name, FALSE);
  else if (g_ascii_string_to_unsigned (value, 10, 0, G_MAXINT64, &number, NULL))
    json_object_set_int_member (properties, name, number);
  else
    json_object_set_string_member (properties, name, value);
}

static JsonObject *
parse_cpu (const char *cpu)
{
  g_auto (GStrv) parts = g_strsplit (cpu, ",", 0);
  JsonObject *model = json_object_new();
  JsonObject *properties = json_object_new();

  json_object_set_string_member (model, "name", parts[0] != NULL ? parts[0] : "");
  for (guint i = 1; parts[0] != NULL && parts[i] != NULL; i++)
    add_property (properties, parts[i]);
  json_object_set_object_member (model, "props", properties);
  return model;
}

/* The member of @object that is an object, or NULL. */
static JsonObject *
inner_object (JsonObject *object, const char *member)
{
  JsonNode *node = object != NULL ? json_object_get_member (object, member) : NULL;

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

JsonObject *
cpu_expand (QmpClient *monitor, const char *cpu, GError **error)
{
  JsonObject *arguments = json_object_new();
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonNode) answer = NULL;

  json_object_set_string_member (arguments, "type", "static");
  json_object_set_object_member (arguments, "model", parse_cpu (cpu));
  answer =
      qmp_client_execute (monitor, "query-cpu-model-expansion", arguments, -1, 0, NULL, &cause);
  if (answer == NULL && g_error_matches (cause, QMP_ERROR, QMP_ERROR_TIMEOUT)) {
    /* Callers want to tell a QEMU that hangs from one that refuses. */
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (answer == NULL) {
    g_set_error (error, DRIVER_ERROR,
                 g_error_matches (cause, QMP_ERROR, QMP_ERROR_COMMAND) ? DRIVER_ERROR_INVALID
                                                                       : DRIVER_ERROR_FAILED,
                 "CPU model '%s': %s", cpu, cause->message);
    return NULL;
  }

  JsonObject *model = NULL;
  if (JSON_NODE_HOLDS_OBJECT (answer))
    model = inner_object (json_node_get_object (answer), "model");
  if (inner_object (model, "props") == NULL || !json_object_has_member (model, "name")) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED,
                 "QEMU does not say what CPU model '%s' stands for", cpu);
    return NULL;
  }
  return json_object_ref (model);
}

char *
cpu_model_to_text (JsonObject *model)
{
  JsonObject *properties = inner_object (model, "props");
  GString *text = g_string_new (json_object_get_string_member_with_default (model, "name", "base"));
  g_autoptr (GList) names = json_object_get_members (properties);

  for (GList *l = names; l != NULL; l = l->next) {
    const char *name = l->data;
    JsonNode *value = json_object_get_member (properties, name);
    GType type = JSON_NODE_HOLDS_VALUE (value) ? json_node_get_value_type (value) : G_TYPE_INVALID;
    /* The model that this is based on has nothing on, so what is off need not be said. */
    if (type == G_TYPE_BOOLEAN && json_node_get_boolean (value) && strcmp (name, RETIRED) != 0)
      g_string_append_printf (text, ",%s=on", name);
    else if (type == G_TYPE_INT64)
      g_string_append_printf (text, ",%s=%" G_GINT64_FORMAT, name, json_node_get_int (value));
    else if (type == G_TYPE_STRING && *json_node_get_string (value) != '\0' &&
             strchr (json_node_get_string (value), ',') == NULL)
      g_string_append_printf (text, ",%s=%s", name, json_node_get_string (value));
  }
  return g_string_free (text, FALSE);
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

GStrv
cpu_model_features (JsonObject *model)
{
  JsonObject *properties = inner_object (model, "props");
  g_autoptr (GList) names = json_object_get_members (properties);
  GPtrArray *on = g_ptr_array_new();

  for (GList *l = names; l != NULL; l = l->next) {
    JsonNode *value = json_object_get_member (properties, l->data);
    if (JSON_NODE_HOLDS_VALUE (value) && json_node_get_value_type (value) == G_TYPE_BOOLEAN &&
        json_node_get_boolean (value))
      g_ptr_array_add (on, g_strdup (l->data));
  }
  g_ptr_array_sort (on, compare_names);
  g_ptr_array_add (on, NULL);
  return (GStrv)g_ptr_array_free (on, FALSE);
}
