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
  gboolean read_data;
  StoreSubset subset;     /* what read_data reads */
  char *announcement;     /* (nullable): the medium may be read-only; given: that one is used */
  GHashTable *condemned;  /* packs that may go at any time; no other does while announced */
  GPtrArray *manifests;   /* of Manifest: listed before the index is loaded */
  GPtrArray *damaged;     /* of char*: ids of those that cannot be read */
  GHashTable *problems;   /* (lock) object → StoreProblem */
  GHashTable *listed;     /* packs on the medium → size */
  IndexView *view;        /* the published tables, and what packs say beyond them */
  GHashTable *indexed;    /* set of ChunkName: packs that a table names */
  GHashTable *bad_packs;  /* (lock) set of ChunkName: packs that cannot be relied on at all */
  GHashTable *hurt_packs; /* (lock) set of ChunkName: packs with a chunk that cannot be read */
  GHashTable *unindexed;  /* set of ChunkName: packs that a checkpoint needs and no table names */
  GArray *bad_reads;      /* (lock) of ChunkName: chunks that could not be read somewhere */
  NameSet *bad_chunks;    /* of these: those that no other pack has either */
  NameSet *bad_bases;     /* of these: those that no other pack has in full, as deltas need it */
} Check;

/* Readies a check; the members that are options are the caller's to set before check_run(). */
void check_init (Check *check, Store *store, const Progress *progress, GCancellable *cancellable);

/* Does it all; then what was found is in @check. */
gboolean check_run (Check *check, GError **error);

/* check-findings.c: what was found, as store_check() yields it. (transfer full) */
GPtrArray *check_findings (Check *check);

/* Takes back the announcement and frees what @check has. */
void check_clear (Check *check);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Check, check_clear)

/* TRUE if the chunk can be read, as far as is known; else *@object: (out) (transfer full): what is
 * to blame. @location: (out): where it is. */
gboolean check_chunk_usable (const Check *check, const ChunkName *name, ChunkLocation *location,
                             char **object);

/* check-findings.c: an empty table of what is wrong, for Check. */
GHashTable *check_problems_new (void);

/* Notes that @object is wrong; the first problem of an object is kept. Thread-safe. */
void check_note (Check *check, const char *object, const char *problem);

/* The same for a pack, which then counts as one that cannot be relied on. */
void check_note_pack (Check *check, const ChunkName *pack, const char *problem);

/* Notes that @checkpoint is hurt by what is wrong with @object. */
void check_note_hurt (Check *check, const char *object, const char *checkpoint);

/* Drops what only looked wrong because others went on meanwhile. */
gboolean check_drop_passed (Check *check, GError **error);

/* check-packs.c: footers, sizes, and that the index agrees with them. */
gboolean check_packs (Check *check, GError **error);

/* TRUE if the pack is gone, and may be. */
gboolean check_gone_rightly (Check *check, const ChunkName *pack);

/* check-data.c: reads and verifies every chunk of the packs that are to be read. */
gboolean check_data (Check *check, GError **error);

/* check-maps.c: walks all checkpoints. */
gboolean check_checkpoints (Check *check, GError **error);

/* Bytes that all checkpoints describe: the measure of how far a walk of them is. */
guint64 check_described_bytes (const Check *check);
