/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration that has come to its end takes the images from QEMU ("inactivates" them) until the
 * guest runs again, and no filter can be put above an inactive node; put there before, it would
 * make the migration fail (its write permission on the temporary cannot be given up). So
 * disk_point_instant() comes after such a migration and activates the images itself:
 * blockdev-set-active from QEMU 10.0 on; before, a read-only export of a node has that side effect
 * (block/export/export.c). A background snapshot leaves the images active.
 */
#include <vmckpt/disk/disk-point.h>

#include "disk-undo.h"
#include "point-names.h"
#include "point-temporaries.h"
#include "transaction.h"

#include <glib/gstdio.h>
#include <vmckpt/qmp/batch.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

/* Up to this size a granule is a page of the store: 32 MiB of QEMU's memory for 1 TiB. */
#define FINE_SIZE (G_GUINT64_CONSTANT (1) << 40)
#define FINE_GRANULARITY 4096
#define COARSE_GRANULARITY 65536

/* How long a write of the guest waits for its temporary before the point is given up, seconds: less
 * than any guest's own patience with a disk (30 s). */
#define COPY_TIMEOUT_S 10

#define SERVER_FD DISK_PREFIX "nbd"

/* How what was written is known at the instant. */
typedef enum {
  BITMAP_FRESH, /* it is not; from the instant on it will be */
  BITMAP_TURN,  /* what was collected is set aside */
} BitmapWay;

typedef struct {
  char *wanted; /* what the caller knows the drive by */
  gboolean incremental;
  GuestDrive *drive; /* as of disk_point_prepare(); borrowed from the point's drives */
  char *names[128];  /* of PointThing's */
  BitmapWay way;
  DiskPointSource source; /* its strings are owned */
} PointDisk;

struct _DiskPoint {
  QmpClient *monitor;
  char *temporary;
  char *socket;
  PointDisk *disks;
  guint n_disks;
  GPtrArray *drives; /* (nullable) */
};

static const PointThing things[] = {
  POINT_TEMPORARY, POINT_FILTER,     POINT_SNAPSHOT,
  POINT_EXPORT,    POINT_ACTIVATION, POINT_OVERLAY_ACTIVATION,
};

static const char *
name_of (const PointDisk *disk, PointThing thing)
{
  return disk->names[(guint)thing];
}

DiskPoint *
disk_point_new (QmpClient *monitor, const char *temporary, const char *socket,
                const DiskPointDisk *disks, guint n_disks)
{
  DiskPoint *point = g_new0 (DiskPoint, 1);

  point->monitor = monitor;
  point->temporary = g_strdup (temporary);
  point->socket = g_strdup (socket);
  point->disks = g_new0 (PointDisk, n_disks);
  point->n_disks = n_disks;
  for (guint i = 0; i < n_disks; i++) {
    PointDisk *disk = &point->disks[i];
    const GuestDrive *drive = disks[i].drive;
    disk->wanted = g_strdup (drive->node != NULL ? drive->node : drive->qdev);
    disk->incremental = disks[i].incremental;
    disk->source.name = g_strdup (disks[i].name);
    disk->source.export_name = g_strdup (disks[i].name);
    for (guint k = 0; k < G_N_ELEMENTS (things); k++)
      disk->names[(guint)things[k]] = point_name (things[k], i);
  }
  return point;
}

static void
point_disk_clear (PointDisk *disk)
{
  g_free (disk->wanted);
  g_free ((char *)disk->source.name);
  g_free ((char *)disk->source.export_name);
  g_free ((char *)disk->source.bitmap);
  for (guint k = 0; k < G_N_ELEMENTS (disk->names); k++)
    g_free (disk->names[k]);
}

void
disk_point_free (DiskPoint *point)
{
  if (point == NULL)
    return;
  for (guint i = 0; i < point->n_disks; i++)
    point_disk_clear (&point->disks[i]);
  g_free (point->disks);
  g_clear_pointer (&point->drives, g_ptr_array_unref);
  g_free (point->temporary);
  g_free (point->socket);
  g_free (point);
}

/* ---- prepare: what is there ---- */

static gboolean
check_version (QmpClient *monitor, GError **error)
{
  const QmpGreeting *greeting = qmp_client_greeting (monitor);

  if (greeting->major > 7 || (greeting->major == 7 && greeting->minor >= 1))
    return TRUE;
  g_set_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE,
               "disks are captured from QEMU 7.1 on, this one is %u.%u", greeting->major,
               greeting->minor);
  return FALSE;
}

static gboolean
refuse (GError **error, DiskError code, const PointDisk *disk, const char *reason)
{
  g_set_error (error, DISK_ERROR, code, "disk '%s': %s", disk->source.name, reason);
  return FALSE;
}

/* Until QEMU 9.0 a thread that serves disks and the main thread share its block layer by locks that
 * are wrong in places: 7.2 was seen to end in blockdev-add and block-export-add
 * ("qemu_mutex_unlock: Operation not permitted"), and when a client leaves a live export. */
static gboolean
endures_iothreads (QmpClient *monitor)
{
  return qmp_client_greeting (monitor)->major >= 9;
}

static gboolean
check_drive (const DiskPoint *point, const PointDisk *disk, GError **error)
{
  const GuestDrive *drive = disk->drive;

  if (drive == NULL || !drive->inserted)
    return refuse (error, DISK_ERROR_IMPOSSIBLE, disk, "QEMU has no such drive any more");
  if (drive->qdev == NULL)
    return refuse (error, DISK_ERROR_IMPOSSIBLE, disk, "no device of the guest has it");
  if (drive->read_only)
    return refuse (error, DISK_ERROR_IMPOSSIBLE, disk, "QEMU has it open for reading only");
  if (drive->busy != NULL)
    return refuse (error, DISK_ERROR_BUSY, disk, drive->busy);
  if (drive->iothread && !endures_iothreads (point->monitor))
    return refuse (error, DISK_ERROR_IMPOSSIBLE, disk,
                   "the guest has an iothread, and QEMU before 9.0 can die when a disk of such a "
                   "guest is held: run it with a newer QEMU, or without iothreads");
  return TRUE;
}

static guint64
granularity_for (guint64 size)
{
  return size <= FINE_SIZE ? FINE_GRANULARITY : COARSE_GRANULARITY;
}

static gboolean
find_drives (DiskPoint *point, GError **error)
{
  g_clear_pointer (&point->drives, g_ptr_array_unref);
  point->drives = disk_find (point->monitor, error);
  if (point->drives == NULL)
    return FALSE;
  for (guint i = 0; i < point->n_disks; i++) {
    PointDisk *disk = &point->disks[i];
    disk->drive = disk_find_drive (point->drives, disk->wanted);
    if (!check_drive (point, disk, error))
      return FALSE;
    const DriveBitmap *collect = &disk->drive->collect;
    gboolean good = collect->there && collect->recording && !collect->busy &&
                    !collect->inconsistent &&
                    collect->granularity == granularity_for (disk->drive->size);
    disk->way = good ? BITMAP_TURN : BITMAP_FRESH;
    disk->source.size = disk->drive->size;
  }
  return TRUE;
}

/* ---- prepare: server ---- */

static gboolean
make_temporaries (DiskPoint *point, GCancellable *cancellable, GError **error)
{
  g_autofree PointTemporary *disks = g_new0 (PointTemporary, point->n_disks);
  const PointTemporaries all = { point->monitor, point->temporary, point->socket, disks,
                                 point->n_disks };

  for (guint i = 0; i < point->n_disks; i++)
    disks[i] = (PointTemporary){ point->disks[i].source.name, point->disks[i].drive->size };
  return point_temporaries_make (&all, cancellable, error);
}

static gboolean
serve (DiskPoint *point, int listening, GError **error)
{
  JsonObject *arguments = json_object_new();
  JsonObject *address = json_object_new();
  JsonObject *data = json_object_new();

  json_object_set_string_member (data, "str", SERVER_FD);
  json_object_set_string_member (address, "type", "fd");
  json_object_set_object_member (address, "data", data);
  json_object_set_object_member (arguments, "addr", address);
  g_autoptr (JsonNode) answer =
      qmp_getfd (point->monitor, SERVER_FD, listening, error)
          ? qmp_client_execute (point->monitor, "nbd-server-start", arguments, -1, 0, NULL, error)
          : NULL;
  return answer != NULL;
}

/* The socket is made here: QEMU may be a user that may not. */
static gboolean
start_server (DiskPoint *point, GError **error)
{
  g_autoptr (GError) reason = NULL;
  g_auto (AutoFd) listening = -1;

  listening = fd_listen_unix (point->socket, &reason);
  if (g_error_matches (reason, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE))
    return TRUE; /* ours, in use by somebody else, too (disk_undo_nodes()) */
  if (listening < 0) {
    g_propagate_error (error, g_steal_pointer (&reason));
    return FALSE;
  }
  if (serve (point, listening, &reason))
    return TRUE;
  qmp_closefd (point->monitor, SERVER_FD, NULL);
  g_unlink (point->socket);
  if (g_error_matches (reason, QMP_ERROR, QMP_ERROR_COMMAND) &&
      strstr (reason->message, "already running") != NULL)
    g_set_error (error, DISK_ERROR, DISK_ERROR_BUSY,
                 "QEMU's NBD server is in use by somebody else; end that first (QMP "
                 "nbd-server-stop)");
  else
    g_propagate_error (error, g_steal_pointer (&reason));
  return FALSE;
}

gboolean
disk_point_prepare (DiskPoint *point, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "preparing to hold the disks");

  if (!check_version (point->monitor, error) ||
      !disk_point_recover (point->monitor, point->temporary, point->socket, error) ||
      !find_drives (point, error))
    return FALSE;
  if (start_server (point, error) && make_temporaries (point, cancellable, error) &&
      fault_visit (FAULT_DISK_PREPARED, error))
    return TRUE;
  disk_undo_nodes (point->monitor, point->socket, NULL);
  return FALSE;
}

/* ---- instant ---- */

/* @inactive: (out): a migration has taken the images */
static gboolean
check_stopped (DiskPoint *point, gboolean *inactive, GError **error)
{
  g_autofree char *status = qmp_query_status (point->monitor, error);

  if (status == NULL)
    return FALSE;
  *inactive = g_str_equal (status, "postmigrate") || g_str_equal (status, "finish-migrate");
  if (!g_str_equal (status, "running"))
    return TRUE;
  g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED, "somebody else has made the guest run");
  return FALSE;
}

static void
add_export (QmpBatch *batch, const char *id, const char *node, const char *name,
            const char *bitmap_node, const char *bitmap)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "id", id);
  json_object_set_string_member (arguments, "type", "nbd");
  json_object_set_string_member (arguments, "node-name", node);
  json_object_set_string_member (arguments, "name", name);
  if (bitmap != NULL) {
    JsonArray *bitmaps = json_array_new();
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "node", bitmap_node);
    json_object_set_string_member (one, "name", bitmap);
    json_array_add_object_element (bitmaps, one);
    json_object_set_array_member (arguments, "bitmaps", bitmaps);
  }
  qmp_batch_add (batch, "block-export-add", arguments);
}

static gboolean
knows_set_active (const DiskPoint *point)
{
  return qmp_client_greeting (point->monitor)->major >= 10;
}

static void
add_activation (const DiskPoint *point, QmpBatch *batch)
{
  if (knows_set_active (point)) {
    JsonObject *arguments = json_object_new();
    json_object_set_boolean_member (arguments, "active", TRUE);
    qmp_batch_add (batch, "blockdev-set-active", arguments);
    return;
  }
  for (guint i = 0; i < point->n_disks; i++) {
    const PointDisk *disk = &point->disks[i];
    const char *node = name_of (disk, POINT_ACTIVATION);
    const char *overlay = name_of (disk, POINT_OVERLAY_ACTIVATION);
    add_export (batch, node, disk->drive->node, node, NULL, NULL);
    add_export (batch, overlay, name_of (disk, POINT_TEMPORARY), overlay, NULL, NULL);
  }
}

static void
add_bitmaps (Transaction *transaction, const PointDisk *disk)
{
  const char *node = disk->drive->node;
  guint64 granularity = granularity_for (disk->drive->size);

  if (disk->way == BITMAP_FRESH) {
    transaction_add_bitmap (transaction, node, POINT_BITMAP_FRESH, granularity, TRUE);
    return;
  }
  transaction_add_bitmap (transaction, node, DISK_BITMAP_INSTANT, granularity, FALSE);
  transaction_merge_bitmap (transaction, node, DISK_BITMAP_INSTANT, DISK_BITMAP_COLLECT);
  transaction_clear_bitmap (transaction, node, DISK_BITMAP_COLLECT);
}

static void
add_filter (const PointDisk *disk, QmpBatch *batch)
{
  JsonObject *node = json_object_new();
  JsonObject *drive = json_object_new();

  json_object_set_string_member (node, "driver", "copy-before-write");
  json_object_set_string_member (node, "node-name", name_of (disk, POINT_FILTER));
  json_object_set_string_member (node, "file", disk->drive->node);
  json_object_set_string_member (node, "target", name_of (disk, POINT_TEMPORARY));
  json_object_set_string_member (node, "on-cbw-error", "break-snapshot");
  json_object_set_int_member (node, "cbw-timeout", COPY_TIMEOUT_S);
  if (disk->source.partial) {
    JsonObject *bitmap = json_object_new();
    json_object_set_string_member (bitmap, "node", disk->drive->node);
    json_object_set_string_member (bitmap, "name", DISK_BITMAP_INSTANT);
    json_object_set_object_member (node, "bitmap", bitmap);
  }
  qmp_batch_add (batch, "blockdev-add", node);
  json_object_set_string_member (drive, "path", disk->drive->qdev);
  json_object_set_string_member (drive, "property", "drive");
  json_object_set_string_member (drive, "value", name_of (disk, POINT_FILTER));
  qmp_batch_add (batch, "qom-set", drive);
}

gboolean
disk_point_instant (DiskPoint *point, GError **error)
{
  ERROR_PREFIX (error, "holding the disks at the instant");
  g_autoptr (QmpBatch) batch = qmp_batch_new (point->monitor);
  g_autoptr (Transaction) transaction = transaction_new();
  gboolean inactive;

  if (!check_stopped (point, &inactive, error))
    return FALSE;
  if (inactive)
    add_activation (point, batch);
  for (guint i = 0; i < point->n_disks; i++)
    add_bitmaps (transaction, &point->disks[i]);
  qmp_batch_add (batch, "transaction", transaction_take (transaction));
  for (guint i = 0; i < point->n_disks; i++) {
    PointDisk *disk = &point->disks[i];
    disk->source.partial = disk->incremental && disk->way == BITMAP_TURN;
    if (disk->source.partial)
      disk->source.bitmap = g_strdup ("qemu:dirty-bitmap:" DISK_BITMAP_INSTANT);
    add_filter (disk, batch);
  }
  return qmp_batch_run (batch, error) && fault_visit (FAULT_DISK_POINT, error);
}

/* ---- export ---- */

gboolean
disk_point_export (DiskPoint *point, GError **error)
{
  ERROR_PREFIX (error, "exporting the disks of the instant");
  g_autoptr (QmpBatch) batch = qmp_batch_new (point->monitor);

  for (guint i = 0; i < point->n_disks; i++) {
    const PointDisk *disk = &point->disks[i];
    JsonObject *node = json_object_new();
    json_object_set_string_member (node, "driver", "snapshot-access");
    json_object_set_string_member (node, "node-name", name_of (disk, POINT_SNAPSHOT));
    json_object_set_string_member (node, "file", name_of (disk, POINT_FILTER));
    qmp_batch_add (batch, "blockdev-add", node);
    add_export (batch, name_of (disk, POINT_EXPORT), name_of (disk, POINT_SNAPSHOT),
                disk->source.export_name, disk->drive->node,
                disk->source.bitmap != NULL ? DISK_BITMAP_INSTANT : NULL);
  }
  return qmp_batch_run (batch, error) && fault_visit (FAULT_DISK_EXPORTED, error);
}

const char *
disk_point_socket (const DiskPoint *point)
{
  return point->socket;
}

guint
disk_point_count (const DiskPoint *point)
{
  return point->n_disks;
}

const DiskPointSource *
disk_point_source (const DiskPoint *point, guint index)
{
  g_return_val_if_fail (index < point->n_disks, NULL);
  return &point->disks[index].source;
}

/* ---- the end ---- */

gboolean
disk_point_undo (DiskPoint *point, GError **error)
{
  return disk_undo_nodes (point->monitor, point->socket, error);
}

gboolean
disk_point_commit (DiskPoint *point, GError **error)
{
  return disk_undo_bitmaps (point->monitor, TRUE, error);
}

gboolean
disk_point_rollback (DiskPoint *point, GError **error)
{
  return disk_undo_bitmaps (point->monitor, FALSE, error);
}

static gboolean
run_transaction (QmpClient *monitor, Transaction *transaction, GError **error)
{
  g_autoptr (JsonNode) answer = qmp_client_execute (
      monitor, "transaction", transaction_take (transaction), -1, 0, NULL, error);

  return answer != NULL;
}

gboolean
disk_point_track (QmpClient *monitor, const GuestDrive *drive, GError **error)
{
  ERROR_PREFIX (error, "following what is written to node '%s'", drive->node);
  g_autoptr (Transaction) transaction = transaction_new();

  if (drive->collect.there) {
    transaction_remove_bitmap (transaction, drive->node, DISK_BITMAP_COLLECT);
    if (!run_transaction (monitor, transaction, error))
      return FALSE;
  }
  transaction_add_bitmap (transaction, drive->node, DISK_BITMAP_COLLECT,
                          granularity_for (drive->size), TRUE);
  return run_transaction (monitor, transaction, error);
}

gboolean
disk_point_recover (QmpClient *monitor, const char *temporary, const char *socket, GError **error)
{
  if (!disk_undo_nodes (monitor, socket, error) || !disk_undo_bitmaps (monitor, FALSE, error))
    return FALSE;
  if (temporary != NULL)
    point_temporaries_remove (temporary, socket);
  return TRUE;
}
