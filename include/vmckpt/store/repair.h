/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repairing a store: what is damaged is replaced where that is possible, and what is hurt is said
 * to the page. Nothing is deleted here: damaged packs are left to gc once all that could be read of
 * them lies elsewhere.
 */
#pragma once

#include <vmckpt/store/maintain.h>

typedef struct {
  guint64 first, count; /* pages of PAGE_SIZE_BYTES */
} StorePageRange;

/* More ranges of one part are counted, not listed. */
#define STORE_HURT_RANGES_MAX 1024

/* A part of a checkpoint that cannot be read as a whole. */
typedef struct {
  char *role, *name;
  guint64 length;
  guint64 hurt_pages; /* that could not be read when the repair began */
  guint64 left_pages; /* that cannot be read now */
  GArray *ranges;     /* of StorePageRange: those of hurt_pages, ascending */
  guint64 more_ranges;
} StoreHurtPart;

typedef struct {
  char *id;
  char *guest; /* (nullable): not known, the manifest is damaged */
  gint64 created_us;
  char *problem;     /* (nullable): of the manifest */
  GPtrArray *parts;  /* of StoreHurtPart: those that are hurt */
  gboolean healed;   /* nothing is wrong with it any more */
  char *replaced_by; /* (nullable): the copy that was fetched in place of it, its new id */
} StoreHurt;

typedef struct {
  GPtrArray *findings;      /* of StoreFinding: what check found before */
  GPtrArray *hurt;          /* of StoreHurt */
  guint64 damaged_packs;    /* left to gc now */
  guint64 salvaged_chunks;  /* read out of these and stored elsewhere */
  guint64 fetched_pages;    /* taken from the other store */
  guint64 index_tables;     /* damaged ones that were replaced */
  guint64 indexed_packs;    /* that no table named */
  guint64 missing_packs;    /* that the index does not name any more */
  guint64 unreadable_packs; /* nobody knows what is in them; they stay */
} StoreRepair;

/* Frees @repair. */
void store_repair_free (StoreRepair *repair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreRepair, store_repair_free)

/**
 * store_repair:
 * @from: (nullable): a store that has copies of checkpoints: what is damaged is taken from there
 * @dry_run: only find out what is hurt
 * @progress: (nullable): PHASE_READ: all data is read; PHASE_STORE: what is salvaged is written
 *
 * In this order, so that a kill anywhere loses nothing and the next repair goes on: reads
 * everything; replaces index tables; salvages what damaged packs still hold and fetches what they
 * do not, by page, proved by this store's key; then condemns the packs. Checkpoints whose page maps
 * or manifests are lost are copied from @from as a whole, under a new id, and the damaged ones are
 * removed. Other hurt checkpoints stay as they are: that is the user's to decide.
 *
 * Returns: (transfer full): NULL with STORE_ERROR_IN_USE if gc or another repair is at work.
 */
StoreRepair *store_repair (Store *store, Store *from, gboolean dry_run, const Progress *progress,
                           GCancellable *cancellable, GError **error);
