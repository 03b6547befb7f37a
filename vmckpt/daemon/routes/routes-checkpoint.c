/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/checkpoints, /v1/suspended: what is in a store, and back to life. */
#include "api-error.h"
#include "checkpoint-json.h"
#include "export.h"
#include "fork.h"
#include "import.h"
#include "proof.h"
#include "restore.h"
#include "router.h"
#include "suspended.h"

#include <vmckpt/store/maintain.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

/* The store and the manifest that the request names; both (transfer full). */
static gboolean
find_checkpoint (Request *request, guint param, Store **store, Manifest **manifest, GError **error)
{
  if (*store == NULL)
    *store = request_store (request, error);
  *manifest = *store != NULL ? store_manifest_find (*store, request->params[param], error) : NULL;
  return *manifest != NULL;
}

static JsonObject *
list_checkpoints (Request *request, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) manifests = NULL;

  if (store == NULL)
    return NULL;
  manifests = store_manifest_list (store, request_query (request, "guest"), &damaged, error);
  if (manifests == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new(), *bad = json_array_new();
  for (guint i = 0; i < manifests->len; i++)
    json_array_add_object_element (list,
                                   checkpoint_to_json (store, g_ptr_array_index (manifests, i)));
  for (guint i = 0; damaged != NULL && i < damaged->len; i++)
    json_array_add_string_element (bad, g_ptr_array_index (damaged, i));
  json_object_set_array_member (result, "checkpoints", list);
  json_object_set_array_member (result, "damaged", bad);
  return result;
}

static JsonObject *
show_checkpoint (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  if (!find_checkpoint (request, 0, &store, &manifest, error))
    return NULL;
  return checkpoint_to_json_full (store, manifest);
}

static JsonObject *
diff_checkpoints (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) a = NULL;
  g_autoptr (Manifest) b = NULL;

  if (!find_checkpoint (request, 0, &store, &a, error) ||
      !find_checkpoint (request, 1, &store, &b, error))
    return NULL;
  return checkpoint_diff (store, a, b, error);
}

static guint64
described_bytes (const Manifest *manifest)
{
  guint64 sum = 0;

  for (guint i = 0; i < manifest->parts->len; i++)
    sum += ((ManifestPart *)g_ptr_array_index (manifest->parts, i))->map.length;
  return sum;
}

static JsonObject *
verify_checkpoint (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  gboolean boot = FALSE;
  g_auto (ProofWish) wish = { 0 };

  if (!request_expect (request, error, "boot", "timeout", "until", "command", NULL) ||
      !request_bool (request, "boot", &boot, error) || !proof_parse (request, &wish, error) ||
      !find_checkpoint (request, 0, &store, &manifest, error))
    return NULL;
  if (boot) {
    JsonObject *proof = proof_boot (request, store, manifest, &wish, error);
    if (proof != NULL)
      json_object_set_int_member (proof, "bytes", described_bytes (manifest));
    return proof;
  }
  if (!store_verify (store, manifest, &request->progress, request->cancellable, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "id", manifest->id);
  json_object_set_int_member (result, "bytes", described_bytes (manifest));
  return result;
}

/* A guest's memory still comes from it, or its disks are served. */
static gboolean
check_not_needed (Daemon *daemon, Store *store, const Manifest *manifest, GError **error)
{
  guint64 number = disk_exports_find (daemon->exports, store_id (store), manifest->id);
  g_autoptr (Guest) guest =
      registry_find_needing (daemon->registry, store_id (store), manifest->id);

  g_autofree char *name =
      hydrations_find_needing (daemon->hydrations, store_id (store), manifest->id);
  if (number != 0)
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "checkpoint %.12s: its disks are served over NBD: end that first ('vmckpt nbd "
                 "--stop %" G_GUINT64_FORMAT "')",
                 manifest->id, number);
  else if (name != NULL)
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "checkpoint %.12s: the disks of guest %s still come from it: wait until they are "
                 "there ('vmckpt ps --wait %s'), or remove them with it ('vmckpt kill "
                 "--remove-disks %s')",
                 manifest->id, name, name, name);
  if (guest == NULL)
    return number == 0 && name == NULL;
  g_clear_error (error);
  g_set_error (
      error, API_ERROR, API_CONFLICT,
      "checkpoint %.12s: the memory of guest %s still comes from it: wait until all is there "
      "('vmckpt ps --wait %s'), or kill that guest",
      manifest->id, guest_name (guest), guest_name (guest));
  return FALSE;
}

static JsonObject *
remove_checkpoint (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  if (!find_checkpoint (request, 0, &store, &manifest, error) ||
      !check_not_needed (request->daemon, store, manifest, error) ||
      !store_manifest_remove (store, manifest->id, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "id", manifest->id);
  return result;
}

static JsonObject *
tag_checkpoint (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;
  const char *tag = "";

  if (!request_expect (request, error, "tag", NULL) ||
      !request_string (request, "tag", &tag, error) || !name_check (tag, "tag", error) ||
      !find_checkpoint (request, 0, &store, &manifest, error) ||
      !store_tag_add (store, manifest->id, tag, error))
    return NULL;
  g_auto (GStrv) tags = store_tags (store, manifest, error);
  if (tags == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *array = json_array_new();
  for (guint i = 0; tags[i] != NULL; i++)
    json_array_add_string_element (array, tags[i]);
  json_object_set_string_member (result, "id", manifest->id);
  json_object_set_array_member (result, "tags", array);
  return result;
}

static JsonObject *
restore (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;
  static const char *const readings[] = { "lazy", "eager", NULL };
  static const RestoreReading reading_of[] = { RESTORE_LAZY, RESTORE_EAGER };
  g_auto (RestoreRequest) wish = { 0 };
  const char *fill = NULL;
  guint index;

  if (!request_expect (request, error, "as", "paused", "qemu", "accel", "take_over", "sync_time",
                       "fill", "accept_changed_disks", "disks", "disk_format", "disk_directory",
                       "disk_paths", "driver", "paths", NULL) ||
      !restore_parse_disks (request, &wish, error) ||
      !restore_parse_driver (request, &wish, error) ||
      !request_bool (request, "accept_changed_disks", &wish.accept_changed_disks, error) ||
      !request_string (request, "as", &wish.as, error) ||
      !request_string (request, "qemu", &wish.qemu, error) ||
      !request_string (request, "accel", &wish.accel, error) ||
      !request_bool (request, "paused", &wish.paused, error) ||
      !request_bool (request, "take_over", &wish.take_over, error) ||
      !request_bool (request, "sync_time", &wish.sync_time, error) ||
      !request_string (request, "fill", &fill, error) ||
      (fill != NULL && !request_choice ("fill", fill, readings, &index, error)) ||
      !find_checkpoint (request, 0, &store, &manifest, error))
    return NULL;
  if (fill != NULL)
    wish.reading = reading_of[index];
  return restore_checkpoint (request, store, manifest, &wish, error);
}

static JsonObject *
restore_only_disks (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;
  g_auto (RestoreRequest) wish = { 0 };

  if (!request_expect (request, error, "disk_format", "disk_directory", "disk_paths", NULL) ||
      !restore_parse_disks (request, &wish, error) ||
      !find_checkpoint (request, 0, &store, &manifest, error))
    return NULL;
  return restore_disks_only (request, store, manifest, &wish, error);
}

static JsonObject *
fork_from_checkpoint (Request *request, GError **error)
{
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;
  ForkRequest wish;

  if (!fork_request_parse (request, &wish, error) ||
      !find_checkpoint (request, 0, &store, &manifest, error))
    return NULL;
  return fork_checkpoint (request, store, manifest, &wish, error);
}

static JsonObject *
list_suspended (Request *request, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  const SuspendedWish wish = { .last = request_query_bool (request, "last"),
                               .lost = request_query_bool (request, "lost") };
  g_autoptr (GPtrArray) manifests =
      store != NULL ? suspended_find (request->daemon, store, &wish, error) : NULL;

  if (manifests == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *list = json_array_new();
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = g_ptr_array_index (manifests, i);
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "guest", manifest->guest);
    json_object_set_string_member (one, "id", manifest->id);
    json_object_set_int_member (one, "created_us", manifest->created_us);
    json_set_string_or_null (one, "set", suspended_set (manifest));
    json_object_set_boolean_member (one, "paused", suspended_was_paused (manifest));
    json_array_add_object_element (list, one);
  }
  json_object_set_array_member (result, "guests", list);
  return result;
}

const Route checkpoint_routes[] = {
  { "GET", "/v1/checkpoints", list_checkpoints, NULL, FALSE },
  { "GET", "/v1/checkpoints/:ref", show_checkpoint, NULL, FALSE },
  { "DELETE", "/v1/checkpoints/:ref", remove_checkpoint, NULL, FALSE },
  { "GET", "/v1/checkpoints/:ref/diff/:other", diff_checkpoints, NULL, FALSE },
  { "POST", "/v1/checkpoints/:ref/verify", verify_checkpoint, NULL, TRUE },
  { "POST", "/v1/checkpoints/:ref/tags", tag_checkpoint, NULL, FALSE },
  { "POST", "/v1/checkpoints/:ref/restore", restore, NULL, TRUE },
  { "POST", "/v1/checkpoints/:ref/disks", restore_only_disks, NULL, TRUE },
  { "POST", "/v1/checkpoints/:ref/fork", fork_from_checkpoint, NULL, TRUE },
  { "GET", "/v1/checkpoints/:ref/export", NULL, export_serve, FALSE },
  { "POST", "/v1/imports", NULL, import_serve, TRUE },
  { "GET", "/v1/suspended", list_suspended, NULL, FALSE },
  { NULL },
};
