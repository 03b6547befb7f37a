/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hydrating.h"

#include "unfinished.h"

#include <vmckpt/disk/disk-hydrate.h>
#include <vmckpt/disk/disk-overlay.h>
#include <vmckpt/disk/disk-server.h>
#include <vmckpt/drivers/qemu-disk.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define HOMES_MAX 10000
#define GONE_GUEST_POLL_US (500 * 1000)
#define SERVER_GRACE_MS 2000

struct _Hydrations {
  const Runtime *runtime;
  Registry *registry;
  Stores *stores;
  GMutex lock;
  GPtrArray *all; /* of Hydration, owned */
};

/* The disks of one restore. Members without a lock are set before others know it. */
struct _Hydration {
  gatomicrefcount refs;
  Hydrations *table;
  Unfinished *unfinished;
  DiskServer *server;   /* (nullable) */
  DiskHydrate *hydrate; /* (nullable): nothing is missing, or the store is not open yet */
  /* On the main thread: */
  guint restarts;  /* of the server */
  guint continued; /* at which of them the guest was made to run again */
};

#define LOCK(table)                                                                                \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(table)->lock)

static Hydration *
hydration_ref (Hydration *hydration)
{
  g_atomic_ref_count_inc (&hydration->refs);
  return hydration;
}

static void
hydration_unref (Hydration *hydration)
{
  if (!g_atomic_ref_count_dec (&hydration->refs))
    return;
  disk_hydrate_unref (hydration->hydrate);
  disk_server_free (hydration->server);
  unfinished_free (hydration->unfinished);
  g_free (hydration);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Hydration, hydration_unref)

static Hydration *
hydration_new (Hydrations *table, Unfinished *unfinished)
{
  Hydration *hydration = g_new0 (Hydration, 1);

  g_atomic_ref_count_init (&hydration->refs);
  hydration->table = table;
  hydration->unfinished = unfinished;
  return hydration;
}

Hydrations *
hydrations_new (const Runtime *runtime, Registry *registry, Stores *stores)
{
  Hydrations *table = g_new0 (Hydrations, 1);

  table->runtime = runtime;
  table->registry = registry;
  table->stores = stores;
  g_mutex_init (&table->lock);
  table->all = g_ptr_array_new_with_free_func ((GDestroyNotify)hydration_unref);
  return table;
}

void
hydrations_free (Hydrations *table)
{
  g_ptr_array_unref (table->all);
  g_mutex_clear (&table->lock);
  g_free (table);
}

/* That of the guest of that name; (transfer full) (nullable). */
static Hydration *
find (Hydrations *table, const char *guest)
{
  LOCK (table);

  for (guint i = 0; i < table->all->len; i++) {
    Hydration *hydration = table->all->pdata[i];
    if (g_str_equal (hydration->unfinished->guest, guest))
      return hydration_ref (hydration);
  }
  return NULL;
}

/* Its guest, if that has a QEMU; (transfer full) (nullable). */
static Guest *
find_guest (const Hydration *hydration)
{
  g_autoptr (Guest) guest =
      registry_find_uuid (hydration->table->registry, hydration->unfinished->uuid);

  if (guest == NULL || !g_str_equal (guest_name (guest), hydration->unfinished->guest))
    return NULL;
  return g_steal_pointer (&guest);
}

/* ---- The server ---- */

/* On the main thread. A guest that the loss of its server has stopped goes on; QEMU is told, not
 * waited for. */
static void
continue_once (Hydration *hydration)
{
  g_autoptr (Guest) guest = find_guest (hydration);

  if (hydration->continued < hydration->restarts && guest != NULL &&
      guest_continue_after_io_error (guest))
    hydration->continued = hydration->restarts;
}

static void
on_server_event (DiskServer *server, DiskServerEvent event, const char *message, gpointer user_data)
{
  Hydration *hydration = user_data;

  g_message ("disks of guest %s: %s", hydration->unfinished->guest, message);
  if (event == DISK_SERVER_STARTED_AGAIN) {
    hydration->restarts++;
    continue_once (hydration);
  }
}

void
hydrations_note_io_error (Guest *guest, gpointer data)
{
  g_autoptr (Hydration) hydration = find (data, guest_name (guest));

  if (hydration != NULL)
    continue_once (hydration);
}

static DiskServerWatch
watch_for (Hydration *hydration)
{
  return (DiskServerWatch){ .func = on_server_event,
                            .user_data = hydration_ref (hydration),
                            .destroy = (GDestroyNotify)hydration_unref };
}

static gboolean
start_server (Hydration *hydration, const KeyMaterial *key, GError **error)
{
  const Unfinished *unfinished = hydration->unfinished;
  const DiskServerOptions options = { .directory = unfinished->home,
                                      .store = unfinished->store_path,
                                      .checkpoint = unfinished->checkpoint,
                                      .key = key,
                                      .exit_last = TRUE };
  const DiskServerWatch watch = watch_for (hydration);

  hydration->server = disk_server_start (&options, &watch, error);
  return hydration->server != NULL;
}

/* ---- Writing what is missing ---- */

/* A guest whose monitor is free for us; NULL without @error: it has ended. */
static Guest *
wait_for_guest (const Hydration *hydration, GCancellable *cancellable, GError **error)
{
  for (;;) {
    g_autoptr (Guest) guest = find_guest (hydration);
    if (guest == NULL || guest_state (guest) == GUEST_RUNNING ||
        guest_state (guest) == GUEST_PAUSED)
      return g_steal_pointer (&guest);
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return NULL;
    g_usleep (GONE_GUEST_POLL_US);
  }
}

/* The spec that @guest has once the disk is cut loose. */
static GuestSpec *
spec_without_export (Guest *guest, const char *name, const char *base)
{
  GuestSpec *spec = guest_spec_copy (guest_spec (guest));

  restore_disks_cut_loose (spec, name, base);
  return spec;
}

static gboolean
swap_in (Guest *guest, const char *name, const char *base, GError **error)
{
  g_autoptr (QmpClient) monitor = guest_monitor (guest, error);
  g_autoptr (GuestSpec) spec = spec_without_export (guest, name, base);
  const GuestDisk *disk = guest_spec_find_disk (spec, name);

  if (monitor == NULL)
    return FALSE;
  if (disk == NULL)
    return TRUE;
  g_autoptr (JsonArray) nodes = qemu_disk_nodes (disk);
  return disk_overlay_swap (monitor, nodes, error) && guest_set_spec (guest, spec, error);
}

/* DiskHydrateSetup's. */
static gboolean
swap (const char *name, const char *base, GCancellable *cancellable, gpointer user_data,
      GError **error)
{
  Hydration *hydration = user_data;
  g_autoptr (GError) cause = NULL;
  g_autoptr (Guest) guest = wait_for_guest (hydration, cancellable, &cause);

  if (guest == NULL) {
    /* It has ended: the file is all that was to be done. */
    if (cause == NULL)
      return TRUE;
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  g_autoptr (GuestWork) work = guest_begin_brief_work (guest, "the swap of a disk", cancellable);
  if (work == NULL)
    return !g_cancellable_set_error_if_cancelled (cancellable, error);
  if (swap_in (guest, name, base, &cause))
    return TRUE;
  /* It went away meanwhile. */
  if (guest_state (guest) == GUEST_EXITED)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* Removes its directory's last traces and itself. */
static void
finish (Hydration *hydration)
{
  Hydrations *table = hydration->table;
  DiskServer *server = g_steal_pointer (&hydration->server);

  if (server != NULL)
    disk_server_end (server, SERVER_GRACE_MS);
  unfinished_remove (hydration->unfinished);
  LOCK (table);
  g_ptr_array_remove_fast (table->all, hydration);
}

/* DiskHydrateSetup's, on its thread. */
static void
ended (const GError *reason, gpointer user_data)
{
  g_autoptr (Hydration) hydration = hydration_ref (user_data);

  if (reason == NULL)
    finish (hydration);
  else
    g_message ("disks of guest %s: %s", hydration->unfinished->guest, reason->message);
}

static void
make_hydrate (Hydration *hydration, Store *store, const Manifest *manifest)
{
  const Unfinished *unfinished = hydration->unfinished;
  g_autoptr (GArray) disks = g_array_new (FALSE, FALSE, sizeof (DiskHydrateDisk));

  for (guint i = 0; i < unfinished->disks->len; i++) {
    const UnfinishedDisk *disk = unfinished->disks->pdata[i];
    const ManifestPart *part = manifest_find_part (manifest, "disk", disk->name);
    if (disk->base == NULL || part == NULL)
      continue;
    const DiskHydrateDisk one = { disk->name, disk->base, part->map };
    g_array_append_val (disks, one);
  }
  const DiskHydrateSetup setup = { .store = store,
                                   .disks = (const DiskHydrateDisk *)disks->data,
                                   .n_disks = disks->len,
                                   .swap = swap,
                                   .ended = ended,
                                   .user_data = hydration };
  hydration->hydrate = disk_hydrate_new (&setup);
}

/* The store with the disks, open, and the checkpoint in there. */
static Store *
open_store (const Hydration *hydration, const KeyMaterial *key, Manifest **manifest, GError **error)
{
  const Unfinished *unfinished = hydration->unfinished;
  Stores *stores = hydration->table->stores;
  ERROR_PREFIX (error, "the disks of guest %s are not all there yet", unfinished->guest);
  g_autoptr (Store) store = key != NULL
                                ? stores_get (stores, unfinished->store_path, key, NULL, error)
                                : stores_get_own (stores, unfinished->store_path, error);

  if (store == NULL)
    return NULL;
  if (!g_str_equal (store_id (store), unfinished->store_id)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND,
                 "the store at %s is another one than that which has them", unfinished->store_path);
    return NULL;
  }
  *manifest = store_manifest_load (store, unfinished->checkpoint, error);
  return *manifest != NULL ? g_steal_pointer (&store) : NULL;
}

/* ---- A restore ---- */

char *
hydrations_make_home (Hydrations *table, const char *name, GError **error)
{
  const char *disks = table->runtime->disks;

  if (g_mkdir_with_parents (disks, 0700) < 0) {
    fd_set_errno_error (error, "making the disks directory %s", disks);
    return NULL;
  }
  /* Those two names are taken (runtime.h). */
  gboolean taken = g_str_equal (name, "temporary") || g_str_equal (name, "left");
  for (guint i = taken ? 2 : 1; i < HOMES_MAX; i++) {
    g_autofree char *last = i == 1 ? g_strdup (name) : g_strdup_printf ("%s.%u", name, i);
    g_autofree char *home = g_build_filename (disks, last, NULL);
    if (g_mkdir (home, 0700) == 0)
      return g_steal_pointer (&home);
    if (errno != EEXIST) {
      fd_set_errno_error (error, "making %s", home);
      return NULL;
    }
  }
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS, "too many directories %s/%s.N: remove some",
               disks, name);
  return NULL;
}

static Unfinished *
describe_restore (const char *home, const GuestSpec *spec, Store *store, const char *store_path,
                  const Manifest *manifest, const RestoreDisks *disks)
{
  Unfinished *unfinished = unfinished_new (home);

  unfinished->guest = g_strdup (spec->name);
  unfinished->uuid = g_strdup (spec->uuid);
  unfinished->store_path = g_strdup (store_path);
  unfinished->store_id = g_strdup (store_id (store));
  unfinished->checkpoint = g_strdup (manifest->id);
  for (guint i = 0; i < disks->disks->len; i++) {
    const RestoredDisk *disk = disks->disks->pdata[i];
    if (disks->way != RESTORE_DISKS_IN_PLACE)
      unfinished_add_disk (unfinished, disk->name, disk->path, disk->base);
  }
  return unfinished;
}

static gboolean
has_overlay (const RestoreDisks *disks)
{
  for (guint i = 0; i < disks->disks->len; i++)
    if (((RestoredDisk *)disks->disks->pdata[i])->base != NULL)
      return TRUE;
  return FALSE;
}

Hydration *
hydration_begin (Hydrations *table, const char *home, const GuestSpec *spec, Store *store,
                 const char *store_path, const KeyMaterial *key, const Manifest *manifest,
                 RestoreDisks *disks, const UnitWatcher *watcher, GError **error)
{
  Hydration *hydration;

  /* What is there is somebody's; from restore.json on it is ours. */
  if (!restore_disks_check (disks, error)) {
    g_rmdir (home);
    return NULL;
  }
  hydration =
      hydration_new (table, describe_restore (home, spec, store, store_path, manifest, disks));
  if (!unfinished_save (hydration->unfinished, error) ||
      !restore_disks_write (disks, store, watcher, error) ||
      (has_overlay (disks) && !start_server (hydration, key, error))) {
    hydration_undo (hydration);
    return NULL;
  }
  make_hydrate (hydration, store, manifest);
  return hydration;
}

gboolean
hydration_note_run (Hydration *hydration, GError **error)
{
  hydration->unfinished->ran = TRUE;
  return unfinished_save (hydration->unfinished, error);
}

void
hydration_run (Hydration *hydration)
{
  g_autoptr (Hydration) held = hydration_ref (hydration);
  {
    LOCK (hydration->table);
    g_ptr_array_add (hydration->table->all, hydration);
  }
  disk_hydrate_run (held->hydrate);
}

void
hydration_undo (Hydration *hydration)
{
  DiskServer *server = g_steal_pointer (&hydration->server);

  if (server != NULL)
    disk_server_end (server, 0);
  unfinished_remove_files (hydration->unfinished);
  unfinished_remove (hydration->unfinished);
  hydration_unref (hydration);
}

/* ---- What is shown, waited for, tried again ---- */

void
hydrations_describe (Hydrations *table, const char *guest, JsonObject *object)
{
  g_autoptr (Hydration) hydration = find (table, guest);
  DiskHydrateStatus status = { .complete = TRUE };

  if (hydration != NULL && hydration->hydrate != NULL)
    disk_hydrate_status (hydration->hydrate, &status);
  if (status.complete || status.bytes == 0) {
    json_object_set_null_member (object, "disk_bytes_there");
  } else {
    json_object_set_int_member (object, "disk_bytes", status.bytes);
    json_object_set_int_member (object, "disk_bytes_there", status.done);
  }
}

gboolean
hydrations_wait (Hydrations *table, const char *guest, const Progress *progress,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (Hydration) hydration = find (table, guest);
  ERROR_PREFIX (error, "the disks of guest %s", guest);

  if (hydration == NULL)
    return TRUE;
  if (hydration->hydrate != NULL)
    return disk_hydrate_wait (hydration->hydrate, progress, cancellable, error);
  g_autoptr (Manifest) manifest = NULL;
  g_autoptr (Store) store = open_store (hydration, NULL, &manifest, error);
  if (store != NULL)
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED,
                         "they are not being read; 'vmckpt continue' begins again");
  return FALSE;
}

/* A server that still has what was at the store's place before is replaced by one that looks
 * again. */
static void
restart_server (Hydration *hydration)
{
  if (hydration->server != NULL)
    process_id_signal (disk_server_process (hydration->server), SIGKILL);
}

/* With the store at hand again. */
static void
retry_with (Hydration *hydration, Store *store, const Manifest *manifest, const KeyMaterial *key)
{
  if (hydration->server != NULL && key != NULL)
    disk_server_offer_key (hydration->server, key);
  if (hydration->hydrate == NULL)
    make_hydrate (hydration, store, manifest);
  disk_hydrate_retry (hydration->hydrate, store);
  disk_hydrate_run (hydration->hydrate);
}

gboolean
hydrations_retry (Hydrations *table, const char *name, const KeyMaterial *key, GError **error)
{
  g_autoptr (Hydration) hydration = find (table, name);
  g_autoptr (Guest) guest = hydration != NULL ? find_guest (hydration) : NULL;
  g_autoptr (Manifest) manifest = NULL;
  g_autoptr (GError) cause = NULL;

  if (guest == NULL)
    return TRUE;
  g_autoptr (Store) store = open_store (hydration, key, &manifest, &cause);
  if (store != NULL)
    retry_with (hydration, store, manifest, key);
  /* One that waits for nothing may run without. */
  if (!guest_is_io_stopped (guest))
    return TRUE;
  if (store == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  restart_server (hydration);
  return TRUE;
}

char *
hydrations_find_needing (Hydrations *table, const char *store_id, const char *checkpoint)
{
  LOCK (table);

  for (guint i = 0; i < table->all->len; i++) {
    const Unfinished *unfinished = ((Hydration *)table->all->pdata[i])->unfinished;
    if (g_str_equal (unfinished->store_id, store_id) &&
        g_str_equal (unfinished->checkpoint, checkpoint))
      return g_strdup (unfinished->guest);
  }
  return NULL;
}

guint
hydrations_count (Hydrations *table)
{
  LOCK (table);

  return table->all->len;
}

/* ---- After an earlier daemon ---- */

static void
adopt_server (Hydration *hydration)
{
  const DiskServerWatch watch = watch_for (hydration);
  g_autoptr (GError) error = NULL;

  hydration->server = disk_server_adopt (hydration->unfinished->home, NULL, &watch, &error);
  if (hydration->server == NULL && !g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    g_message ("disks of guest %s: %s", hydration->unfinished->guest, error->message);
}

/* Whoever brings the server back lets the guest go on. */
static void
continue_found (Hydration *hydration)
{
  g_autoptr (Guest) guest = find_guest (hydration);

  if (guest != NULL)
    guest_continue_after_io_error (guest);
}

static void
take_over_one (Hydrations *table, Unfinished *unfinished)
{
  Hydration *hydration = hydration_new (table, unfinished);
  g_autoptr (Guest) guest = find_guest (hydration);
  g_autoptr (Manifest) manifest = NULL;
  g_autoptr (GError) error = NULL;

  if (guest == NULL && !unfinished->ran) {
    disk_server_end_found (unfinished->home);
    hydration_undo (hydration);
    return;
  }
  if (guest != NULL)
    adopt_server (hydration);
  else
    disk_server_end_found (unfinished->home);
  {
    LOCK (table);
    g_ptr_array_add (table->all, hydration);
  }
  hydration_ref (hydration);
  continue_found (hydration);
  g_autoptr (Store) store = open_store (hydration, NULL, &manifest, &error);
  if (store != NULL) {
    make_hydrate (hydration, store, manifest);
    disk_hydrate_run (hydration->hydrate);
  } else {
    g_message ("%s", error->message);
  }
  hydration_unref (hydration);
}

void
hydrations_take_over (Hydrations *table)
{
  g_autoptr (GDir) homes = g_dir_open (table->runtime->disks, 0, NULL);
  const char *name;

  while (homes != NULL && (name = g_dir_read_name (homes)) != NULL) {
    g_autofree char *home = g_build_filename (table->runtime->disks, name, NULL);
    Unfinished *unfinished = unfinished_load (home);
    if (unfinished != NULL)
      take_over_one (table, unfinished);
  }
}

/* ---- Files that stay ---- */

static void
add_if_ours (GPtrArray *files, const char *disks, const char *path)
{
  gsize len = strlen (disks);

  if (path != NULL && strncmp (path, disks, len) == 0 && path[len] == '/')
    g_ptr_array_add (files, g_strdup (path));
}

GPtrArray *
hydrations_files (Hydrations *table, const GuestSpec *spec)
{
  GPtrArray *files = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->mode != DISK_CAPTURE)
      continue;
    add_if_ours (files, table->runtime->disks, disk->path);
    for (guint j = 0; j < disk->backing->len; j++)
      add_if_ours (files, table->runtime->disks, ((DiskLayer *)disk->backing->pdata[j])->path);
  }
  return files;
}

void
hydrations_remove_files (Hydrations *table, const GuestSpec *spec)
{
  g_autoptr (GPtrArray) files = hydrations_files (table, spec);
  g_autoptr (Hydration) hydration = find (table, spec->name);

  if (hydration != NULL) {
    if (hydration->hydrate != NULL)
      disk_hydrate_stop (hydration->hydrate);
    unfinished_remove_files (hydration->unfinished);
    finish (hydration);
  }
  for (guint i = 0; i < files->len; i++) {
    g_autofree char *home = g_path_get_dirname (files->pdata[i]);
    g_unlink (files->pdata[i]);
    if (!g_str_equal (home, table->runtime->disks))
      g_rmdir (home);
  }
}
