/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hydrating.h"

#include "disk-homes.h"
#include "main-call.h"
#include "served-guests.h"
#include "unfinished.h"

#include <vmckpt/disk/disk-hydrate.h>
#include <vmckpt/disk/disk-overlay.h>
#include <vmckpt/disk/disk-server.h>
#include <vmckpt/drivers/qemu-disk.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <signal.h>

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
  ServedGuests *guests;
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
  served_guests_unref (hydration->guests);
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
  hydration->guests = served_guests_new (table->registry);
  for (guint i = 0; i < unfinished->guests->len; i++) {
    const UnfinishedGuest *guest = unfinished->guests->pdata[i];
    served_guests_add (hydration->guests, guest->guest, guest->uuid);
  }
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

static gboolean
has_guest (const Unfinished *unfinished, const char *name)
{
  for (guint i = 0; i < unfinished->guests->len; i++)
    if (g_str_equal (((UnfinishedGuest *)unfinished->guests->pdata[i])->guest, name))
      return TRUE;
  return FALSE;
}

/* That of the guest of that name; (transfer full) (nullable). */
static Hydration *
find (Hydrations *table, const char *guest)
{
  LOCK (table);

  for (guint i = 0; i < table->all->len; i++) {
    Hydration *hydration = table->all->pdata[i];
    if (has_guest (hydration->unfinished, guest))
      return hydration_ref (hydration);
  }
  return NULL;
}

/* ---- The server ---- */

static void
on_server_event (DiskServer *server, DiskServerEvent event, const char *message, gpointer user_data)
{
  Hydration *hydration = user_data;

  g_message ("disks of guest %s: %s", unfinished_guest (hydration->unfinished), message);
  if (event == DISK_SERVER_STARTED_AGAIN)
    served_guests_server_came (hydration->guests);
}

void
hydrations_note_io_error (Guest *guest, gpointer data)
{
  g_autoptr (Hydration) hydration = find (data, guest_name (guest));

  if (hydration != NULL)
    served_guests_continue (hydration->guests);
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
wait_for_guest (const Hydration *hydration, guint index, GCancellable *cancellable, GError **error)
{
  for (;;) {
    g_autoptr (Guest) guest = served_guests_find (hydration->guests, index);
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

/* For one of the guests. */
static gboolean
swap_for (Hydration *hydration, guint index, const char *name, const char *base,
          GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (Guest) guest = wait_for_guest (hydration, index, cancellable, &cause);

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

/* DiskHydrateSetup's. */
static gboolean
swap (const char *name, const char *base, GCancellable *cancellable, gpointer user_data,
      GError **error)
{
  Hydration *hydration = user_data;

  for (guint i = 0; i < hydration->unfinished->guests->len; i++)
    if (!swap_for (hydration, i, name, base, cancellable, error))
      return FALSE;
  return TRUE;
}

/* Removes its directory's last traces and itself. */
static void
finish (Hydration *hydration)
{
  Hydrations *table = hydration->table;
  DiskServer *server = g_steal_pointer (&hydration->server);

  if (server != NULL)
    disk_server_end (server, SERVER_GRACE_MS);
  served_guests_server_ends (hydration->guests);
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
    g_message ("disks of guest %s: %s", unfinished_guest (hydration->unfinished), reason->message);
}

/* Forks have one below the overlays of all. */
static gboolean
is_there (const GArray *disks, const char *base)
{
  for (guint i = 0; i < disks->len; i++)
    if (g_str_equal (g_array_index (disks, DiskHydrateDisk, i).base, base))
      return TRUE;
  return FALSE;
}

static void
make_hydrate (Hydration *hydration, Store *store, const Manifest *manifest)
{
  const Unfinished *unfinished = hydration->unfinished;
  g_autoptr (GArray) disks = g_array_new (FALSE, FALSE, sizeof (DiskHydrateDisk));

  for (guint i = 0; i < unfinished->disks->len; i++) {
    const UnfinishedDisk *disk = unfinished->disks->pdata[i];
    const ManifestPart *part = manifest_find_part (manifest, "disk", disk->name);
    if (disk->base == NULL || part == NULL || is_there (disks, disk->base))
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
  ERROR_PREFIX (error, "the disks of guest %s are not all there yet",
                unfinished_guest (unfinished));
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

static Unfinished *
describe_restore (const char *home, const HydrationGuest *guests, guint count, Store *store,
                  const char *store_path, const Manifest *manifest)
{
  Unfinished *unfinished = unfinished_new (home);

  unfinished->store_path = g_strdup (store_path);
  unfinished->store_id = g_strdup (store_id (store));
  unfinished->checkpoint = g_strdup (manifest->id);
  for (guint i = 0; i < count; i++) {
    const RestoreDisks *disks = guests[i].disks;
    unfinished_add_guest (unfinished, guests[i].spec->name, guests[i].spec->uuid);
    for (guint j = 0; disks->way != RESTORE_DISKS_IN_PLACE && j < disks->disks->len; j++) {
      const RestoredDisk *disk = disks->disks->pdata[j];
      if (!disk->is_device)
        unfinished_add_disk (unfinished, disk->name, disk->path, disk->base);
    }
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

/* What is there is somebody's; from restore.json on it is ours. */
static gboolean
check_all (const HydrationGuest *guests, guint count, GError **error)
{
  for (guint i = 0; i < count; i++)
    if (!restore_disks_check (guests[i].disks, error))
      return FALSE;
  return TRUE;
}

static gboolean
write_all (const HydrationGuest *guests, guint count, Store *store, const UnitWatcher *watcher,
           GError **error)
{
  for (guint i = 0; i < count; i++)
    if (!restore_disks_write (guests[i].disks, store, watcher, error))
      return FALSE;
  return TRUE;
}

/* Before others know it. Takes @hydration. */
static void
drop (Hydration *hydration)
{
  DiskServer *server = g_steal_pointer (&hydration->server);

  if (server != NULL)
    disk_server_end (server, 0);
  unfinished_remove (hydration->unfinished);
  hydration_unref (hydration);
}

Hydration *
hydration_begin (Hydrations *table, const char *home, const HydrationGuest *guests, guint count,
                 Store *store, const char *store_path, const KeyMaterial *key,
                 const Manifest *manifest, const UnitWatcher *watcher, GError **error)
{
  Hydration *hydration;

  if (!check_all (guests, count, error)) {
    g_rmdir (home);
    return NULL;
  }
  hydration =
      hydration_new (table, describe_restore (home, guests, count, store, store_path, manifest));
  if (!unfinished_save (hydration->unfinished, error) ||
      !write_all (guests, count, store, watcher, error) ||
      (has_overlay (guests[0].disks) && !start_server (hydration, key, error))) {
    /* What was not made here is somebody else's who was faster. */
    for (guint i = 0; i < count; i++)
      restore_disks_remove (guests[i].disks);
    drop (hydration);
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
  unfinished_remove_files (hydration->unfinished);
  drop (hydration);
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
  {
    /* Each of several forks may be told to go on. */
    LOCK (hydration->table);
    if (hydration->hydrate == NULL)
      make_hydrate (hydration, store, manifest);
  }
  disk_hydrate_retry (hydration->hydrate, store);
  disk_hydrate_run (hydration->hydrate);
}

gboolean
hydrations_retry (Hydrations *table, const char *name, const KeyMaterial *key, GError **error)
{
  g_autoptr (Hydration) hydration = find (table, name);
  g_autoptr (Guest) guest = hydration != NULL ? registry_get (table->registry, name, NULL) : NULL;
  g_autoptr (Manifest) manifest = NULL;
  g_autoptr (GError) cause = NULL;

  if (guest == NULL || guest_state (guest) == GUEST_EXITED)
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
      return g_strdup (unfinished_guest (unfinished));
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
    g_message ("disks of guest %s: %s", unfinished_guest (hydration->unfinished), error->message);
}

/* A MainCallFunc: a server that is being started lets them go on once more. */
static void
on_found (gpointer guests)
{
  served_guests_server_came (guests);
}

static void
take_over_one (Hydrations *table, Unfinished *unfinished)
{
  Hydration *hydration = hydration_new (table, unfinished);
  gboolean up = served_guests_any (hydration->guests);
  g_autoptr (Manifest) manifest = NULL;
  g_autoptr (GError) error = NULL;

  if (!up && !unfinished->ran) {
    disk_server_end_found (unfinished->home);
    hydration_undo (hydration);
    return;
  }
  if (up)
    adopt_server (hydration);
  else
    disk_server_end_found (unfinished->home);
  {
    LOCK (table);
    g_ptr_array_add (table->all, hydration);
  }
  hydration_ref (hydration);
  main_call (on_found, hydration->guests);
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

/* Files that were asked for elsewhere stay, so they are to become whole. */
static gboolean
is_elsewhere (const Hydration *hydration)
{
  const GPtrArray *files = hydration->unfinished->disks;

  for (guint i = 0; i < files->len; i++)
    if (!disk_home_has (hydration->table->runtime->disks,
                        ((UnfinishedDisk *)files->pdata[i])->path))
      return TRUE;
  return FALSE;
}

void
hydrations_remove_files (Hydrations *table, const GuestSpec *spec)
{
  const char *disks = table->runtime->disks;
  g_autoptr (GPtrArray) files = disk_home_files (disks, spec);
  g_autoptr (Hydration) hydration = find (table, spec->name);

  disk_home_remove_own (disks, spec);
  /* Forks: the last one takes the rest along. */
  if (hydration != NULL && !is_elsewhere (hydration) &&
      !disk_home_has_overlays (hydration->unfinished->home)) {
    if (hydration->hydrate != NULL)
      disk_hydrate_stop (hydration->hydrate);
    unfinished_remove_files (hydration->unfinished);
    finish (hydration);
  }
  disk_home_remove_shared (disks, files);
}
