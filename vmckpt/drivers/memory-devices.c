/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory-devices.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define DEVICES_MAX 256 /* QEMU's own bound on slots */

/* What QEMU answers to @command, an array. */
static JsonNode *
ask (QmpClient *monitor, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);

  if (answer != NULL && !JSON_NODE_HOLDS_ARRAY (answer)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "QEMU answers no list to %s", command);
    return NULL;
  }
  return g_steal_pointer (&answer);
}

/* Whether QEMU object @id is of type @type. */
static gboolean
has_type (QmpClient *monitor, const char *id, const char *type)
{
  g_autofree char *child = g_strdup_printf ("child<%s>", type);
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "path", "/objects");
  g_autoptr (JsonNode) answer = ask (monitor, "qom-list", arguments, NULL);
  JsonArray *list = answer != NULL ? json_node_get_array (answer) : NULL;
  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++) {
    JsonNode *node = json_array_get_element (list, i);
    JsonObject *object = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    if (object != NULL && g_str_equal (json_get_string_or (object, "name", ""), id))
      return g_str_equal (json_get_string_or (object, "type", ""), child);
  }
  return FALSE;
}

/* Adds what plugs in @data, a DIMM, to @extra. */
static gboolean
add_dimm (JsonArray *extra, JsonObject *data, QmpClient *monitor, GError **error)
{
  const char *id = json_get_string_or (data, "id", NULL);
  const char *memdev = json_get_string_or (data, "memdev", "");
  const char *backend = g_str_has_prefix (memdev, "/objects/") ? memdev + strlen ("/objects/") : "";
  g_autoptr (GString) device = g_string_new (NULL);

  if (!has_type (monitor, backend, "memory-backend-ram")) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "memory %s was plugged in while the guest ran and is no memory-backend-ram; only "
                 "such memory can be restored: plug it out, or use that",
                 id != NULL ? id : memdev);
    return FALSE;
  }
  json_array_add_string_element (extra, "-object");
  g_string_printf (device, "memory-backend-ram,id=%s,size=%" G_GUINT64_FORMAT, backend,
                   json_get_uint64_or (data, "size", 0));
  json_array_add_string_element (extra, device->str);
  json_array_add_string_element (extra, "-device");
  g_string_printf (device,
                   "pc-dimm,memdev=%s,addr=%" G_GUINT64_FORMAT ",slot=%" G_GUINT64_FORMAT
                   ",node=%" G_GUINT64_FORMAT,
                   backend, json_get_uint64_or (data, "addr", 0),
                   json_get_uint64_or (data, "slot", 0), json_get_uint64_or (data, "node", 0));
  if (id != NULL)
    g_string_append_printf (device, ",id=%s", id);
  json_array_add_string_element (extra, device->str);
  return TRUE;
}

gboolean
memory_devices_record (JsonObject *spec, QmpClient *monitor, GError **error)
{
  g_autoptr (JsonNode) answer = ask (monitor, "query-memory-devices", NULL, error);
  JsonArray *extra = json_get_array (spec, "extra", NULL);

  if (answer == NULL || extra == NULL)
    return answer != NULL;
  JsonArray *list = json_node_get_array (answer);
  for (guint i = 0; i < MIN (json_array_get_length (list), DEVICES_MAX); i++) {
    JsonNode *node = json_array_get_element (list, i);
    JsonObject *device = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
    JsonObject *data = device != NULL ? json_get_object (device, "data", NULL) : NULL;
    /* What is on the command line is in the spec already. */
    if (data == NULL || !json_get_bool_or (data, "hotplugged", FALSE))
      continue;
    const char *type = json_get_string_or (device, "type", "?");
    if (!g_str_equal (type, "dimm")) {
      g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                   "a memory device of type %s was plugged in while the guest ran; only DIMMs can "
                   "be restored",
                   type);
      return FALSE;
    }
    if (!add_dimm (extra, data, monitor, error))
      return FALSE;
  }
  return TRUE;
}
