/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packs on the medium, whatever the index says. */
#pragma once

#include "store-private.h"

/* Their names and sizes: ChunkName → guint64*. (transfer full); NULL with the backend's error. */
GHashTable *pack_list_load (Store *store, GError **error);
