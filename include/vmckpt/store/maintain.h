/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking after a store: check, verify, gc, stats. */
#pragma once

#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/* One finding of check: which object is wrong, how, and whom it hurts. */
typedef struct {
  char *object;        /* its name in the store */
  char *problem;       /* "is missing", "does not hold what its name says", … */
  GStrv checkpoints;   /* full ids that cannot be restored because of it; may be empty */
  gboolean left_to_gc; /* repair has seen to it: nobody needs the object, gc removes it */
} StoreFinding;

/* Frees @finding. */
void store_finding_free (StoreFinding *finding);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreFinding, store_finding_free)

/**
 * store_check:
 * @read_data: also read, decompress and verify every chunk
 * @findings: (out) (transfer full) (element-type StoreFinding): what is damaged; empty if all is
 * well
 *
 * Runs beside writers and gc; while it runs, gc deletes nothing that was not condemned before.
 *
 * Returns: FALSE with @error only if the store could not be examined at all.
 */
gboolean store_check (Store *store, gboolean read_data, GPtrArray **findings,
                      const Progress *progress, GCancellable *cancellable, GError **error);

/* Which packs a check with @read_data reads. */
typedef struct {
  guint part,
      parts;    /* of the packs, divided evenly by name: the @part-th of @parts; 0: no matter */
  double share; /* 0 < share < 1: about so many of them, others each time; 0: all */
} StoreSubset;

/* Parses "2/7" or "10%". G_IO_ERROR_INVALID_ARGUMENT. */
gboolean store_subset_parse (const char *text, StoreSubset *subset, GError **error);

/* store_check() with @read_data, of a subset: a great store is read in several nights. */
gboolean store_check_subset (Store *store, const StoreSubset *subset, GPtrArray **findings,
                             const Progress *progress, GCancellable *cancellable, GError **error);

/* Reads everything that one checkpoint needs. STORE_ERROR_DAMAGED names the first bad object. */
gboolean store_verify (Store *store, const Manifest *manifest, const Progress *progress,
                       GCancellable *cancellable, GError **error);

typedef struct {
  guint64 checkpoints;
  guint64 logical_bytes; /* sum of what all checkpoints describe */
  guint64 chunks;        /* distinct chunks in the index */
  guint64 chunk_bytes;   /* their uncompressed size */
  guint64 packs;
  guint64 pack_bytes;   /* packs on the medium */
  guint64 other_bytes;  /* index, manifests, tags */
  guint64 unused_bytes; /* pack bytes that gc would free; 0 if not asked for */
} StoreStats;

/**
 * store_stats:
 * @with_unused: also find out what gc would free (walks all page maps)
 *
 * Reads all of the index, once.
 */
gboolean store_stats (Store *store, gboolean with_unused, StoreStats *stats,
                      const Progress *progress, GCancellable *cancellable, GError **error);

typedef struct {
  guint64 deleted_packs, freed_bytes; /* net of what was rewritten */
  guint64 rewritten_chunks;           /* moved out of packs that were mostly unused */
  guint64 waiting_packs; /* unused, but a writer that began earlier may still need them */
} StoreGcReport;

/**
 * store_gc:
 * @dry_run: only report
 *
 * Deletes what no checkpoint and no writer in progress needs. Killed at any point, nothing needed
 * is gone and the next gc finishes the job. Runs beside writers and readers.
 *
 * Returns: FALSE with STORE_ERROR_IN_USE if another gc is at work, STORE_ERROR_DAMAGED if it cannot
 * be known what some checkpoint needs.
 */
gboolean store_gc (Store *store, gboolean dry_run, StoreGcReport *report, const Progress *progress,
                   GCancellable *cancellable, GError **error);
