/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/unit/restore-disks.h>

#include <vmckpt/disk/disk-overlay.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>

#include <glib/gstdio.h>
#include <sys/stat.h>

static void
restored_disk_free (gpointer data)
{
  RestoredDisk *disk = data;

  g_free (disk->name);
  g_free (disk->path);
  g_free (disk->base);
  g_free (disk->format);
  g_free (disk);
}

void
restore_disks_free (RestoreDisks *disks)
{
  if (disks == NULL)
    return;
  g_ptr_array_unref (disks->disks);
  g_free (disks);
}

gboolean
restore_disks_has_any (const Manifest *manifest)
{
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (manifest->parts, i);
    if (g_str_equal (part->role, "disk") && !g_str_equal (part->name, DISK_NAME_NVRAM))
      return TRUE;
  }
  return FALSE;
}

/* ---- Plan ---- */

static void
set_text (char **where, const char *text)
{
  g_autofree char *former = *where;
  *where = g_strdup (text);
}

/* "nbd+unix:///NAME?socket=PATH" */
static char *
export_url (const char *socket, const char *name)
{
  g_autofree char *path = g_uri_escape_string (socket, "/", FALSE);

  return g_strdup_printf ("nbd+unix:///%s?socket=%s", name, path);
}

static gboolean
is_block_device (const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 && S_ISBLK (st.st_mode);
}

/* What the guest had, without what is known of its former file. */
static void
set_file (GuestDisk *disk, const char *path, const char *format, guint64 size)
{
  set_text (&disk->path, path);
  set_text (&disk->format, format);
  g_ptr_array_set_size (disk->backing, 0);
  disk->virtual_size = size;
  disk->storage = is_block_device (path) ? DISK_STORAGE_BLOCK : DISK_STORAGE_FILE;
}

static char *
own_name (const RestoreDisksOptions *options, const char *disk, const char *format)
{
  return options->prefix != NULL ? g_strdup_printf ("%s-%s.%s", options->prefix, disk, format)
                                 : g_strdup_printf ("%s.%s", disk, format);
}

static void
plan_overlay (GuestDisk *disk, RestoredDisk *restored, const RestoreDisksOptions *options,
              const char *mapped)
{
  g_autofree char *file = own_name (options, disk->name, "qcow2");
  g_autofree char *base = g_strconcat (disk->name, ".raw", NULL);
  g_autofree char *url = export_url (options->socket, disk->name);

  restored->path =
      mapped != NULL ? g_strdup (mapped) : g_build_filename (options->directory, file, NULL);
  restored->base = mapped != NULL ? g_strconcat (mapped, ".base", NULL)
                                  : g_build_filename (options->directory, base, NULL);
  restored->format = g_strdup ("qcow2");
  set_file (disk, restored->path, "qcow2", restored->map.length);
  disk->stop_on_error = TRUE;
  g_ptr_array_add (disk->backing, disk_layer_new (url, "raw", DISK_STORAGE_NBD));
}

static void
plan_file (GuestDisk *disk, RestoredDisk *restored, const RestoreDisksOptions *options,
           const char *mapped)
{
  /* Firmware's variables are raw for whoever reads them without us; a device holds the content and
   * nothing else. */
  restored->is_device = mapped != NULL && is_block_device (mapped);
  const char *format = disk->bus == DISK_BUS_PFLASH || restored->is_device
                           ? "raw"
                           : disk_file_format_name (options->format);
  g_autofree char *file = own_name (options, disk->name, format);

  restored->path =
      mapped != NULL ? g_strdup (mapped) : g_build_filename (options->directory, file, NULL);
  restored->format = g_strdup (format);
  set_file (disk, restored->path, format, restored->map.length);
  disk->stop_on_error = FALSE;
}

/* Where the guest had it; an overlay becomes a file of its own. */
static gboolean
plan_in_place (GuestDisk *disk, RestoredDisk *restored, const char *mapped, GError **error)
{
  if (disk->storage == DISK_STORAGE_NBD && mapped == NULL) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "disk %s is an NBD export, which is not written in place: say where it is to go "
                 "(--disk %s=PATH)",
                 disk->name, disk->name);
    return FALSE;
  }
  restored->path = g_strdup (mapped != NULL ? mapped : disk->path);
  restored->is_device = is_block_device (restored->path);
  restored->format = g_strdup (disk->format != NULL && !restored->is_device ? disk->format : "raw");
  set_file (disk, restored->path, restored->format, restored->map.length);
  return TRUE;
}

static gboolean
plan_disk (RestoreDisks *disks, GuestDisk *disk, const ManifestPart *part,
           const RestoreDisksOptions *options, const char *mapped, GError **error)
{
  RestoredDisk *restored = g_new0 (RestoredDisk, 1);

  g_ptr_array_add (disks->disks, restored);
  restored->name = g_strdup (disk->name);
  restored->map = part->map;
  switch (options->way) {
  case RESTORE_DISKS_AS_LEFT:
    restored->path = g_strdup (disk->path);
    restored->format = g_strdup (disk->format);
    return TRUE;
  case RESTORE_DISKS_IN_PLACE:
    return plan_in_place (disk, restored, mapped, error);
  case RESTORE_DISKS_AT_ONCE:
    /* An overlay grows, which a device does not. */
    if (disk->bus != DISK_BUS_PFLASH && (mapped == NULL || !is_block_device (mapped))) {
      plan_overlay (disk, restored, options, mapped);
      return TRUE;
    }
    break;
  case RESTORE_DISKS_EAGER:
    break;
  }
  plan_file (disk, restored, options, mapped);
  return TRUE;
}

/* A name that is mapped must be a disk's. */
static gboolean
check_names (const GuestSpec *spec, GHashTable *paths, GError **error)
{
  GHashTableIter iter;
  gpointer name;

  if (paths == NULL)
    return TRUE;
  g_hash_table_iter_init (&iter, paths);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    if (guest_spec_find_disk (spec, name) == NULL) {
      g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
                   "the guest has no disk '%.64s' ('vmckpt show' lists them)", (char *)name);
      return FALSE;
    }
  return TRUE;
}

RestoreDisks *
restore_disks_plan (const Manifest *manifest, GuestSpec *spec, const RestoreDisksOptions *options,
                    GError **error)
{
  g_autoptr (RestoreDisks) disks = g_new0 (RestoreDisks, 1);

  disks->way = options->way;
  disks->disks = g_ptr_array_new_with_free_func (restored_disk_free);
  if (!check_names (spec, options->paths, error))
    return NULL;
  for (guint i = 0; i < spec->disks->len; i++) {
    GuestDisk *disk = spec->disks->pdata[i];
    const ManifestPart *part = manifest_find_part (manifest, "disk", disk->name);
    const char *mapped =
        options->paths != NULL ? g_hash_table_lookup (options->paths, disk->name) : NULL;
    if (part != NULL) {
      if (!plan_disk (disks, disk, part, options, mapped, error))
        return NULL;
    } else if (disk->mode == DISK_CAPTURE && disk->path != NULL) {
      g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                   "checkpoint %.12s has no content of disk %s", manifest->id, disk->name);
      return NULL;
    } else if (mapped != NULL) {
      guest_disk_move (disk, mapped);
    }
  }
  return g_steal_pointer (&disks);
}

/* ---- Files ---- */

/* Progress of one disk as that of a restore. */
typedef struct {
  const Progress *progress;
  guint64 before, total;
} Rebuild;

/* A ProgressFunc. */
static void
report_rebuild (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  const Rebuild *rebuild = user_data;

  progress_report (rebuild->progress, PHASE_REBUILD, rebuild->before + done, rebuild->total);
}

static gboolean
write_file (const RestoreDisks *disks, RestoredDisk *disk, Store *store, Rebuild *rebuild,
            GCancellable *cancellable, GError **error)
{
  const Progress progress = { report_rebuild, rebuild };
  const gboolean in_place = disks->way == RESTORE_DISKS_IN_PLACE;
  const DiskFile file = { .store = store,
                          .name = disk->name,
                          .map = disk->map,
                          .path = disk->path,
                          .format =
                              g_str_equal (disk->format, "qcow2") ? DISK_FILE_QCOW2 : DISK_FILE_RAW,
                          .replace = in_place };

  if (disk->is_device)
    return disk_file_overwrite (&file, &progress, cancellable, error);
  if (!disk_file_write (&file, &progress, cancellable, error))
    return FALSE;
  disk->made = !in_place;
  return TRUE;
}

static gboolean
write_disk (const RestoreDisks *disks, RestoredDisk *disk, Store *store, Rebuild *rebuild,
            GCancellable *cancellable, GError **error)
{
  if (disks->way == RESTORE_DISKS_AS_LEFT)
    return TRUE;
  if (disk->base == NULL)
    return write_file (disks, disk, store, rebuild, cancellable, error);
  disk->made = disk_overlay_create (disk->path, disk->base, disk->map.length, error);
  return disk->made;
}

static gboolean
check_absent (const RestoredDisk *disk, const char *path, GError **error)
{
  if (path == NULL || disk->is_device || !g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS, "disk %s: there is a file %s already",
               disk->name, path);
  return FALSE;
}

gboolean
restore_disks_check (const RestoreDisks *disks, GError **error)
{
  if (disks->way == RESTORE_DISKS_IN_PLACE || disks->way == RESTORE_DISKS_AS_LEFT)
    return TRUE;
  for (guint i = 0; i < disks->disks->len; i++) {
    const RestoredDisk *disk = disks->disks->pdata[i];
    if (!check_absent (disk, disk->path, error) || !check_absent (disk, disk->base, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
restore_disks_write (RestoreDisks *disks, Store *store, const UnitWatcher *watcher, GError **error)
{
  Rebuild rebuild = { .progress = watcher->progress };

  for (guint i = 0; i < disks->disks->len; i++)
    rebuild.total += ((RestoredDisk *)disks->disks->pdata[i])->map.length;
  for (guint i = 0; i < disks->disks->len; i++) {
    RestoredDisk *disk = disks->disks->pdata[i];
    if (!write_disk (disks, disk, store, &rebuild, watcher->cancellable, error)) {
      restore_disks_remove (disks);
      return FALSE;
    }
    rebuild.before += disk->map.length;
  }
  return TRUE;
}

void
restore_disks_remove (RestoreDisks *disks)
{
  for (guint i = 0; i < disks->disks->len; i++) {
    RestoredDisk *disk = disks->disks->pdata[i];
    if (!disk->made)
      continue;
    g_unlink (disk->path);
    if (disk->base != NULL)
      g_unlink (disk->base);
    disk->made = FALSE;
  }
}

void
restore_disks_cut_loose (GuestSpec *spec, const char *name, const char *base)
{
  GuestDisk *disk = guest_spec_find_disk (spec, name);

  if (disk == NULL)
    return;
  g_ptr_array_set_size (disk->backing, 0);
  g_ptr_array_add (disk->backing, disk_layer_new (base, "raw", DISK_STORAGE_FILE));
}
