/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of this host's guests are claimed in which stores (vmckpt/store/claim.h). */
#pragma once

#include "guest.h"
#include "stores.h"

/**
 * claims_take:
 * @store_path: where; remembered with the guest
 * @take_over: the other host is known to be dead
 *
 * Claims @guest in @store for its QEMU, or, before that runs, for this daemon. Taking it again
 * renews it.
 *
 * Returns: FALSE with STORE_ERROR_CLAIMED if the guest runs elsewhere.
 */
gboolean claims_take (Guest *guest, const Runtime *runtime, Store *store, const char *store_path,
                      gboolean take_over, GError **error);

/* Gives up all claims of a guest that has ended. Blocks; failures are only logged, since a claim
 * whose process is gone is recognised as dead. */
void claims_release (Guest *guest, const Runtime *runtime, Stores *stores);

/* The same in a thread of its own. */
void claims_release_later (Guest *guest, const Runtime *runtime, Stores *stores);
