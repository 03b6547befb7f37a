/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying checkpoints from one store into another. Names are keyed by store, so content gets new
 * names and a checkpoint a new id; its manifest says which one it is (manifest_identity()), so a
 * copy is made once, however often it is asked for.
 */
#pragma once

#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/* What became of one checkpoint. */
typedef struct {
  char *source; /* its id in the store that was read */
  char *guest;
  char *id;             /* (nullable): its id in the other store; NULL if it was not copied */
  char *problem;        /* (nullable): why not */
  gboolean there;       /* it was there before; nothing but tags may have been added */
  guint64 pages_read;   /* from the source */
  guint64 new_bytes;    /* of these, what the other store did not have */
  guint64 stored_bytes; /* what was written there */
} StoreCopied;

/* Frees @copied. */
void store_copied_free (StoreCopied *copied);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreCopied, store_copied_free)

/**
 * store_copy:
 * @from: is only read, but for an announcement where that is possible
 * @to: another store, with keys of its own
 * @manifests: (element-type Manifest): checkpoints of @from
 * @copied: (out) (transfer full) (element-type StoreCopied): in the order of their instants; also
 * set on failure
 * @progress: (nullable): PHASE_READ, in bytes described by what is to be copied
 *
 * Copies what @to has not got yet, with tags and notes. What changed since the guest's checkpoint
 * before is found by comparing page maps, if @to has that one; only such pages are read. A
 * checkpoint that cannot be read because the source is damaged is reported in @copied, and the
 * others are copied. Each is a transaction of its own: interrupted, no half checkpoint is there,
 * and what was stored of it is found again by the next copy unless a gc came in between.
 *
 * Returns: FALSE with @error if one could not be copied for another reason; the rest was not tried.
 */
gboolean store_copy (Store *from, Store *to, GPtrArray *manifests, GPtrArray **copied,
                     const Progress *progress, GCancellable *cancellable, GError **error);
