/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of check. What is found wrong is noted by object; then each checkpoint is walked to see
 * which of it it meets. */
#pragma once

#include <vmckpt/store/maintain.h>

#include "name-set.h"
#include "store-private.h"

typedef struct {
  Store *store;
  const Progress *progress;
  GCancellable *cancellable;
  GMutex lock;
  char *announcement;    /* (nullable): the medium may be read-only */
  GHashTable *condemned; /* packs that may go at any time; no other does while announced */
  GPtrArray *manifests;  /* of Manifest: listed before the index is loaded */
  GPtrArray *damaged;    /* of char*: ids of those that cannot be read */
  GHashTable *problems;  /* (lock) object → StoreProblem */
  GHashTable *listed;    /* packs on the medium → size */
  IndexView *view;       /* the published tables, and what packs say beyond them */
  GHashTable *bad_packs; /* (lock) set of ChunkName: packs that cannot be relied on at all */
  NameSet *bad_chunks;   /* (lock) chunks that cannot be read in a pack that is there */
} Check;

/* Notes that @object is wrong; the first problem of an object is kept. Thread-safe. */
void check_note (Check *check, const char *object, const char *problem);

/* The same for a pack, which then counts as one that cannot be relied on. */
void check_note_pack (Check *check, const ChunkName *pack, const char *problem);

/* Notes that @checkpoint is hurt by what is wrong with @object. */
void check_note_hurt (Check *check, const char *object, const char *checkpoint);

/* check-packs.c: footers, sizes, and that the index agrees with them; with @read_data every chunk.
 */
gboolean check_packs (Check *check, gboolean read_data, GError **error);

/* check-maps.c: walks all checkpoints. */
gboolean check_checkpoints (Check *check, GError **error);
