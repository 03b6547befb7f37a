/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of gc. Sets of packs are GHashTables of ChunkName, owned. */
#pragma once

#include <vmckpt/store/maintain.h>

#include "pack-set.h"
#include "pack-use.h"

/* A pack less used than this is emptied: what is needed of it moves into another. */
#define GC_REPACK_SHARE 0.5

/* gc-clean.c: removes announcements and temporary files of processes that are gone. @own: this gc's
 * announcement. */
gboolean gc_clean (Store *store, const char *own, GError **error);

/* Announcements of writers that may still be at work, as a set of char*; @other_gc: (out): how many
 * gcs but the one announced as @own. (transfer full) */
GHashTable *gc_live_writers (Store *store, const char *own, guint *other_gc, GError **error);

/**
 * gc_repack:
 * @victims: packs to be emptied
 * @dead: packs that are going to be deleted: a copy that one of them has does not count
 * @chunks: (out): how many were moved
 * @bytes: (out): what was written
 *
 * Copies what is needed of the @victims into new packs and publishes these.
 */
gboolean gc_repack (Store *store, Mark *mark, GHashTable *victims, GHashTable *dead,
                    guint64 *chunks, guint64 *bytes, GCancellable *cancellable, GError **error);

/**
 * gc_unindex:
 * @packs: packs that no table is to name any more
 * @needed: packs that one is to name: those of them that none does get one
 *
 * Replaces the tables that name @packs, and those that are damaged: new ones are durable before old
 * ones go.
 */
gboolean gc_unindex (Store *store, GHashTable *packs, GHashTable *needed, GError **error);

/**
 * gc_delete:
 * @packs: what is to go
 * @needed: packs that checkpoints need; those that no table names get one
 * @sizes: ChunkName → guint64*
 *
 * Takes packs out of the index, replaces damaged tables, then deletes the packs.
 */
gboolean gc_delete (Store *store, GHashTable *packs, GHashTable *needed, GHashTable *sizes,
                    StoreGcReport *report, GError **error);
