/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "writer-kinds.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define LIST_MAX 1024
#define TEXT_MAX_BYTES (256 * 1024)

typedef struct {
  const char *name; /* ends with "*": any that begins so */
  ForeignWriters writers;
} Kind;

static const Kind devices[] = {
  { "vfio-*", WRITERS_FREE },        /* its DMA does not stop with the CPUs */
  { "pvrdma", WRITERS_FREE },        /* the host's RDMA card was given the pages */
  { "vhost-user-*", WRITERS_STOP },  /* another process has the memory's file */
  { "vhost-vdpa-*", WRITERS_STOP },  /* the device was given the pages */
  { "vhost-scsi*", WRITERS_STOP },   /* the kernel pins them */
  { "scsi-block", WRITERS_STOP },    /* likewise, for SG_IO */
  { "x-pci-proxy-*", WRITERS_STOP }, /* another QEMU has the memory's file */
};

static const Kind networks[] = {
  { "vhost-user", WRITERS_STOP },
  { "vhost-vdpa", WRITERS_STOP },
};

static const Kind blocks[] = {
  { "nvme", WRITERS_STOP }, /* in user space: the device was given the pages */
  { "nvme-io_uring", WRITERS_STOP },
  { "virtio-blk-*", WRITERS_STOP }, /* libblkio: vhost-user, vhost-vdpa, VFIO */
};

static ForeignWriters
look_up (const Kind *kinds, gsize count, const char *name)
{
  for (gsize i = 0; i < count; i++)
    if (g_pattern_match_simple (kinds[i].name, name))
      return kinds[i].writers;
  return WRITERS_NONE;
}

ForeignWriters
writers_of_device (const char *type)
{
  return look_up (devices, G_N_ELEMENTS (devices), type);
}

ForeignWriters
writers_of_network (const char *type)
{
  return look_up (networks, G_N_ELEMENTS (networks), type);
}

ForeignWriters
writers_of_block (const char *driver)
{
  return look_up (blocks, G_N_ELEMENTS (blocks), driver);
}

/* Lines like " \ n0: index=0,type=vhost-user,…"; one that belongs to a card is indented. */
void
writers_parse_network (const char *text,
                       void (*found) (const char *name, const char *type, gpointer user_data),
                       gpointer user_data)
{
  g_auto (GStrv) lines = g_strsplit_set (text, "\r\n", LIST_MAX);

  for (guint i = 0; lines[i] != NULL; i++) {
    char *line = lines[i] + strspn (lines[i], " \\");
    char *end = strstr (line, ": ");
    char *type = strstr (line, ",type=");
    if (end == NULL || type == NULL || type < end)
      continue;
    *end = '\0';
    type += strlen (",type=");
    type[strcspn (type, ",")] = '\0';
    found (line, type, user_data);
  }
}

/* ---- What QEMU says ---- */

typedef struct {
  ForeignWriters worst;
  GString *names;
} Finding;

static void
add (Finding *finding, ForeignWriters writers, const char *name, const char *type)
{
  if (writers == WRITERS_NONE)
    return;
  finding->worst = MAX (finding->worst, writers);
  g_string_append_printf (finding->names, "%s%s (%s)", finding->names->len > 0 ? ", " : "", name,
                          type);
}

static void
on_network (const char *name, const char *type, gpointer user_data)
{
  add (user_data, writers_of_network (type), name, type);
}

static JsonNode *
ask (QmpClient *monitor, const char *command, const char *argument, const char *value,
     GError **error)
{
  JsonObject *arguments = json_object_new();

  if (g_str_equal (command, "query-named-block-nodes"))
    json_object_set_boolean_member (arguments, argument, TRUE);
  else
    json_object_set_string_member (arguments, argument, value);
  return qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);
}

/* The objects of an array, at most LIST_MAX; others are passed over. */
static GPtrArray *
objects_of (JsonNode *node)
{
  JsonArray *array = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  guint count = array != NULL ? MIN (json_array_get_length (array), LIST_MAX) : 0;
  GPtrArray *objects = g_ptr_array_new();

  for (guint i = 0; i < count; i++) {
    JsonNode *element = json_array_get_element (array, i);
    if (JSON_NODE_HOLDS_OBJECT (element))
      g_ptr_array_add (objects, json_node_get_object (element));
  }
  return objects;
}

/* Devices given with an id, or without one. */
static gboolean
find_devices (QmpClient *monitor, const char *path, Finding *finding, GError **error)
{
  g_autoptr (JsonNode) answer = ask (monitor, "qom-list", "path", path, error);

  if (answer == NULL)
    return FALSE;
  g_autoptr (GPtrArray) list = objects_of (answer);
  for (guint i = 0; i < list->len; i++) {
    const char *type = json_get_string_or (list->pdata[i], "type", "");
    if (!g_str_has_prefix (type, "child<"))
      continue;
    type += strlen ("child<");
    g_autofree char *device = g_strndup (type, strcspn (type, ">"));
    add (finding, writers_of_device (device), json_get_string_or (list->pdata[i], "name", "?"),
         device);
  }
  return TRUE;
}

static gboolean
find_networks (QmpClient *monitor, Finding *finding, GError **error)
{
  g_autoptr (JsonNode) answer =
      ask (monitor, "human-monitor-command", "command-line", "info network", error);

  if (answer == NULL)
    return FALSE;
  const char *text = json_node_get_string (answer);
  if (text != NULL && strlen (text) <= TEXT_MAX_BYTES)
    writers_parse_network (text, on_network, finding);
  return TRUE;
}

static gboolean
find_blocks (QmpClient *monitor, Finding *finding, GError **error)
{
  g_autoptr (JsonNode) answer = ask (monitor, "query-named-block-nodes", "flat", NULL, error);

  if (answer == NULL)
    return FALSE;
  g_autoptr (GPtrArray) list = objects_of (answer);
  for (guint i = 0; i < list->len; i++) {
    const char *driver = json_get_string_or (list->pdata[i], "drv", "");
    add (finding, writers_of_block (driver), json_get_string_or (list->pdata[i], "node-name", "?"),
         driver);
  }
  return TRUE;
}

gboolean
qemu_foreign_writers (QmpClient *monitor, ForeignWriters *writers, char **reason, GError **error)
{
  ERROR_PREFIX (error, "finding out who writes to the guest's memory");
  g_autoptr (GString) names = g_string_new (NULL);
  Finding finding = { WRITERS_NONE, names };

  *reason = NULL;
  if (!find_devices (monitor, "/machine/peripheral", &finding, error) ||
      !find_devices (monitor, "/machine/peripheral-anon", &finding, error) ||
      !find_networks (monitor, &finding, error) || !find_blocks (monitor, &finding, error))
    return FALSE;
  *writers = finding.worst;
  if (finding.worst == WRITERS_STOP)
    *reason = g_strdup_printf ("memory is also written past QEMU, where it is not seen, by %s",
                               names->str);
  else if (finding.worst == WRITERS_FREE)
    *reason = g_strdup_printf ("memory is written also while the guest is stopped, by %s; a guest "
                               "without that can be checkpointed",
                               names->str);
  return TRUE;
}
