/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is left of the limits for one transaction. */
#pragma once

#include <vmckpt/store/store.h>

/* A limit that binds the transaction. */
typedef struct {
  char *guest; /* NULL: the store's */
  guint64 limit, used;
} QuotaLimit;

/* How much the transaction may store. */
typedef struct {
  QuotaLimit limits[2];
  guint count;
} QuotaRoom;

void quota_room_free (QuotaRoom *room);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QuotaRoom, quota_room_free)

/**
 * quota_room_new:
 * @guest: whose checkpoint is to be written
 *
 * Finds the limits, and what is used of them now. Cheap where there are none.
 */
QuotaRoom *quota_room_new (Store *store, const char *guest, GError **error);

/* FALSE with STORE_ERROR_QUOTA if @own bytes more would pass a limit; 0: if one is reached. */
gboolean quota_room_allows (const QuotaRoom *room, guint64 own, GError **error);
