/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-overlay.h>

#include "qemu-img.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <unistd.h>

gboolean
disk_overlay_create (const char *path, const char *base, guint64 size, GError **error)
{
  ERROR_PREFIX (error, "making overlay %s", path);
  g_autofree char *bytes = g_strdup_printf ("%" G_GUINT64_FORMAT, size);
  /* -u: the backing file is still to come. */
  const char *const args[] = {
    "create", "-q", "-u", "-f",  "qcow2", "-o",  "extended_l2=on,cluster_size=128k",
    "-b",     base, "-F", "raw", path,    bytes, NULL
  };
  /* Made here, since qemu-img would overwrite what is there. */
  g_auto (AutoFd) fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  if (fd < 0)
    return fd_set_errno_error (error, "making it");
  if (qemu_img_run (args, NULL, error))
    return TRUE;
  unlink (path);
  return FALSE;
}

/* As drivers call it (qemu-disk.h). */
static char *
export_node (const char *node)
{
  return g_strconcat (node, "-export", NULL);
}

/* Carries out a command whose answer does not matter. @arguments: (transfer full). */
static gboolean
carry_out (QmpClient *monitor, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);

  return answer != NULL;
}

static gboolean
has_node (QmpClient *monitor, const char *name, gboolean *there, GError **error)
{
  JsonObject *arguments = json_object_new();

  *there = FALSE;
  json_object_set_boolean_member (arguments, "flat", TRUE);
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, "query-named-block-nodes", arguments, -1, 0, NULL, error);
  if (answer == NULL)
    return FALSE;
  JsonArray *nodes = JSON_NODE_HOLDS_ARRAY (answer) ? json_node_get_array (answer) : NULL;
  for (guint i = 0; nodes != NULL && i < json_array_get_length (nodes); i++) {
    JsonNode *node = json_array_get_element (nodes, i);
    if (JSON_NODE_HOLDS_OBJECT (node) &&
        g_str_equal (json_get_string_or (json_node_get_object (node), "node-name", ""), name))
      *there = TRUE;
  }
  return TRUE;
}

gboolean
disk_overlay_is_on_export (QmpClient *monitor, const char *node, gboolean *on_export,
                           GError **error)
{
  g_autofree char *name = export_node (node);

  return has_node (monitor, name, on_export, error);
}

/* Adds a node, unless it is there. */
static gboolean
add_node (QmpClient *monitor, JsonObject *options, GError **error)
{
  gboolean there;

  return has_node (monitor, json_get_string_or (options, "node-name", ""), &there, error) &&
         (there || carry_out (monitor, "blockdev-add", json_object_ref (options), error));
}

/* Gives a node that is there other nodes below it; what was there before stays a node. */
static gboolean
reopen (QmpClient *monitor, JsonObject *options, GError **error)
{
  JsonObject *arguments = json_object_new();
  JsonArray *list = json_array_new();

  json_array_add_object_element (list, json_object_ref (options));
  json_object_set_array_member (arguments, "options", list);
  return carry_out (monitor, "blockdev-reopen", arguments, error);
}

static gboolean
delete_node (QmpClient *monitor, const char *name, GError **error)
{
  JsonObject *arguments;
  gboolean there;

  if (!has_node (monitor, name, &there, error))
    return FALSE;
  if (!there)
    return TRUE;
  arguments = json_object_new();
  json_object_set_string_member (arguments, "node-name", name);
  return carry_out (monitor, "blockdev-del", arguments, error);
}

gboolean
disk_overlay_swap (QmpClient *monitor, JsonArray *nodes, GError **error)
{
  guint count = json_array_get_length (nodes);
  g_return_val_if_fail (count > 0, FALSE);
  JsonObject *overlay = json_array_get_object_element (nodes, count - 1);
  const char *node = json_get_string_or (overlay, "node-name", "");
  ERROR_PREFIX (error, "swapping the base of disk %s", node);
  g_autofree char *old = export_node (node);

  for (guint i = 0; i + 1 < count; i++)
    if (!add_node (monitor, json_array_get_object_element (nodes, i), error))
      return FALSE;
  return fault_visit (FAULT_SWAP_ADDED, error) && reopen (monitor, overlay, error) &&
         fault_visit (FAULT_SWAP_REOPENED, error) && delete_node (monitor, old, error) &&
         fault_visit (FAULT_SWAP_DONE, error);
}
