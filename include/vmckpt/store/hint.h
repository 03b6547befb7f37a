/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hints: what was learned about a checkpoint after it was made, and helps to restore it faster (in
 * which order its pages are needed). Nothing depends on one: it may be lost at any time, and goes
 * with its checkpoint. What the bytes mean is nothing to the store.
 */
#pragma once

#include <vmckpt/store/store.h>

#define STORE_HINT_MAX_BYTES (1024 * 1024)

/**
 * store_hint_put:
 * @id: of a checkpoint, whole
 * @data: at most STORE_HINT_MAX_BYTES
 *
 * Keeps @data for that checkpoint, unless it has a hint, which stays. Not synced: a hint that a
 * power cut takes is no loss. STORE_ERROR_NOT_FOUND: there is no such checkpoint.
 */
gboolean store_hint_put (Store *store, const char *id, GBytes *data, GError **error);

/* The hint of that checkpoint; NULL with @error: STORE_ERROR_NOT_FOUND if it has none. */
GBytes *store_hint_get (Store *store, const char *id, GError **error);
