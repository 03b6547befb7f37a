/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "looks.h"

#include "api-error.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/drivers/kvm.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define KEPT_US (60 * G_USEC_PER_SEC)
#define CHECK_SECONDS 5
#define WAIT_US (200 * G_TIME_SPAN_MILLISECOND)
#define DIRECTORY "looks"
#define ROLE_DISK "disk"
#define NVRAM "nvram" /* a disk by its role, and no file system */

/* One appliance, and what it looks into. */
typedef struct {
  char *identity; /* store and checkpoint */
  char *directory;
  DiskServer *server;
  Inspector *inspector;
} Look;

struct _Looks {
  char *directory;
  GMutex lock;
  GCond freed;
  /* Guarded by the lock. */
  gboolean busy;
  gboolean ended;
  guint made;
  Look *kept; /* (nullable): not in use by a request */
  gint64 kept_since_us;
};

static void
look_free (Look *look)
{
  g_clear_pointer (&look->inspector, inspector_free);
  if (look->server != NULL)
    disk_server_end (look->server, 0);
  if (look->directory != NULL) {
    g_autofree char *log = g_build_filename (look->directory, DISK_SERVER_FILE_LOG, NULL);
    g_unlink (log);
    g_rmdir (look->directory);
  }
  g_free (look->directory);
  g_free (look->identity);
  g_free (look);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Look, look_free)

/* ---- What is kept ---- */

static gpointer
end_thread (gpointer data)
{
  look_free (data);
  return NULL;
}

/* Takes what has been kept long enough; NULL if there is none. */
static Look *
take_old (Looks *looks)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&looks->lock);
  gint64 age_us = g_get_monotonic_time() - looks->kept_since_us;

  return looks->kept != NULL && age_us > KEPT_US ? g_steal_pointer (&looks->kept) : NULL;
}

/* Ending one blocks for a moment: not on the main thread. */
static gboolean
on_check (gpointer user_data)
{
  Look *old = take_old (user_data);

  if (old != NULL)
    g_thread_unref (g_thread_new ("end-look", end_thread, old));
  return G_SOURCE_CONTINUE;
}

static void
end_found (const char *directory)
{
  g_autoptr (GDir) dir = g_dir_open (directory, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (directory, name, NULL);
    g_autofree char *log = g_build_filename (path, DISK_SERVER_FILE_LOG, NULL);
    disk_server_end_found (path);
    g_unlink (log);
    g_rmdir (path);
  }
}

Looks *
looks_new (const Runtime *runtime)
{
  Looks *looks = g_new0 (Looks, 1);

  g_mutex_init (&looks->lock);
  g_cond_init (&looks->freed);
  looks->directory = g_build_filename (runtime->path, DIRECTORY, NULL);
  end_found (looks->directory);
  g_timeout_add_seconds (CHECK_SECONDS, on_check, looks);
  return looks;
}

void
looks_end (Looks *looks)
{
  g_mutex_lock (&looks->lock);
  Look *kept = g_steal_pointer (&looks->kept);
  looks->ended = TRUE;
  g_mutex_unlock (&looks->lock);
  if (kept != NULL)
    look_free (kept);
}

/* ---- Starting one ---- */

static char *
identity_of (const LookTarget *target)
{
  return g_strconcat (store_id (target->store), "/", target->manifest->id, NULL);
}

/* Their names, borrowed from @manifest. */
static GPtrArray *
disks_of (const Manifest *manifest)
{
  GPtrArray *disks = g_ptr_array_new();

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    if (g_str_equal (part->role, ROLE_DISK) && !g_str_equal (part->name, NVRAM))
      g_ptr_array_add (disks, part->name);
  }
  return disks;
}

static gboolean
make_directory (Looks *looks, Look *look, GError **error)
{
  g_mutex_lock (&looks->lock);
  look->directory = g_strdup_printf ("%s/%u", looks->directory, ++looks->made);
  g_mutex_unlock (&looks->lock);
  if (g_mkdir_with_parents (look->directory, 0700) == 0)
    return TRUE;
  return fd_set_errno_error (error, "making %s", look->directory);
}

static gboolean
start_server (Look *look, const LookTarget *target, GError **error)
{
  DiskServerOptions options = { .directory = look->directory,
                                .store = target->store_path,
                                .checkpoint = target->manifest->id,
                                .key = target->key };

  look->server = disk_server_start (&options, NULL, error);
  return look->server != NULL;
}

static gboolean
start_inspector (Look *look, GPtrArray *names, GError **error)
{
  g_autofree InspectorDisk *disks = g_new0 (InspectorDisk, names->len);
  InspectorOptions options = { .socket = disk_server_socket (look->server),
                               .disks = disks,
                               .n_disks = names->len,
                               .kvm = kvm_usable (NULL) };

  for (guint i = 0; i < names->len; i++)
    disks[i] = (InspectorDisk){ names->pdata[i], names->pdata[i] };
  look->inspector = inspector_start (&options, error);
  return look->inspector != NULL;
}

static gboolean
check_disks (const Manifest *manifest, GError **error)
{
  g_autoptr (GPtrArray) names = disks_of (manifest);

  if (names->len > 0 && names->len <= INSPECTOR_DISKS_MAX)
    return TRUE;
  g_set_error (error, API_ERROR, names->len == 0 ? API_NOT_FOUND : API_NOT_POSSIBLE,
               names->len == 0 ? "it has no disks, so there is nothing to look into"
                               : "it has more disks than can be looked into at once");
  return FALSE;
}

static Look *
start (Looks *looks, const LookTarget *target, GError **error)
{
  g_autoptr (Look) look = g_new0 (Look, 1);
  g_autoptr (GPtrArray) names = disks_of (target->manifest);

  look->identity = identity_of (target);
  if (!make_directory (looks, look, error) || !start_server (look, target, error) ||
      !start_inspector (look, names, error))
    return NULL;
  return g_steal_pointer (&look);
}

/* ---- One at a time ---- */

/* Waits until no other request looks; then it is this one's turn. */
static gboolean
begin_turn (Looks *looks, const LookWatcher *watcher, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&looks->lock);
  gboolean told = FALSE;

  while (looks->busy) {
    if (g_cancellable_set_error_if_cancelled (watcher->cancellable, error))
      return FALSE;
    if (!told && watcher->message != NULL)
      watcher->message ("another look into disks is at work on this host; waiting for its end",
                        watcher->message_data);
    told = TRUE;
    g_cond_wait_until (&looks->freed, &looks->lock, g_get_monotonic_time() + WAIT_US);
  }
  looks->busy = TRUE;
  return TRUE;
}

/* @look: (nullable) (transfer full): to be kept. */
static void
end_turn (Looks *looks, Look *look)
{
  g_mutex_lock (&looks->lock);
  gboolean keep = look != NULL && !looks->ended;
  if (keep) {
    looks->kept = look;
    looks->kept_since_us = g_get_monotonic_time();
  }
  looks->busy = FALSE;
  g_cond_signal (&looks->freed);
  g_mutex_unlock (&looks->lock);
  if (!keep && look != NULL)
    look_free (look);
}

/* What is kept, if it fits; else it is ended. */
static Look *
take_kept (Looks *looks, const LookTarget *target)
{
  g_autofree char *identity = identity_of (target);

  g_mutex_lock (&looks->lock);
  g_autoptr (Look) kept = g_steal_pointer (&looks->kept);
  g_mutex_unlock (&looks->lock);
  if (kept != NULL && g_str_equal (kept->identity, identity) && inspector_usable (kept->inspector))
    return g_steal_pointer (&kept);
  return NULL;
}

JsonObject *
looks_run (Looks *looks, const LookTarget *target, JsonObject *command, gboolean last,
           const LookWatcher *watcher, GError **error)
{
  ERROR_PREFIX (error, "checkpoint %.12s", target->manifest->id);

  if (!check_disks (target->manifest, error) || !begin_turn (looks, watcher, error))
    return NULL;
  g_autoptr (Look) look = take_kept (looks, target);
  if (look == NULL)
    look = start (looks, target, error);
  JsonObject *result = look != NULL
                           ? inspector_run (look->inspector, command, watcher->frame,
                                            watcher->user_data, watcher->cancellable, error)
                           : NULL;
  if (look != NULL && (last || !inspector_usable (look->inspector)))
    g_clear_pointer (&look, look_free);
  end_turn (looks, g_steal_pointer (&look));
  return result;
}

gboolean
looks_same_disks (const Manifest *a, const Manifest *b)
{
  g_autoptr (GPtrArray) disks = disks_of (a);
  g_autoptr (GPtrArray) others = disks_of (b);

  for (guint i = 0; i < disks->len; i++) {
    const ManifestPart *one = manifest_find_part (a, ROLE_DISK, disks->pdata[i]);
    const ManifestPart *other = manifest_find_part (b, ROLE_DISK, disks->pdata[i]);
    if (other == NULL || one->map.length != other->map.length ||
        memcmp (&one->map.root, &other->map.root, sizeof one->map.root) != 0)
      return FALSE;
  }
  return disks->len > 0 && disks->len == others->len;
}
