/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore.h"

#include "api-error.h"
#include "claims.h"
#include "disk-homes.h"
#include "disk-work.h"
#include "disks-left.h"
#include "domain-restore.h"
#include "filling.h"
#include "guest-clock.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <glib/gstdio.h>
#include <unistd.h>

#define MAX_PATH 4096

/* ---- What the request says of disks ---- */

void
restore_request_clear (RestoreRequest *wish)
{
  g_clear_pointer (&wish->disk_paths, g_hash_table_unref);
  g_clear_pointer (&wish->paths, g_hash_table_unref);
}

/* {"disk0": "/path", …} */
static gboolean
parse_paths (Request *request, const char *member, GHashTable **paths, GError **error)
{
  g_autoptr (GList) names = NULL;
  JsonObject *object;

  if (!json_object_has_member (request->body, member) ||
      json_object_get_null_member (request->body, member))
    return TRUE;
  object = json_get_object (request->body, member, NULL);
  *paths = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  names = object != NULL ? json_object_get_members (object) : NULL;
  for (GList *name = names; name != NULL; name = name->next) {
    const char *path = json_get_string_or (object, name->data, NULL);
    if (path == NULL || !g_path_is_absolute (path) || strlen (path) > MAX_PATH) {
      object = NULL;
      break;
    }
    g_hash_table_insert (*paths, g_strdup (name->data), g_strdup (path));
  }
  if (object != NULL)
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE, "%s: an object of absolute paths is wanted", member);
  return FALSE;
}

gboolean
restore_parse_disks (Request *request, RestoreRequest *wish, GError **error)
{
  static const char *const ways[] = { [RESTORE_DISKS_AT_ONCE] = "lazy",
                                      [RESTORE_DISKS_EAGER] = "eager",
                                      [RESTORE_DISKS_IN_PLACE] = "in-place",
                                      NULL };
  static const char *const formats[] = {
    [DISK_FILE_RAW] = "raw", [DISK_FILE_QCOW2] = "qcow2", NULL
  };
  const char *way = "lazy", *format = "raw";
  guint way_index, format_index;

  if (!request_string (request, "disks", &way, error) ||
      !request_string (request, "disk_format", &format, error) ||
      !request_string (request, "disk_directory", &wish->disk_directory, error) ||
      !request_choice ("disks", way, ways, &way_index, error) ||
      !request_choice ("disk_format", format, formats, &format_index, error) ||
      !parse_paths (request, "disk_paths", &wish->disk_paths, error))
    return FALSE;
  wish->disks = way_index;
  wish->disk_format = format_index;
  if (wish->disk_directory == NULL || g_path_is_absolute (wish->disk_directory))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE, "disk_directory: an absolute path is wanted");
  return FALSE;
}

gboolean
restore_parse_driver (Request *request, RestoreRequest *wish, GError **error)
{
  static const char *const drivers[] = { "qemu", "libvirt", NULL };
  guint index;

  return request_string (request, "driver", &wish->driver, error) &&
         (wish->driver == NULL ||
          request_choice ("driver", wish->driver, drivers, &index, error)) &&
         parse_paths (request, "paths", &wish->paths, error);
}

/* ---- From a checkpoint to a guest ---- */

/* A checkpoint whose guest runs on this host is refused before anything is prepared. */
static gboolean
check_not_here (Registry *registry, const Manifest *manifest, GError **error)
{
  g_autoptr (Guest) rival = registry_find_uuid (registry, manifest->guest_uuid);

  if (rival == NULL)
    return TRUE;
  g_set_error (error, API_ERROR, API_CONFLICT,
               "checkpoint %.12s: its guest is here already, as %s: kill that one first, or "
               "fork the checkpoint to have another guest",
               manifest->id, guest_name (rival));
  return FALSE;
}

void
restore_begin_filling (Guest *guest, GuestFill *fill, gboolean held)
{
  if (fill == NULL)
    return;
  guest_set_fill (guest, fill);
  if (!held)
    guest_fill_run (fill);
}

gboolean
restore_note_disk_base (Guest *guest, Store *store, const Manifest *manifest, GError **error)
{
  g_autoptr (DiskBase) base = disk_base_new (store_id (store), manifest->id);

  return manifest_find_part (manifest, "disk", NULL) == NULL ||
         guest_set_disk_base (guest, base, error);
}

/* RestoreOptions' decide. */
static gboolean
decide_landing (QmpClient *monitor, KeeperLease *lease, gpointer data, GError **error)
{
  RestoreLanding *landing = data;

  landing->decided = landing->decide (monitor, lease, landing->user_data, error);
  return landing->decided;
}

/* The QEMU that waits, or a new one, loads the checkpoint. */
static gboolean
load_landing (Store *store, const Manifest *manifest, Guest *guest, RestoreLanding *landing,
              const RestoreOptions *options, const UnitWatcher *watcher, GuestRam **ram,
              QemuGuest *qemu, double *phase_ms, GError **error)
{
  if (landing->waiting.qemu.monitor == NULL &&
      (!unit_restore_wait (guest_spec (guest), options, &landing->waiting, error) ||
       !landing->started (options->directory, landing->user_data, error)))
    return FALSE;
  return unit_restore_into (store, manifest, guest_spec (guest), options, watcher,
                            &landing->waiting, ram, qemu, phase_ms, error);
}

/* It was decided that the guest runs here. What fails now is trouble with a guest of this host. */
static gboolean
take_into_service (Request *request, Guest *guest, Store *store, const Manifest *manifest,
                   const RestoreOptions *options, QemuGuest *qemu, GuestRam **ram)
{
  Daemon *daemon = request->daemon;
  g_autoptr (GError) error = NULL;

  if (!guest_connect (guest, qemu, ram, &error)) {
    g_warning ("guest %s runs here, but: %s", guest_name (guest), error->message);
    g_clear_error (&error);
    guest_find_again (guest);
  }
  restore_begin_filling (guest, g_steal_pointer (&options->fill->fill), FALSE);
  guest_set_checkpoint (guest, manifest->id);
  if (!restore_note_disk_base (guest, store, manifest, &error) ||
      !claims_take (guest, daemon->runtime, store, request_query (request, "store"), TRUE, &error))
    g_warning ("guest %s runs here, but: %s", guest_name (guest), error->message);
  return TRUE;
}

/* From the reserved name to the guest in service. */
static gboolean
bring_up (Request *request, Guest *guest, Store *store, const Manifest *manifest,
          const RestoreRequest *wish, const RestoreOptions *options, DiskWork *disks,
          double *phase_ms, GError **error)
{
  Daemon *daemon = request->daemon;
  const char *store_path = request_query (request, "store");
  g_auto (QemuGuest) qemu = { 0 };
  g_autoptr (GuestRam) ram = NULL;

  /* One that comes from another host is claimed for that until it runs here. */
  if (wish->landing == NULL &&
      !claims_take (guest, daemon->runtime, store, store_path, wish->take_over, error))
    return FALSE;
  if (!disk_work_write (disks, request, guest, store, manifest, error))
    return FALSE;
  if (wish->landing != NULL) {
    if (load_landing (store, manifest, guest, wish->landing, options, &request->watcher, &ram,
                      &qemu, phase_ms, error) ||
        wish->landing->decided)
      return take_into_service (request, guest, store, manifest, options, &qemu, &ram);
    return FALSE;
  }
  if (!unit_restore (store, manifest, guest_spec (guest), options, &request->watcher, &ram, &qemu,
                     phase_ms, error) ||
      !guest_connect (guest, &qemu, &ram, error) ||
      !restore_note_disk_base (guest, store, manifest, error)) {
    g_clear_pointer (&options->fill->fill, guest_fill_unref);
    return FALSE;
  }
  restore_begin_filling (guest, g_steal_pointer (&options->fill->fill), wish->held);
  guest_set_checkpoint (guest, manifest->id);
  /* The claim was this daemon's so far; now it names the QEMU that runs the guest. */
  return claims_take (guest, daemon->runtime, store, store_path, FALSE, error);
}

/* The files of its disks. */
static JsonArray *
describe_disks (const GuestSpec *spec)
{
  JsonArray *disks = json_array_new();

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "name", disk->name);
    json_set_string_or_null (one, "path", disk->path);
    json_array_add_object_element (disks, one);
  }
  return disks;
}

JsonObject *
restore_describe (Guest *guest, const Manifest *manifest, const double *phase_ms, gint64 began_us)
{
  JsonObject *object = json_object_new();
  JsonObject *phases = json_object_new();

  json_object_set_double_member (phases, "rebuild", phase_ms[PHASE_REBUILD]);
  json_object_set_double_member (phases, "resume", phase_ms[PHASE_RESUME]);
  json_object_set_string_member (object, "id", manifest->id);
  json_object_set_object_member (object, "guest", guest_to_json (guest));
  json_object_set_double_member (object, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  json_object_set_object_member (object, "phases", phases);
  json_object_set_int_member (object, "ram_bytes", guest_spec (guest)->ram_bytes);
  json_object_set_array_member (object, "disks", describe_disks (guest_spec (guest)));
  return object;
}

static gboolean
is_same_machine (const GuestSpec *one, const GuestSpec *other)
{
  g_autoptr (JsonObject) a = guest_spec_to_json (one);
  g_autoptr (JsonObject) b = guest_spec_to_json (other);
  g_autofree char *first = json_to_line (a);
  g_autofree char *second = json_to_line (b);

  return g_str_equal (first, second);
}

/* The guest's name is its own; the one of a landing is already, unless its machine has changed. */
static Guest *
reserve (Daemon *daemon, const GuestSpec *spec, RestoreLanding *landing, const char *directory,
         GError **error)
{
  g_autoptr (Guest) reserved = landing != NULL ? g_steal_pointer (&landing->guest) : NULL;

  if (reserved != NULL && is_same_machine (spec, guest_spec (reserved)))
    return g_steal_pointer (&reserved);
  if (reserved != NULL) {
    unit_waiting_end (&landing->waiting, directory);
    registry_remove (daemon->registry, reserved);
  }
  return registry_add (daemon->registry, spec, GUEST_RESTORING, error);
}

/* With boot files kept: spec, name, guest. */
static Guest *
restore_guest (Request *request, Store *store, const Manifest *manifest, const RestoreRequest *wish,
               RestoreOptions *options, double *phase_ms, GError **error)
{
  Daemon *daemon = request->daemon;
  g_auto (DiskWork) disks = { .runtime = daemon->runtime, .uuid = manifest->guest_uuid };

  if (!disk_work_choose (&disks, daemon, manifest, wish, options->name, error))
    return NULL;
  options->disks = &disks.options;
  options->planned = &disks.planned;
  options->before_run = disk_work_note_run;
  options->before_run_data = &disks;
  g_autoptr (GuestSpec) spec = unit_restore_spec (store, manifest, options, error);
  g_autoptr (Guest) guest =
      spec != NULL ? reserve (daemon, spec, wish->landing, options->directory, error) : NULL;

  if (guest == NULL)
    return NULL;
  g_autoptr (GuestWork) work = guest_begin_work (guest, "its restore", NULL);
  options->fill->user_data = guest;
  if (bring_up (request, guest, store, manifest, wish, options, &disks, phase_ms, error)) {
    if (disks.hydration != NULL)
      hydration_run (g_steal_pointer (&disks.hydration));
    return g_steal_pointer (&guest);
  }
  guest_kill (guest, NULL);
  claims_release (guest, daemon->runtime, daemon->stores);
  registry_remove (daemon->registry, guest);
  return NULL;
}

static RestoreOptions
make_options (Daemon *daemon, const RestoreRequest *wish, const char *name, const char *directory,
              RestoreFill *fill)
{
  return (RestoreOptions){ .name = name,
                           .directory = directory,
                           .files = daemon->runtime->files,
                           .qemu = wish->qemu,
                           .accel = wish->accel,
                           .paused = wish->paused,
                           .accept_changed_disks = wish->accept_changed_disks,
                           .facts = daemon->runtime->facts,
                           .fill = fill,
                           .decide = wish->landing != NULL ? decide_landing : NULL,
                           .decide_data = wish->landing };
}

/* ---- A guest that comes from another host ---- */

gboolean
restore_prepare_landing (Request *request, Store *store, const Manifest *manifest,
                         const RestoreRequest *wish, GError **error)
{
  Daemon *daemon = request->daemon;
  RestoreLanding *landing = wish->landing;
  const char *name = wish->as != NULL ? wish->as : manifest->guest;
  g_autofree char *directory = runtime_guest_directory (daemon->runtime, name);
  RestoreFill fill = { .reading = wish->reading };
  RestoreOptions options = make_options (daemon, wish, name, directory, &fill);

  /* The guest goes on writing to disks that are shared; they are held against the last one. */
  options.accept_changed_disks = TRUE;
  if (!name_check (name, "guest name", error) ||
      !registry_check_arrival (daemon->registry, manifest->guest_uuid, error))
    return FALSE;
  registry_begin_restore (daemon->registry);
  g_autoptr (GuestSpec) spec = unit_restore_spec (store, manifest, &options, error);
  landing->guest =
      spec != NULL ? registry_add (daemon->registry, spec, GUEST_RESTORING, error) : NULL;
  registry_end_restore (daemon->registry);
  if (landing->guest == NULL)
    return FALSE;
  if (unit_restore_wait (spec, &options, &landing->waiting, error) &&
      landing->started (directory, landing->user_data, error) &&
      unit_restore_warm (store, manifest, &options, &landing->waiting, error))
    return TRUE;
  restore_abandon_landing (request, landing);
  return FALSE;
}

void
restore_abandon_landing (Request *request, RestoreLanding *landing)
{
  if (landing->guest == NULL)
    return;
  unit_waiting_end (&landing->waiting, guest_directory (landing->guest));
  registry_remove (request->daemon->registry, landing->guest);
  g_clear_pointer (&landing->guest, guest_unref);
}

JsonObject *
restore_checkpoint (Request *request, Store *store, const Manifest *manifest,
                    const RestoreRequest *wish, GError **error)
{
  Daemon *daemon = request->daemon;
  gint64 began_us = g_get_monotonic_time();
  const char *name = wish->as != NULL ? wish->as : manifest->guest;
  double phase_ms[PHASE_COUNT] = { 0 };

  gboolean reserved = wish->landing != NULL && wish->landing->guest != NULL;

  if (domain_restore_is_wanted (manifest, wish))
    return domain_restore (request, store, manifest, wish, error);
  if (wish->paths != NULL) {
    g_set_error_literal (error, API_ERROR, API_USAGE,
                         "paths are of a libvirt domain; disk_paths say where disks are");
    return NULL;
  }
  if (!reserved)
    registry_wait_for_unfinished (daemon->registry, name);
  if (!name_check (name, "guest name", error) ||
      (!reserved && !check_not_here (daemon->registry, manifest, error)))
    return NULL;
  g_autofree char *directory = runtime_guest_directory (daemon->runtime, name);
  RestoreFill fill = { .reading = wish->reading,
                       .store_path = request_query (request, "store"),
                       .func = filling_watch };
  RestoreOptions options = make_options (daemon, wish, name, directory, &fill);

  registry_begin_restore (daemon->registry);
  g_autoptr (Guest) guest =
      restore_guest (request, store, manifest, wish, &options, phase_ms, error);
  registry_end_restore (daemon->registry);
  if (guest == NULL)
    return NULL;
  JsonObject *result = restore_describe (guest, manifest, phase_ms, began_us);
  if (wish->sync_time)
    json_object_set_object_member (result, "clock",
                                   guest_clock_sync (guest, TRUE, request->cancellable));
  return result;
}

/* ---- Of a suspended guest ---- */

/* A suspended guest gets its own disks back as long as they are as it left them. */
static void
choose_suspended_disks (Request *request, Store *store, const Manifest *manifest,
                        RestoreRequest *wish)
{
  JsonObject *recorded = json_get_object (manifest->machine, "spec", NULL);
  g_autoptr (GuestSpec) spec = recorded != NULL ? guest_spec_from_json (recorded, NULL) : NULL;

  if (spec == NULL || manifest_find_part (manifest, "disk", NULL) == NULL)
    return;
  g_autofree char *reason =
      disks_left_as_suspended (request->daemon->runtime, spec, store, manifest, &request->watcher);
  wish->disks = reason == NULL ? RESTORE_DISKS_AS_LEFT : RESTORE_DISKS_AT_ONCE;
  if (reason == NULL || request->watcher.message == NULL)
    return;
  g_autofree char *text = g_strdup_printf ("its disks are restored to new files: %s", reason);
  request->watcher.message (text, request->watcher.user_data);
}

JsonObject *
restore_suspended (Request *request, Store *store, const Manifest *manifest, RestoreRequest *wish,
                   GError **error)
{
  choose_suspended_disks (request, store, manifest, wish);
  return restore_checkpoint (request, store, manifest, wish, error);
}

/* ---- Disks alone ---- */

static JsonObject *
describe_files (const Manifest *manifest, const RestoreDisks *disks)
{
  JsonObject *result = json_object_new();
  JsonArray *files = json_array_new();

  for (guint i = 0; i < disks->disks->len; i++) {
    const RestoredDisk *disk = disks->disks->pdata[i];
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "name", disk->name);
    json_object_set_string_member (one, "path", disk->path);
    json_object_set_string_member (one, "format", disk->format);
    json_object_set_int_member (one, "bytes", disk->map.length);
    json_array_add_object_element (files, one);
  }
  json_object_set_string_member (result, "id", manifest->id);
  json_object_set_array_member (result, "disks", files);
  return result;
}

JsonObject *
restore_disks_only (Request *request, Store *store, const Manifest *manifest,
                    const RestoreRequest *wish, GError **error)
{
  ERROR_PREFIX (error, "disks of checkpoint %.12s", manifest->id);
  JsonObject *recorded = json_get_object (manifest->machine, "spec", error);
  g_autoptr (GuestSpec) spec = recorded != NULL ? guest_spec_from_json (recorded, error) : NULL;
  g_autofree char *home = NULL; /* a directory that is not there before */

  if (spec == NULL)
    return NULL;
  if (!restore_disks_has_any (manifest)) {
    g_set_error_literal (error, API_ERROR, API_NOT_FOUND, "it has none");
    return NULL;
  }
  if (wish->disk_directory == NULL)
    home = disk_home_make (request->daemon->runtime->disks, manifest->guest, error);
  else if (!g_file_test (wish->disk_directory, G_FILE_TEST_EXISTS))
    home = g_strdup (wish->disk_directory);
  if (home != NULL && g_mkdir_with_parents (home, 0700) < 0)
    return fd_set_errno_error (error, "making %s", home) ? NULL : NULL;
  const RestoreDisksOptions options = {
    .way = RESTORE_DISKS_EAGER,
    .format = wish->disk_format,
    .directory = home != NULL ? home : wish->disk_directory,
    .paths = wish->disk_paths,
  };
  g_autoptr (RestoreDisks) disks =
      options.directory != NULL ? restore_disks_plan (manifest, spec, &options, error) : NULL;
  if (disks != NULL && restore_disks_check (disks, error) &&
      restore_disks_write (disks, store, &request->watcher, error))
    return describe_files (manifest, disks);
  if (home != NULL)
    g_rmdir (home);
  return NULL;
}
