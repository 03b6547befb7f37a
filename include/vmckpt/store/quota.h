/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quota: how much a store, and how much each guest, may store. The limits lie in the store, so they
 * bind every host; a checkpoint that would pass one is refused before its guest is touched, or
 * fails while it is written (store_writer_enforce_quota() in writer.h).
 *
 * What counts for the store: the bytes of all its objects, as store_stats() has them. For a guest:
 * the bytes that its checkpoints had stored when they were taken (`stored_bytes` of their reports).
 * What several share counts for the one that brought it. Removing a checkpoint takes it off the
 * guest's account at once, and off the store's with the next gc.
 */
#pragma once

#include <vmckpt/store/manifest.h>

/* Guests with limits in one store. */
#define QUOTA_GUESTS_MAX 10000
/* The greatest limit, bytes. */
#define QUOTA_LIMIT_MAX (G_GUINT64_CONSTANT (1) << 60)

typedef struct {
  guint64 number;      /* of the object that says so; 0: nothing was ever set */
  guint64 store_limit; /* bytes; 0: none */
  GHashTable *guests;  /* char *name → guint64 *limit, bytes, never 0 */
} StoreQuota;

/* Frees @quota. */
void store_quota_free (StoreQuota *quota);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreQuota, store_quota_free)

/**
 * store_quota_get:
 *
 * Returns: (transfer full): the limits; NULL with @error, STORE_ERROR_DAMAGED if they cannot be
 * read: then what they were is not known, and store_quota_change() sets them anew.
 */
StoreQuota *store_quota_get (Store *store, GError **error);

/**
 * store_quota_change:
 * @store_limit: (nullable): the store's limit, bytes; 0 takes it away; NULL leaves it
 * @guests: (nullable) (element-type char* guint64*): limits of guests, likewise; those not named
 * are left
 *
 * Durable when it returns TRUE. Several at once are applied one after the other. Limits that are
 * damaged are forgotten.
 *
 * Returns: FALSE with @error: G_IO_ERROR_INVALID_ARGUMENT for a limit or name that cannot be.
 */
gboolean store_quota_change (Store *store, const guint64 *store_limit, GHashTable *guests,
                             GError **error);

/**
 * store_quota_used:
 * @bytes: (out): of all objects in the store
 *
 * Lists the store: one call per object for a directory.
 */
gboolean store_quota_used (Store *store, guint64 *bytes, GError **error);

/**
 * store_quota_used_by_guests:
 *
 * Reads all manifests; those that are damaged do not count.
 *
 * Returns: (transfer full) (element-type char* guint64*): bytes by guest.
 */
GHashTable *store_quota_used_by_guests (Store *store, GError **error);
