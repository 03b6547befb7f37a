/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What check needs of claims. */
#pragma once

#include <vmckpt/store/store.h>

/* Adds the names of claims that do not hold what they should to @damaged. */
gboolean claims_check (Store *store, GPtrArray *damaged, GError **error);
