/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "point-temporaries.h"

#include "point-names.h"

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/qmp/batch.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <glib/gstdio.h>

#define CREATE_PATIENCE_US (60 * G_USEC_PER_SEC)
#define CREATE_POLL_US 1000

/* Temporaries of this guest begin with this; newly allocated. */
static char *
file_prefix (const char *socket)
{
  return g_strdup_printf (DISK_PREFIX "%08x-", g_str_hash (socket));
}

static gboolean
refuse (GError **error, DiskError code, const PointTemporary *disk, const char *reason)
{
  g_set_error (error, DISK_ERROR, code, "disk '%s': %s", disk->name, reason);
  return FALSE;
}

/* What may be lost in a crash, in which the whole point is. */
static void
set_unsafe_cache (JsonObject *node)
{
  JsonObject *cache = json_object_new();

  json_object_set_boolean_member (cache, "no-flush", TRUE);
  json_object_set_object_member (node, "cache", cache);
  json_object_set_string_member (node, "discard", "unmap");
}

/* An empty file without a name; -1 on failure. */
static int
make_file (const PointTemporaries *all, const PointTemporary *disk, GError **error)
{
  g_autofree char *prefix = file_prefix (all->socket);
  g_autofree char *name = g_strdup_printf ("%s%sXXXXXX", prefix, disk->name);
  g_autofree char *path = g_build_filename (all->directory, name, NULL);
  int fd = g_mkstemp_full (path, O_RDWR | O_CLOEXEC, 0600);

  if (fd >= 0)
    g_unlink (path);
  else
    fd_set_errno_error (error, "making a temporary for disk '%s' in '%s'", disk->name,
                        all->directory);
  return fd;
}

/* QEMU may be another user and see other directories, so it gets the file itself, under a number
 * that it forgets again as soon as the node is there. */
static gboolean
pass_file (const PointTemporaries *all, guint index, QmpBatch *batch, GError **error)
{
  const PointTemporary *disk = &all->disks[index];
  g_autofree char *file = point_name (POINT_FILE, index);
  const gint64 set = POINT_FDSET + (gint64)index;
  g_autofree char *name = g_strdup_printf ("/dev/fdset/%" G_GINT64_FORMAT, set);
  g_auto (AutoFd) fd = make_file (all, disk, error);
  JsonObject *node, *forgotten;

  if (fd < 0 || !qmp_add_fd (all->monitor, set, fd, error))
    return FALSE;
  node = json_object_new();
  json_object_set_string_member (node, "driver", "file");
  json_object_set_string_member (node, "node-name", file);
  json_object_set_string_member (node, "filename", name);
  set_unsafe_cache (node);
  qmp_batch_add (batch, "blockdev-add", node);
  forgotten = json_object_new();
  json_object_set_int_member (forgotten, "fdset-id", set);
  qmp_batch_add (batch, "remove-fd", forgotten);
  return TRUE;
}

static void
add_format (const PointTemporaries *all, guint index, QmpBatch *batch)
{
  g_autofree char *file = point_name (POINT_FILE, index);
  g_autofree char *job = point_name (POINT_CREATION, index);
  JsonObject *arguments = json_object_new();
  JsonObject *options = json_object_new();

  json_object_set_string_member (options, "driver", "qcow2");
  json_object_set_string_member (options, "file", file);
  json_object_set_int_member (options, "size", all->disks[index].size);
  json_object_set_string_member (arguments, "job-id", job);
  json_object_set_object_member (arguments, "options", options);
  qmp_batch_add (batch, "blockdev-create", arguments);
}

/* The state of job @id; @failure: (out): why it failed, borrowed from @answer; NULL: not. */
static const char *
find_job (JsonNode *answer, const char *id, const char **failure)
{
  JsonArray *jobs = JSON_NODE_HOLDS_ARRAY (answer) ? json_node_get_array (answer) : NULL;

  for (guint i = 0; jobs != NULL && i < json_array_get_length (jobs); i++) {
    JsonNode *element = json_array_get_element (jobs, i);
    if (!JSON_NODE_HOLDS_OBJECT (element))
      continue;
    JsonObject *job = json_node_get_object (element);
    if (g_strcmp0 (json_get_string_or (job, "id", NULL), id) != 0)
      continue;
    *failure = json_get_string_or (job, "error", NULL);
    return json_get_string_or (job, "status", NULL);
  }
  *failure = "the job is gone";
  return NULL;
}

static gboolean
wait_formatted (const PointTemporaries *all, guint index, GCancellable *cancellable, GError **error)
{
  g_autofree char *job = point_name (POINT_CREATION, index);
  gint64 deadline = g_get_monotonic_time() + CREATE_PATIENCE_US;

  for (;;) {
    g_autoptr (JsonNode) answer =
        qmp_client_execute (all->monitor, "query-jobs", NULL, -1, 0, cancellable, error);
    const char *failure;
    if (answer == NULL)
      return FALSE;
    const char *status = find_job (answer, job, &failure);
    if (failure != NULL)
      return refuse (error, DISK_ERROR_FAILED, &all->disks[index], failure);
    if (g_strcmp0 (status, "concluded") == 0)
      return TRUE;
    if (g_get_monotonic_time() > deadline)
      return refuse (error, DISK_ERROR_STALLED, &all->disks[index],
                     "its temporary does not get formatted");
    g_usleep (CREATE_POLL_US);
  }
}

static void
add_open (guint index, QmpBatch *batch)
{
  g_autofree char *file = point_name (POINT_FILE, index);
  g_autofree char *job = point_name (POINT_CREATION, index);
  g_autofree char *temporary = point_name (POINT_TEMPORARY, index);
  JsonObject *dismiss = json_object_new();
  JsonObject *node = json_object_new();

  json_object_set_string_member (dismiss, "id", job);
  qmp_batch_add (batch, "job-dismiss", dismiss);
  json_object_set_string_member (node, "driver", "qcow2");
  json_object_set_string_member (node, "node-name", temporary);
  json_object_set_string_member (node, "file", file);
  set_unsafe_cache (node);
  qmp_batch_add (batch, "blockdev-add", node);
}

gboolean
point_temporaries_make (const PointTemporaries *all, GCancellable *cancellable, GError **error)
{
  g_autoptr (QmpBatch) create = qmp_batch_new (all->monitor);
  g_autoptr (QmpBatch) open = qmp_batch_new (all->monitor);

  for (guint i = 0; i < all->n_disks; i++) {
    if (!pass_file (all, i, create, error))
      return FALSE;
    add_format (all, i, create);
    add_open (i, open);
  }
  if (!qmp_batch_run (create, error) || !fault_visit (FAULT_DISK_CREATING, error))
    return FALSE;
  for (guint i = 0; i < all->n_disks; i++)
    if (!wait_formatted (all, i, cancellable, error))
      return FALSE;
  return qmp_batch_run (open, error);
}

void
point_temporaries_remove (const char *directory, const char *socket)
{
  g_autoptr (GDir) dir = g_dir_open (directory, 0, NULL);
  g_autofree char *prefix = file_prefix (socket);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (directory, name, NULL);
    if (g_str_has_prefix (name, prefix))
      g_unlink (path);
  }
}
