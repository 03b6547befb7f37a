/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An nbdkit plugin that serves the disks of one checkpoint, read-only (store/nbd/README.md has its
 * parameters). nbdkit calls from many threads at once; everything here is made before it serves,
 * and not changed after.
 *
 * nbdkit knows plugins by one structure without room for our data, hence the variables.
 */
#include "map-bytes.h"

#include <vmckpt/store/key.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The longest text of a key: a password in base64, with the word before it. */
#define KEY_TEXT_MAX (2 * KEY_PASSWORD_MAX)
/* A disk's sector: nothing smaller is asked for, unless the disk ends within one. */
#define SECTOR_BYTES 512
#define REQUEST_MAX_BYTES (32 * 1024 * 1024)

typedef struct {
  char *name;
  char *description;
  MapBytes *bytes;
} Disk;

/* Parameters. */
static char *store_path, *reference, *only_disk;
static int key_fd = -1, ready_fd = -1;

/* Made of them. */
static Store *store;
static GPtrArray *disks; /* of Disk, in the checkpoint's order */

static void
disk_free (gpointer data)
{
  Disk *disk = data;

  g_free (disk->name);
  g_free (disk->description);
  map_bytes_free (disk->bytes);
  g_free (disk);
}

/* ---- Parameters ---- */

static int
config (const char *key, const char *value)
{
  if (g_str_equal (key, "store")) {
    g_free (store_path);
    store_path = nbdkit_realpath (value);
    return store_path != NULL ? 0 : -1;
  }
  if (g_str_equal (key, "checkpoint") || g_str_equal (key, "disk")) {
    char **text = *key == 'c' ? &reference : &only_disk;
    g_free (*text);
    *text = g_strdup (value);
    return 0;
  }
  if (g_str_equal (key, "key-fd"))
    return nbdkit_parse_int ("key-fd", value, &key_fd);
  if (g_str_equal (key, "ready-fd"))
    return nbdkit_parse_int ("ready-fd", value, &ready_fd);
  nbdkit_error ("unknown parameter '%s'", key);
  return -1;
}

static int
config_complete (void)
{
  if (store_path != NULL && reference != NULL)
    return 0;
  nbdkit_error ("the parameters store= and checkpoint= are needed");
  return -1;
}

/* ---- Opening ---- */

/* What comes through key_fd, which is then closed. NULL without @error: there is no key. */
static KeyMaterial *
read_key (GError **error)
{
  g_autoptr (Secret) text = secret_new (KEY_TEXT_MAX + 1);
  g_auto (AutoFd) fd = key_fd;

  if (fd < 0)
    return NULL;
  key_fd = -1;
  gssize len = fd_read_full (fd, text->bytes, KEY_TEXT_MAX, error);
  return len >= 0 ? key_material_from_text ((const char *)text->bytes, error) : NULL;
}

static Store *
open_store (GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (KeyMaterial) key = read_key (&cause);
  Backend *backend = cause == NULL ? backend_directory_open (store_path, FALSE, &cause) : NULL;

  if (backend == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  return store_open_with_key (backend, key, NULL, error);
}

static gboolean
add_disk (const Manifest *manifest, const ManifestPart *part, GError **error)
{
  g_autoptr (GDateTime) at = g_date_time_new_from_unix_utc (manifest->created_us / G_USEC_PER_SEC);
  g_autofree char *when = at != NULL ? g_date_time_format (at, "%F %T UTC") : g_strdup ("?");
  g_autoptr (MapBytes) bytes = map_bytes_new (store, &part->map, error);

  if (bytes == NULL) {
    g_prefix_error (error, "disk %s: ", part->name);
    return FALSE;
  }
  Disk *disk = g_new0 (Disk, 1);
  disk->name = g_strdup (part->name);
  disk->description = g_strdup_printf ("%s of %s, %s, checkpoint %.12s", part->name,
                                       manifest->guest, when, manifest->id);
  disk->bytes = g_steal_pointer (&bytes);
  g_ptr_array_add (disks, disk);
  return TRUE;
}

static gboolean
open_disks (GError **error)
{
  g_autoptr (Manifest) manifest = store_manifest_find (store, reference, error);

  if (manifest == NULL)
    return FALSE;
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (manifest->parts, i);
    if (g_str_equal (part->role, "disk") &&
        (only_disk == NULL || g_str_equal (part->name, only_disk)) &&
        !add_disk (manifest, part, error))
      return FALSE;
  }
  if (disks->len > 0)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND, "checkpoint %.12s of %s has no %s%s",
               manifest->id, manifest->guest, only_disk != NULL ? "disk " : "disks",
               only_disk != NULL ? only_disk : "");
  return FALSE;
}

/* Tells whoever started nbdkit that it will serve. */
static void
say_ready (void)
{
  if (ready_fd < 0)
    return;
  if (write (ready_fd, "+", 1) < 0)
    nbdkit_debug ("nobody waits for this server: %s", g_strerror (errno));
  close (ready_fd);
  ready_fd = -1;
}

/* Everything that can fail fails here, before a client is there. */
static int
get_ready (void)
{
  g_autoptr (GError) error = NULL;

  disks = g_ptr_array_new_with_free_func (disk_free);
  store = open_store (&error);
  if (store == NULL || !open_disks (&error)) {
    nbdkit_error ("%s", error->message);
    return -1;
  }
  return 0;
}

static int
after_fork (void)
{
  /* With a socket that it was given, nbdkit ends when the thread that started it does. Whoever
   * gives it ready-fd is to be outlived. */
  if (ready_fd >= 0)
    prctl (PR_SET_PDEATHSIG, 0);
  say_ready();
  return 0;
}

static void
unload (void)
{
  g_clear_pointer (&disks, g_ptr_array_unref);
  g_clear_pointer (&store, store_unref);
  free (store_path);
  g_free (reference);
  g_free (only_disk);
}

/* ---- Exports ---- */

static const Disk *
default_disk (void)
{
  for (guint i = 0; i < disks->len; i++) {
    const Disk *disk = g_ptr_array_index (disks, i);
    if (!g_str_equal (disk->name, "nvram"))
      return disk;
  }
  return g_ptr_array_index (disks, 0);
}

static int
list_exports (int readonly, int is_tls, struct nbdkit_exports *exports)
{
  for (guint i = 0; i < disks->len; i++) {
    const Disk *disk = g_ptr_array_index (disks, i);
    if (nbdkit_add_export (exports, disk->name, disk->description) < 0)
      return -1;
  }
  return 0;
}

static const char *
default_export (int readonly, int is_tls)
{
  return default_disk()->name;
}

static void *
open_export (int readonly)
{
  const char *name = nbdkit_export_name();

  if (name == NULL)
    return NULL;
  if (*name == '\0')
    return (void *)default_disk();
  for (guint i = 0; i < disks->len; i++) {
    Disk *disk = g_ptr_array_index (disks, i);
    if (g_str_equal (disk->name, name))
      return disk;
  }
  nbdkit_error ("there is no disk '%s' here; the first is '%s'", name, default_disk()->name);
  nbdkit_set_error (ENOENT);
  return NULL;
}

static const char *
export_description (void *handle)
{
  return ((const Disk *)handle)->description;
}

static int64_t
get_size (void *handle)
{
  return map_bytes_length (((const Disk *)handle)->bytes);
}

static int
block_size (void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
  const Disk *disk = handle;

  *minimum = map_bytes_length (disk->bytes) % SECTOR_BYTES == 0 ? SECTOR_BYTES : 1;
  *preferred = PAGE_SIZE_BYTES;
  *maximum = REQUEST_MAX_BYTES;
  return 0;
}

/* All connections see the same, and nothing is ever changed. */
static int
can_multi_conn (void *handle)
{
  return 1;
}

static int
can_extents (void *handle)
{
  return 1;
}

static int
fail (const Disk *disk, const GError *error)
{
  nbdkit_error ("%s: %s", disk->description, error->message);
  nbdkit_set_error (EIO);
  return -1;
}

static int
pread_export (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  const Disk *disk = handle;
  g_autoptr (GError) error = NULL;

  return map_bytes_read (disk->bytes, offset, count, buf, &error) ? 0 : fail (disk, error);
}

static int
extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
         struct nbdkit_extents *found)
{
  const Disk *disk = handle;
  guint64 some;

  for (guint64 done = 0; done < count; done += some) {
    g_autoptr (GError) error = NULL;
    gboolean zero;
    some = map_bytes_find_run (disk->bytes, offset + done, count - done, &zero, &error);
    if (some == 0)
      return fail (disk, error);
    if (nbdkit_add_extent (found, offset + done, some,
                           zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) < 0)
      return -1;
    if ((flags & NBDKIT_FLAG_REQ_ONE) != 0)
      break;
  }
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "vmckpt",
  .longname = "disks of a vmckpt checkpoint",
  .version = VMCKPT_VERSION,
  .description = "Serves the disks of one checkpoint in a vmckpt store, read-only.",
  .config = config,
  .config_complete = config_complete,
  .config_help = "store=DIRECTORY   (required) the store\n"
                 "checkpoint=ID     (required) the checkpoint: id, its beginning, GUEST[@TAG]\n"
                 "disk=NAME         serve this disk alone\n"
                 "key-fd=FD         read the key of an encrypted store from there\n"
                 "ready-fd=FD       write a byte there when ready to serve",
  .get_ready = get_ready,
  .after_fork = after_fork,
  .unload = unload,
  .list_exports = list_exports,
  .default_export = default_export,
  .open = open_export,
  .export_description = export_description,
  .get_size = get_size,
  .block_size = block_size,
  .can_multi_conn = can_multi_conn,
  .can_extents = can_extents,
  .pread = pread_export,
  .extents = extents,
};

NBDKIT_REGISTER_PLUGIN (plugin)
