/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limits as an object; what check needs of them. */
#pragma once

#include <vmckpt/store/quota.h>

#include "chunk.h"

/* The object's bytes, and back, with everything bounded and checked: STORE_ERROR_DAMAGED. */
GBytes *quota_to_bytes (const StoreQuota *quota, const HashKey *key);
StoreQuota *quota_from_bytes (GBytes *bytes, const HashKey *key, GError **error);

/* Adds the name of the object that counts to @damaged if it does not hold what it should. */
gboolean quota_check (Store *store, GPtrArray *damaged, GError **error);
