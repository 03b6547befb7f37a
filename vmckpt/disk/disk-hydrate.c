/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   thread (niced):  for each disk:  base is there?  no: write it  ──▶  swap  ──▶ next
 *                    a failure: tell, wait a while or for disk_hydrate_retry(), the same again
 */
#include <vmckpt/disk/disk-hydrate.h>

#include <vmckpt/disk/disk-files.h>
#include <vmckpt/store/store.h>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HYDRATE_NICE 10
#define RETRY_FIRST_US (2 * G_USEC_PER_SEC)
#define RETRY_MOST_US (60 * G_USEC_PER_SEC)

typedef struct {
  char *name;
  char *base;
  PageMap map;
  gboolean written; /* of its thread */
} Disk;

struct _DiskHydrate {
  gatomicrefcount refs;
  GArray *disks; /* of Disk */
  gboolean (*swap) (const char *name, const char *base, GCancellable *cancellable,
                    gpointer user_data, GError **error);
  void (*ended) (const GError *reason, gpointer user_data);
  gpointer user_data;
  GCancellable *stopping;
  GMutex lock;
  GCond changed;
  /* Guarded by the lock: */
  Store *store;
  GThread *thread; /* (nullable) */
  guint64 before;  /* bytes of disks that are done */
  guint64 now;     /* bytes of the one that is being written */
  GError *reason;  /* (nullable) why it does not go on */
  gboolean retry;  /* somebody says to try again */
  gboolean complete;
};

#define LOCK(hydrate)                                                                              \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(hydrate)->lock)

static void
disk_clear (gpointer data)
{
  Disk *disk = data;

  g_free (disk->name);
  g_free (disk->base);
}

DiskHydrate *
disk_hydrate_new (const DiskHydrateSetup *setup)
{
  DiskHydrate *hydrate = g_new0 (DiskHydrate, 1);

  g_atomic_ref_count_init (&hydrate->refs);
  g_mutex_init (&hydrate->lock);
  g_cond_init (&hydrate->changed);
  hydrate->disks = g_array_new (FALSE, FALSE, sizeof (Disk));
  g_array_set_clear_func (hydrate->disks, disk_clear);
  for (guint i = 0; i < setup->n_disks; i++) {
    const DiskHydrateDisk *given = &setup->disks[i];
    /* One that has its name is complete: it was given the name last. One that gets there later is
     * somebody else's. */
    Disk disk = { g_strdup (given->name), g_strdup (given->base), given->map,
                  g_file_test (given->base, G_FILE_TEST_EXISTS) };
    g_array_append_val (hydrate->disks, disk);
  }
  hydrate->swap = setup->swap;
  hydrate->ended = setup->ended;
  hydrate->user_data = setup->user_data;
  hydrate->stopping = g_cancellable_new();
  hydrate->store = store_ref (setup->store);
  return hydrate;
}

DiskHydrate *
disk_hydrate_ref (DiskHydrate *hydrate)
{
  g_atomic_ref_count_inc (&hydrate->refs);
  return hydrate;
}

void
disk_hydrate_unref (DiskHydrate *hydrate)
{
  if (hydrate == NULL || !g_atomic_ref_count_dec (&hydrate->refs))
    return;
  g_clear_pointer (&hydrate->thread, g_thread_unref);
  g_array_unref (hydrate->disks);
  g_object_unref (hydrate->stopping);
  store_unref (hydrate->store);
  g_clear_error (&hydrate->reason);
  g_mutex_clear (&hydrate->lock);
  g_cond_clear (&hydrate->changed);
  g_free (hydrate);
}

/* ---- The thread ---- */

/* A ProgressFunc. */
static void
note_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  DiskHydrate *hydrate = user_data;
  LOCK (hydrate);

  hydrate->now = done;
  g_cond_broadcast (&hydrate->changed);
}

static gboolean
write_base (DiskHydrate *hydrate, Disk *disk, GError **error)
{
  const Progress progress = { note_progress, hydrate };
  g_autoptr (Store) store = NULL;

  if (disk->written)
    return TRUE;
  {
    LOCK (hydrate);
    store = store_ref (hydrate->store);
  }
  const DiskFile file = { store, disk->name, disk->map, disk->base, DISK_FILE_RAW, FALSE };
  disk->written = disk_file_write (&file, &progress, hydrate->stopping, error);
  return disk->written;
}

/* Notes what became of a disk. */
static void
note_disk (DiskHydrate *hydrate, const Disk *disk, GError *reason)
{
  LOCK (hydrate);
  hydrate->now = 0;
  if (reason == NULL)
    hydrate->before += disk->map.length;
  g_clear_error (&hydrate->reason);
  hydrate->reason = reason;
  hydrate->retry = FALSE;
  g_cond_broadcast (&hydrate->changed);
}

/* Waits until @delay_us have passed or somebody wants it tried again. FALSE: the end. */
static gboolean
wait_for_retry (DiskHydrate *hydrate, gint64 delay_us)
{
  gint64 deadline = g_get_monotonic_time() + delay_us;
  LOCK (hydrate);

  while (!hydrate->retry && !g_cancellable_is_cancelled (hydrate->stopping) &&
         g_cond_wait_until (&hydrate->changed, &hydrate->lock, deadline))
    ;
  g_clear_error (&hydrate->reason);
  hydrate->retry = FALSE;
  return !g_cancellable_is_cancelled (hydrate->stopping);
}

/* FALSE: it was stopped. */
static gboolean
hydrate_disk (DiskHydrate *hydrate, Disk *disk)
{
  for (gint64 delay_us = RETRY_FIRST_US;; delay_us = MIN (delay_us * 2, RETRY_MOST_US)) {
    g_autoptr (GError) error = NULL;
    if (write_base (hydrate, disk, &error) &&
        hydrate->swap (disk->name, disk->base, hydrate->stopping, hydrate->user_data, &error)) {
      note_disk (hydrate, disk, NULL);
      return TRUE;
    }
    if (g_cancellable_is_cancelled (hydrate->stopping))
      return FALSE;
    note_disk (hydrate, disk, g_error_copy (error));
    if (hydrate->ended != NULL && delay_us == RETRY_FIRST_US)
      hydrate->ended (error, hydrate->user_data);
    if (!wait_for_retry (hydrate, delay_us))
      return FALSE;
  }
}

static gpointer
hydrate_thread (gpointer data)
{
  DiskHydrate *hydrate = data;

  setpriority (PRIO_PROCESS, syscall (SYS_gettid), HYDRATE_NICE);
  for (guint i = 0; i < hydrate->disks->len; i++) {
    if (!hydrate_disk (hydrate, &g_array_index (hydrate->disks, Disk, i))) {
      disk_hydrate_unref (hydrate);
      return NULL;
    }
  }
  if (hydrate->ended != NULL)
    hydrate->ended (NULL, hydrate->user_data);
  {
    LOCK (hydrate);
    hydrate->complete = TRUE;
    g_cond_broadcast (&hydrate->changed);
  }
  disk_hydrate_unref (hydrate);
  return NULL;
}

/* ---- From outside ---- */

gboolean
disk_hydrate_run (DiskHydrate *hydrate)
{
  LOCK (hydrate);

  if (hydrate->thread != NULL || g_cancellable_is_cancelled (hydrate->stopping))
    return FALSE;
  hydrate->thread = g_thread_new ("hydrate", hydrate_thread, disk_hydrate_ref (hydrate));
  return TRUE;
}

void
disk_hydrate_stop (DiskHydrate *hydrate)
{
  GThread *thread;

  g_cancellable_cancel (hydrate->stopping);
  {
    LOCK (hydrate);
    thread = g_steal_pointer (&hydrate->thread);
    g_cond_broadcast (&hydrate->changed);
  }
  if (thread != NULL)
    g_thread_join (thread);
}

void
disk_hydrate_retry (DiskHydrate *hydrate, Store *store)
{
  LOCK (hydrate);

  if (store != NULL) {
    store_unref (hydrate->store);
    hydrate->store = store_ref (store);
  }
  hydrate->retry = hydrate->reason != NULL;
  g_cond_broadcast (&hydrate->changed);
}

/* With the lock held. */
static guint64
total_bytes (DiskHydrate *hydrate)
{
  guint64 sum = 0;

  for (guint i = 0; i < hydrate->disks->len; i++)
    sum += g_array_index (hydrate->disks, Disk, i).map.length;
  return sum;
}

void
disk_hydrate_status (DiskHydrate *hydrate, DiskHydrateStatus *status)
{
  LOCK (hydrate);

  *status = (DiskHydrateStatus){ .bytes = total_bytes (hydrate),
                                 .done = hydrate->before + hydrate->now,
                                 .complete = hydrate->complete };
}

static void
wake (GCancellable *cancellable, gpointer user_data)
{
  DiskHydrate *hydrate = user_data;
  LOCK (hydrate);

  g_cond_broadcast (&hydrate->changed);
}

/* With the lock held, which is let go of while the progress is reported. FALSE: go on waiting. */
static gboolean
is_over (DiskHydrate *hydrate, GCancellable *cancellable)
{
  return hydrate->complete || (hydrate->reason != NULL && !hydrate->retry) ||
         g_cancellable_is_cancelled (hydrate->stopping) || g_cancellable_is_cancelled (cancellable);
}

/* Why waiting is over without success. With the lock held. */
static void
explain (DiskHydrate *hydrate, GCancellable *cancellable, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return;
  if (hydrate->reason != NULL)
    g_propagate_error (error, g_error_copy (hydrate->reason));
  else
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "the guest has ended");
}

gboolean
disk_hydrate_wait (DiskHydrate *hydrate, const Progress *progress, GCancellable *cancellable,
                   GError **error)
{
  gulong handler = cancellable != NULL
                       ? g_cancellable_connect (cancellable, G_CALLBACK (wake), hydrate, NULL)
                       : 0;
  gboolean complete;

  g_mutex_lock (&hydrate->lock);
  while (!is_over (hydrate, cancellable)) {
    guint64 done = hydrate->before + hydrate->now, total = total_bytes (hydrate);
    g_mutex_unlock (&hydrate->lock);
    progress_report (progress, PHASE_READ, done, total);
    g_mutex_lock (&hydrate->lock);
    if (done == hydrate->before + hydrate->now && !is_over (hydrate, cancellable))
      g_cond_wait (&hydrate->changed, &hydrate->lock);
  }
  complete = hydrate->complete;
  if (!complete)
    explain (hydrate, cancellable, error);
  g_mutex_unlock (&hydrate->lock);
  g_cancellable_disconnect (cancellable, handler);
  return complete;
}
