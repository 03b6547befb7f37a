/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Encryption: a backend in front of another, so that nothing above it knows. */
#pragma once

#include <vmckpt/store/backend.h>

#include "seal.h"

/**
 * backend_sealed_new:
 * @inner: (transfer full): where the sealed objects are
 * @key: what they are sealed with; copied into guarded memory
 *
 * All objects but `format` and what is under `keys/` and `tmp/` are sealed when they are put and
 * opened when they are read; sizes are those of the content. An object that is not what was put
 * under its name is STORE_ERROR_DAMAGED; of an impossible size, it counts as empty until it is
 * read.
 */
Backend *backend_sealed_new (Backend *inner, const SealKey *key);
