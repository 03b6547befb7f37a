/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who needs how much of a store, and what removing a checkpoint or a guest would free. */
#pragma once

#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/* Bytes of one checkpoint, of one guest's, or of all. */
typedef struct {
  guint64 logical_bytes; /* described: the sum of all parts' lengths */
  guint64 unique_bytes;  /* distinct chunks that nobody else needs, uncompressed */
  guint64 freed_bytes;   /* of packs: what these take, by their share of the frames they are in */
} StoreUse;

typedef struct {
  char *id;
  char *guest;
  char *guest_uuid;
  gint64 created_us;
  gboolean damaged; /* it could not be walked to its end: the figures are too small */
  StoreUse use;
} StoreCheckpointUse;

typedef struct {
  char *guest; /* its newest name */
  char *guest_uuid;
  guint checkpoints;
  StoreUse use;
} StoreGuestUse;

typedef struct {
  GPtrArray *checkpoints; /* of StoreCheckpointUse, oldest first */
  GPtrArray *guests;      /* of StoreGuestUse, by name */
  StoreUse all;           /* freed_bytes: what checkpoints need in packs, each chunk once */
  guint64 unneeded_bytes; /* in packs: needed by no checkpoint, and further copies of chunks */
} StoreUsage;

/* Frees @usage. */
void store_usage_free (StoreUsage *usage);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreUsage, store_usage_free)

/**
 * store_usage:
 * @progress: (nullable): PHASE_READ, in bytes described
 *
 * Walks all page maps once, with four bytes of memory for each chunk in the index. Announced like a
 * writer, so that gc deletes nothing meanwhile.
 *
 * Returns: (transfer full): NULL with @error.
 */
StoreUsage *store_usage (Store *store, const Progress *progress, GCancellable *cancellable,
                         GError **error);
