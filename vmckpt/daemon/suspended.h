/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests that are off and wait in a store: their newest checkpoint is the only way back. */
#pragma once

#include "daemon.h"

#include <vmckpt/store/manifest.h>

/**
 * suspended_waits:
 * @manifests: (element-type Manifest): all of the store, oldest first
 * @index: which of them
 *
 * Returns: TRUE if it is the newest checkpoint of its guest, is a suspend, and the guest runs
 * neither here nor, as far as the store knows, anywhere else.
 */
gboolean suspended_waits (Daemon *daemon, Store *store, GPtrArray *manifests, guint index);
