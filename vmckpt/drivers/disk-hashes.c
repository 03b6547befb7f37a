/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-hashes.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ioprio_set(2), which has no wrapper: this thread, class idle. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_IDLE (3 << 13)
#define LOWEST_PRIORITY 19
#define SETTLE_MS 5000 /* longer than FileHashes waits for a file to settle */

struct _DiskHashes {
  GThread *thread;
  GCancellable *cancellable;
  FileHashes *hashes;
  GPtrArray *paths;
};

/* TRUE if that has passed without an end of the thread. */
static gboolean
wait_ms (DiskHashes *own, int ms)
{
  GPollFD fd;

  if (!g_cancellable_make_pollfd (own->cancellable, &fd))
    return FALSE;
  int n = g_poll (&fd, 1, ms);
  g_cancellable_release_fd (own->cancellable);
  return n == 0;
}

/* The hash of a file that was written a moment ago is not relied on: then once more, later. */
static void
learn_file (DiskHashes *own, const char *path)
{
  if (!file_hashes_learn (own->hashes, path, own->cancellable, NULL))
    return;
  g_autofree char *known = file_hashes_peek (own->hashes, path);
  if (known == NULL && wait_ms (own, SETTLE_MS))
    file_hashes_learn (own->hashes, path, own->cancellable, NULL);
}

static gpointer
learn (gpointer user_data)
{
  DiskHashes *own = user_data;

  setpriority (PRIO_PROCESS, syscall (SYS_gettid), LOWEST_PRIORITY);
  syscall (SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
  for (guint i = 0; i < own->paths->len; i++)
    learn_file (own, own->paths->pdata[i]);
  return NULL;
}

DiskHashes *
disk_hashes_begin (const GuestSpec *spec, FileHashes *hashes)
{
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  DiskHashes *own;

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->mode == DISK_READONLY && disk->path != NULL && disk->storage == DISK_STORAGE_FILE)
      g_ptr_array_add (paths, g_strdup (disk->path));
  }
  if (paths->len == 0)
    return NULL;
  own = g_new0 (DiskHashes, 1);
  own->cancellable = g_cancellable_new();
  own->hashes = hashes;
  own->paths = g_steal_pointer (&paths);
  own->thread = g_thread_new ("disk-hashes", learn, own);
  return own;
}

void
disk_hashes_free (DiskHashes *hashes)
{
  if (hashes == NULL)
    return;
  g_cancellable_cancel (hashes->cancellable);
  g_thread_join (hashes->thread);
  g_object_unref (hashes->cancellable);
  g_ptr_array_unref (hashes->paths);
  g_free (hashes);
}
