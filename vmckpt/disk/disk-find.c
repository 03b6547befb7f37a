/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-find.h>

#include "block-graph.h"
#include "drive-bitmap.h"
#include "point-names.h"

#include <string.h>
#include <vmckpt/qmp/batch.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#define IDLE_POLL_US 50000

GQuark
disk_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-disk-error");
}

void
guest_drive_free (GuestDrive *drive)
{
  if (drive == NULL)
    return;
  g_free (drive->qdev);
  g_free (drive->device);
  g_free (drive->node);
  g_free (drive->format);
  g_free (drive->filename);
  g_free (drive->busy);
  g_free (drive);
}

/* The device of id @id: a virtio-blk device is told as the path of its back end in QOM. */
static gboolean
is_device (const char *qdev, const char *id)
{
  const char *below = qdev != NULL && g_str_has_prefix (qdev, "/machine/peripheral/")
                          ? qdev + strlen ("/machine/peripheral/")
                          : NULL;
  gsize len = strlen (id);

  return g_strcmp0 (qdev, id) == 0 ||
         (below != NULL && strncmp (below, id, len) == 0 && (below[len] == '/' || below[len] == 0));
}

GuestDrive *
disk_find_drive (GPtrArray *drives, const char *node)
{
  for (guint i = 0; i < drives->len; i++) {
    GuestDrive *drive = g_ptr_array_index (drives, i);
    if (g_strcmp0 (drive->node, node) == 0 || g_strcmp0 (drive->device, node) == 0 ||
        is_device (drive->qdev, node))
      return drive;
  }
  return NULL;
}

/* What QEMU was asked; borrowed from the batch. */
typedef struct {
  JsonArray *drives, *nodes, *jobs;
  BlockGraph *graph;
  gboolean iothreads;
} Answers;

/* The element of @array whose @member is @value; borrowed; NULL: none. */
static JsonObject *
find_object (JsonArray *array, const char *member, const char *value)
{
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *element = json_array_get_element (array, i);
    if (JSON_NODE_HOLDS_OBJECT (element) &&
        g_strcmp0 (json_get_string_or (json_node_get_object (element), member, NULL), value) == 0)
      return json_node_get_object (element);
  }
  return NULL;
}

/* A member that is an object; borrowed; NULL: there is none. */
static JsonObject *
member_object (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

/* Why @node cannot be captured now, or NULL; newly allocated. */
static char *
find_busy (const Answers *answers, const char *node)
{
  const char *job = block_graph_job (answers->graph, node);
  JsonObject *told = job != NULL ? find_object (answers->jobs, "device", job) : NULL;

  if (job == NULL)
    return NULL;
  return g_strdup_printf ("the block job '%s' (%s) is at work on it; try again when it is over",
                          job,
                          told != NULL ? json_get_string_or (told, "type", "unknown") : "unknown");
}

static const char *
driver_of (const Answers *answers, const char *node)
{
  JsonObject *object = find_object (answers->nodes, "node-name", node);

  return object != NULL ? json_get_string_or (object, "drv", NULL) : NULL;
}

/* What jobs put between a device and its node, and we do. */
static gboolean
is_job_filter (const char *driver)
{
  static const char *const drivers[] = { "copy-before-write", "mirror_top", "commit_top", NULL };

  return driver != NULL && g_strv_contains (drivers, driver);
}

/* The user's node below filters. @foreign: (out) (nullable): one of them that is not ours. */
static const char *
find_user_node (const Answers *answers, const char *top, gboolean *filtered, const char **foreign)
{
  guint steps = json_array_get_length (answers->nodes); /* what is told may go in a circle */

  *filtered = FALSE;
  *foreign = NULL;
  for (; steps > 0 && is_job_filter (driver_of (answers, top)); steps--) {
    const char *below = block_graph_child (answers->graph, top, "file");
    if (below == NULL)
      below = block_graph_child (answers->graph, top, "backing");
    if (below == NULL)
      break;
    if (point_name_is (top, POINT_FILTER))
      *filtered = TRUE;
    else
      *foreign = top;
    top = below;
  }
  return top;
}

/* What QEMU says of the user's node. */
static void
read_node (GuestDrive *drive, const Answers *answers, const char *top)
{
  JsonObject *node, *image;
  const char *foreign;

  drive->node = g_strdup (find_user_node (answers, top, &drive->filtered, &foreign));
  node = find_object (answers->nodes, "node-name", drive->node);
  image = node != NULL ? member_object (node, "image") : NULL;
  if (node == NULL || image == NULL)
    return; /* of no size: nobody captures that */
  drive->format = g_strdup (json_get_string_or (node, "drv", NULL));
  drive->filename = g_strdup (json_get_string_or (image, "filename", NULL));
  drive->size = json_get_uint64_or (image, "virtual-size", 0);
  drive->read_only = json_get_bool_or (node, "ro", FALSE);
  drive->collect = drive_bitmap_read (node, DISK_BITMAP_COLLECT);
  drive->instant = drive_bitmap_read (node, DISK_BITMAP_INSTANT);
  drive->busy = find_busy (answers, drive->node);
  if (drive->busy == NULL && foreign != NULL)
    drive->busy = g_strdup_printf ("somebody else has put the filter '%s' above it", foreign);
}

static char *
dup_or_null (const char *text)
{
  return text != NULL && *text != 0 ? g_strdup (text) : NULL;
}

static GuestDrive *
read_drive (JsonObject *object, const Answers *answers)
{
  GuestDrive *drive = g_new0 (GuestDrive, 1);
  JsonObject *inserted = member_object (object, "inserted");
  const char *top = inserted != NULL ? json_get_string_or (inserted, "node-name", NULL) : NULL;

  drive->qdev = dup_or_null (json_get_string_or (object, "qdev", NULL));
  drive->device = dup_or_null (json_get_string_or (object, "device", NULL));
  drive->removable = json_get_bool_or (object, "removable", FALSE);
  drive->iothread = answers->iothreads;
  drive->inserted = top != NULL;
  if (top != NULL)
    read_node (drive, answers, top);
  return drive;
}

static JsonObject *
flat (void)
{
  JsonObject *arguments = json_object_new();

  json_object_set_boolean_member (arguments, "flat", TRUE);
  return arguments;
}

/* The answer to command @index if it is an array. */
static JsonArray *
array_of (QmpBatch *batch, guint index, GError **error)
{
  JsonNode *answer = qmp_batch_result (batch, index);

  if (answer != NULL && JSON_NODE_HOLDS_ARRAY (answer))
    return json_node_get_array (answer);
  g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED,
               "what QEMU says of its drives is not understood");
  return NULL;
}

GPtrArray *
disk_find (QmpClient *monitor, GError **error)
{
  ERROR_PREFIX (error, "looking for the guest's disks");
  g_autoptr (QmpBatch) batch = qmp_batch_new (monitor);
  g_autoptr (BlockGraph) graph = NULL;
  Answers answers = { 0 };
  guint block = qmp_batch_add (batch, "query-block", NULL);
  guint nodes = qmp_batch_add (batch, "query-named-block-nodes", flat());
  guint jobs = qmp_batch_add (batch, "query-block-jobs", NULL);
  guint iothreads = qmp_batch_add (batch, "query-iothreads", NULL);
  guint edges = qmp_batch_add (batch, "x-debug-query-block-graph", NULL);
  JsonArray *threads;

  if (!qmp_batch_run (batch, error) || (answers.drives = array_of (batch, block, error)) == NULL ||
      (answers.nodes = array_of (batch, nodes, error)) == NULL ||
      (answers.jobs = array_of (batch, jobs, error)) == NULL ||
      (threads = array_of (batch, iothreads, error)) == NULL ||
      (graph = block_graph_new (qmp_batch_result (batch, edges), error)) == NULL)
    return NULL;
  answers.graph = graph;
  answers.iothreads = json_array_get_length (threads) > 0;
  GPtrArray *drives = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_drive_free);
  for (guint i = 0; i < json_array_get_length (answers.drives); i++) {
    JsonNode *element = json_array_get_element (answers.drives, i);
    if (JSON_NODE_HOLDS_OBJECT (element))
      g_ptr_array_add (drives, read_drive (json_node_get_object (element), &answers));
  }
  return drives;
}

gboolean
disk_wait_idle (QmpClient *monitor, const char *node, int timeout_ms, GCancellable *cancellable,
                GError **error)
{
  gint64 deadline = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;

  for (;;) {
    g_autoptr (GPtrArray) drives = disk_find (monitor, error);
    if (drives == NULL || g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    GuestDrive *drive = disk_find_drive (drives, node);
    if (drive == NULL || drive->busy == NULL)
      return TRUE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error (error, DISK_ERROR, DISK_ERROR_BUSY, "disk '%s': %s", node, drive->busy);
      return FALSE;
    }
    g_usleep (IDLE_POLL_US);
  }
}
