/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-undo.h"

#include "drive-bitmap.h"
#include "point-names.h"
#include "transaction.h"

#include <glib/gstdio.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

/* Exports and jobs end by themselves, in milliseconds; a slow disk may have requests to finish. */
#define PATIENCE_US (30 * G_USEC_PER_SEC)
#define POLL_US 1000

/* ---- what is there ---- */

/* Calls a query that answers with an array. */
static JsonArray *
query (QmpClient *monitor, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);

  if (answer == NULL)
    return NULL;
  if (!JSON_NODE_HOLDS_ARRAY (answer)) {
    g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED, "the answer to '%s' is not understood",
                 command);
    return NULL;
  }
  return json_array_ref (json_node_get_array (answer));
}

/* The names, below @member, of elements of @array that are @thing's; newly allocated. */
static GPtrArray *
names_of (JsonArray *array, const char *member, PointThing thing)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *element = json_array_get_element (array, i);
    const char *name = JSON_NODE_HOLDS_OBJECT (element)
                           ? json_get_string_or (json_node_get_object (element), member, NULL)
                           : NULL;
    if (name != NULL && point_name_is (name, thing))
      g_ptr_array_add (names, g_strdup (name));
  }
  return names;
}

static JsonObject *
one_string (const char *member, const char *value)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, member, value);
  return arguments;
}

/* Runs a command whose answer says nothing. Takes @arguments. */
static gboolean
run (QmpClient *monitor, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);

  return answer != NULL;
}

/* ---- exports and the server ---- */

static const PointThing exports[] = { POINT_EXPORT, POINT_ACTIVATION, POINT_OVERLAY_ACTIVATION };

/* One that is shutting down already is told so again, which QEMU refuses, and that is fine. */
static gboolean
delete_exports (QmpClient *monitor, gboolean *found, GError **error)
{
  g_autoptr (JsonArray) all = query (monitor, "query-block-exports", NULL, error);

  *found = FALSE;
  for (guint kind = 0; all != NULL && kind < G_N_ELEMENTS (exports); kind++) {
    g_autoptr (GPtrArray) ids = names_of (all, "id", exports[kind]);
    for (guint i = 0; i < ids->len; i++) {
      JsonObject *arguments = one_string ("id", ids->pdata[i]);
      json_object_set_string_member (arguments, "mode", "hard");
      run (monitor, "block-export-del", arguments, NULL);
      *found = TRUE;
    }
  }
  return all != NULL;
}

static gboolean
set_stalled (GError **error, const char *what)
{
  g_set_error (error, DISK_ERROR, DISK_ERROR_STALLED, "QEMU does not get done with %s", what);
  return FALSE;
}

/* @some: (inout): set if there were any */
static gboolean
end_exports (QmpClient *monitor, gboolean *some, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
  gboolean found;

  if (!delete_exports (monitor, &found, error))
    return FALSE;
  *some |= found;
  while (found) {
    if (g_get_monotonic_time() > deadline)
      return set_stalled (error, "ending an export of the guest's disks");
    g_usleep (POLL_US);
    if (!delete_exports (monitor, &found, error))
      return FALSE;
  }
  return TRUE;
}

/* The socket is there for as long as its server is: so that is ours if it is. */
static gboolean
stop_server (QmpClient *monitor, const char *socket, GError **error)
{
  g_autoptr (JsonArray) others = NULL;

  if (!g_file_test (socket, G_FILE_TEST_EXISTS))
    return TRUE;
  others = query (monitor, "query-block-exports", NULL, error);
  if (others == NULL)
    return FALSE;
  if (json_array_get_length (others) > 0)
    return TRUE; /* somebody else has come to use it: the next point will, too */
  run (monitor, "nbd-server-stop", NULL, NULL);
  g_unlink (socket); /* where QEMU may not */
  return TRUE;
}

/* ---- jobs ---- */

/* Jobs that formatted a temporary and were not dismissed. */
static gboolean
dismiss_jobs (QmpClient *monitor, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_US;

  for (;;) {
    g_autoptr (JsonArray) all = query (monitor, "query-jobs", NULL, error);
    if (all == NULL)
      return FALSE;
    g_autoptr (GPtrArray) ids = names_of (all, "id", POINT_CREATION);
    if (ids->len == 0)
      return TRUE;
    if (g_get_monotonic_time() > deadline)
      return set_stalled (error, "making temporaries for the guest's disks");
    for (guint i = 0; i < ids->len; i++)
      run (monitor, "job-dismiss", one_string ("id", ids->pdata[i]), NULL);
    g_usleep (POLL_US);
  }
}

/* ---- nodes ---- */

/* QEMU aborts if a device is given the node that it has: so only where the filter is. */
static gboolean
detach_filters (QmpClient *monitor, GError **error)
{
  g_autoptr (GPtrArray) drives = disk_find (monitor, error);

  for (guint i = 0; drives != NULL && i < drives->len; i++) {
    const GuestDrive *drive = g_ptr_array_index (drives, i);
    if (!drive->filtered)
      continue;
    JsonObject *arguments = one_string ("path", drive->qdev);
    json_object_set_string_member (arguments, "property", "drive");
    json_object_set_string_member (arguments, "value", drive->node);
    if (!run (monitor, "qom-set", arguments, error))
      return FALSE;
  }
  return drives != NULL;
}

/* @some: (inout): set if there were any */
static gboolean
delete_nodes (QmpClient *monitor, PointThing thing, gboolean *some, GError **error)
{
  JsonObject *flat = json_object_new();

  json_object_set_boolean_member (flat, "flat", TRUE);
  g_autoptr (JsonArray) all = query (monitor, "query-named-block-nodes", flat, error);
  if (all == NULL)
    return FALSE;
  g_autoptr (GPtrArray) names = names_of (all, "node-name", thing);
  for (guint i = 0; i < names->len; i++)
    if (!run (monitor, "blockdev-del", one_string ("node-name", names->pdata[i]), error))
      return FALSE;
  *some |= names->len > 0;
  return TRUE;
}

/* Temporaries that were passed and not forgotten: by who died in between, or by a QEMU before 9.1,
 * which closes none while its guest is stopped. */
static gboolean
forget_files (QmpClient *monitor, GError **error)
{
  g_autoptr (JsonArray) all = query (monitor, "query-fdsets", NULL, error);

  for (guint i = 0; all != NULL && i < json_array_get_length (all); i++) {
    JsonNode *element = json_array_get_element (all, i);
    guint64 set = JSON_NODE_HOLDS_OBJECT (element)
                      ? json_get_uint64_or (json_node_get_object (element), "fdset-id", 0)
                      : 0;
    if (set < POINT_FDSET || set >= POINT_FDSET + POINT_FDSETS)
      continue;
    JsonObject *arguments = json_object_new();
    json_object_set_int_member (arguments, "fdset-id", (gint64)set);
    run (monitor, "remove-fd", arguments, NULL);
  }
  return all != NULL;
}

gboolean
disk_undo_nodes (QmpClient *monitor, const char *socket, GError **error)
{
  ERROR_PREFIX (error, "taking back what holds the disks at an instant");
  gboolean some = FALSE;

  return end_exports (monitor, &some, error) && stop_server (monitor, socket, error) &&
         (!some || fault_visit (FAULT_DISK_UNDOING, error)) &&
         delete_nodes (monitor, POINT_SNAPSHOT, &some, error) && detach_filters (monitor, error) &&
         delete_nodes (monitor, POINT_FILTER, &some, error) &&
         delete_nodes (monitor, POINT_TEMPORARY, &some, error) && dismiss_jobs (monitor, error) &&
         delete_nodes (monitor, POINT_FILE, &some, error) && forget_files (monitor, error) &&
         (!some || fault_visit (FAULT_DISK_UNDONE, error));
}

/* ---- bitmaps ---- */

/* What a fresh bitmap is going to replace is worth nothing. In a transaction of its own: within one
 * a name is free only at the end. */
static void
drop_former (Transaction *transaction, JsonObject *object)
{
  DriveBitmap collect = drive_bitmap_read (object, DISK_BITMAP_COLLECT);
  DriveBitmap fresh = drive_bitmap_read (object, POINT_BITMAP_FRESH);

  if (fresh.there && collect.there)
    transaction_remove_bitmap (transaction, json_get_string_or (object, "node-name", NULL),
                               DISK_BITMAP_COLLECT);
}

static void
settle (Transaction *transaction, JsonObject *object, gboolean committed)
{
  const char *node = json_get_string_or (object, "node-name", NULL);
  DriveBitmap collect = drive_bitmap_read (object, DISK_BITMAP_COLLECT);
  DriveBitmap instant = drive_bitmap_read (object, DISK_BITMAP_INSTANT);
  DriveBitmap fresh = drive_bitmap_read (object, POINT_BITMAP_FRESH);

  if (fresh.there) {
    if (committed) {
      transaction_add_bitmap (transaction, node, DISK_BITMAP_COLLECT, fresh.granularity, TRUE);
      transaction_merge_bitmap (transaction, node, DISK_BITMAP_COLLECT, POINT_BITMAP_FRESH);
    }
    transaction_remove_bitmap (transaction, node, POINT_BITMAP_FRESH);
  }
  if (instant.there) {
    if (!committed && collect.there)
      transaction_merge_bitmap (transaction, node, DISK_BITMAP_COLLECT, DISK_BITMAP_INSTANT);
    transaction_remove_bitmap (transaction, node, DISK_BITMAP_INSTANT);
  }
}

static void
settle_committed (Transaction *transaction, JsonObject *object)
{
  settle (transaction, object, TRUE);
}

static void
settle_failed (Transaction *transaction, JsonObject *object)
{
  settle (transaction, object, FALSE);
}

/* One transaction of what @add adds for each node. */
static gboolean
run_transaction (QmpClient *monitor, void (*add) (Transaction *, JsonObject *), GError **error)
{
  g_autoptr (Transaction) transaction = transaction_new();
  JsonObject *flat = json_object_new();

  json_object_set_boolean_member (flat, "flat", TRUE);
  g_autoptr (JsonArray) nodes = query (monitor, "query-named-block-nodes", flat, error);
  if (nodes == NULL)
    return FALSE;
  for (guint i = 0; i < json_array_get_length (nodes); i++) {
    JsonNode *element = json_array_get_element (nodes, i);
    if (JSON_NODE_HOLDS_OBJECT (element))
      add (transaction, json_node_get_object (element));
  }
  return transaction_is_empty (transaction) ||
         run (monitor, "transaction", transaction_take (transaction), error);
}

gboolean
disk_undo_bitmaps (QmpClient *monitor, gboolean committed, GError **error)
{
  ERROR_PREFIX (error, "settling what is known of writes to the disks");

  if (!committed)
    return run_transaction (monitor, settle_failed, error);
  return run_transaction (monitor, drop_former, error) &&
         run_transaction (monitor, settle_committed, error);
}
