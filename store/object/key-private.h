/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys of an open store, for who examines it. */
#pragma once

#include <vmckpt/store/key.h>

/* Adds the names of key objects that open nothing to @damaged. */
gboolean keys_check (Store *store, GPtrArray *damaged, GError **error);
