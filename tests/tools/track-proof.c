/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Proves that tracking misses nothing that a running guest does: a copy of its memory is brought up
 * to date from what was found written, and from nothing else, while the guest runs; then the guest
 * is stopped, the rest is collected, and the copy has to be equal to the memory, every byte.
 *
 *   track-proof PID MONITOR SEED ROUNDS
 *
 * PID is a QEMU started by vmckpt with shared memory, MONITOR a QMP socket of it that nobody else
 * uses. Prints a sum; ends with 1 and the pages' numbers if some were missed. VMCKPT_TRACK chooses
 * how it is tracked.
 */
#include "dirty-tracker.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/guest-ram.h>
#include <vmckpt/ram/guest-tracking.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_PAGES 256

typedef struct {
  GuestRam *ram;
  GuestTracking *tracking;
  QmpClient *monitor;
  GRand *chance;
  guint8 *copy;      /* what the live rounds and the last collection make of the memory */
  guint8 *stored;    /* what one checkpoint after the other does: by the log, at the instants */
  PageBitmap *found; /* by the last collection */
  guint64 collected; /* pages, in all */
} Proof;

static G_NORETURN void
fail (GError *error)
{
  fprintf (stderr, "track-proof: %s\n", error != NULL ? error->message : "failed");
  exit (2);
}

/* Reads pages @first to @end of the guest into @buffer. */
static void
read_pages (Proof *proof, guint64 first, guint64 end, guint8 *buffer)
{
  gsize len = (end - first) * DIRTY_LOG_PAGE_BYTES;

  if (pread (guest_ram_fd (proof->ram), buffer, len, first * DIRTY_LOG_PAGE_BYTES) != (gssize)len)
    fail (NULL);
}

/* Brings @target up to date with the pages in @set. */
static void
copy_pages (Proof *proof, const PageBitmap *set, guint8 *target)
{
  for (guint64 first = 0, end; page_bitmap_next_run (set, &first, &end); first = end)
    read_pages (proof, first, end, target + first * DIRTY_LOG_PAGE_BYTES);
}

/* Collects, and copies what was found. */
static void
collect (Proof *proof)
{
  GError *error = NULL;

  page_bitmap_clear_all (proof->found);
  if (!dirty_tracker_collect (guest_tracking_tracker (proof->tracking), proof->found, &error))
    fail (error);
  copy_pages (proof, proof->found, proof->copy);
  proof->collected += page_bitmap_count (proof->found);
}

/* Returns how many pages @copy has wrong, and names some. */
static guint64
count_missed (Proof *proof, const char *name, const guint8 *copy)
{
  g_autofree guint8 *now = g_malloc (CHUNK_PAGES * DIRTY_LOG_PAGE_BYTES);
  guint64 pages = guest_ram_pages (proof->ram), missed = 0;

  for (guint64 first = 0; first < pages; first += CHUNK_PAGES) {
    guint64 end = MIN (first + CHUNK_PAGES, pages);
    read_pages (proof, first, end, now);
    for (guint64 page = first; page < end; page++)
      if (memcmp (now + (page - first) * DIRTY_LOG_PAGE_BYTES, copy + page * DIRTY_LOG_PAGE_BYTES,
                  DIRTY_LOG_PAGE_BYTES) != 0 &&
          missed++ < 8)
        fprintf (stderr, "page %" G_GUINT64_FORMAT " was changed and not found (%s)\n", page, name);
  }
  return missed;
}

/* What a checkpoint stores at this instant. */
static void
store (Proof *proof)
{
  g_autoptr (PageBitmap) written = page_bitmap_new (guest_ram_pages (proof->ram));
  DirtyLog *log = guest_tracking_log (proof->tracking);

  if (dirty_log_base (log, NULL, NULL))
    dirty_log_read_written (log, written);
  else
    page_bitmap_set_range (written, 0, written->pages);
  copy_pages (proof, written, proof->stored);
  dirty_log_instant (log);
  /* Some fail. */
  if (g_rand_int_range (proof->chance, 0, 4) == 0)
    dirty_log_rollback (log);
  else
    dirty_log_commit (log, "store", "checkpoint");
}

/* A few rounds of copying, then the instant; returns how many pages were missed. */
static guint64
prove_once (Proof *proof)
{
  GError *error = NULL;
  guint64 missed;

  for (gint i = g_rand_int_range (proof->chance, 0, 5); i > 0; i--) {
    g_usleep (g_rand_int_range (proof->chance, 0, 50000));
    collect (proof);
  }
  if (!qmp_stop (proof->monitor, &error))
    fail (error);
  collect (proof);
  store (proof);
  missed = count_missed (proof, "rounds", proof->copy) +
           count_missed (proof, "checkpoints", proof->stored);
  if (!qmp_cont (proof->monitor, &error))
    fail (error);
  return missed;
}

/* Takes hold of the guest, and copies all of it once. */
static void
begin (Proof *proof, pid_t pid, const char *monitor, guint seed)
{
  GError *error = NULL;
  gsize bytes;

  proof->ram = guest_ram_find (process_id_of (pid), "pc.ram", &error);
  proof->tracking = proof->ram != NULL ? guest_tracking_new (proof->ram, &error) : NULL;
  proof->monitor = proof->tracking != NULL ? qmp_client_connect (monitor, 30000, &error) : NULL;
  if (proof->monitor == NULL ||
      !dirty_tracker_begin (guest_tracking_tracker (proof->tracking), TRACK_NONE, FALSE, &error))
    fail (error);
  dirty_log_forget_base (guest_tracking_log (proof->tracking)); /* another proof's */
  proof->chance = g_rand_new_with_seed (seed);
  bytes = guest_ram_bytes (proof->ram);
  proof->copy = g_malloc0 (bytes);
  proof->stored = g_malloc0 (bytes);
  proof->found = page_bitmap_new (guest_ram_pages (proof->ram));
  if (!dirty_tracker_populated (guest_tracking_tracker (proof->tracking), proof->found, &error))
    fail (error);
  copy_pages (proof, proof->found, proof->copy);
}

int
main (int argc, char **argv)
{
  Proof proof = { 0 };
  guint64 missed = 0, rounds;

  if (argc != 5) {
    fprintf (stderr, "usage: track-proof PID MONITOR SEED ROUNDS\n");
    return 2;
  }
  rounds = g_ascii_strtoull (argv[4], NULL, 10);
  begin (&proof, atoi (argv[1]), argv[2], atoi (argv[3]));
  for (guint64 i = 0; i < rounds && missed == 0; i++)
    missed = prove_once (&proof);
  printf ("%s mode, %" G_GUINT64_FORMAT " pages collected, %" G_GUINT64_FORMAT " missed\n",
          track_mode_name (dirty_tracker_mode (guest_tracking_tracker (proof.tracking))),
          proof.collected, missed);
  qmp_client_unref (proof.monitor);
  guest_tracking_free (proof.tracking);
  guest_ram_unref (proof.ram);
  g_rand_free (proof.chance);
  page_bitmap_free (proof.found);
  g_free (proof.copy);
  g_free (proof.stored);
  return missed != 0;
}
